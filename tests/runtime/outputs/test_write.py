"""Output files are valid and placed as the input."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest

from cryores_lite.errors import OutputError
from cryores_lite.outputs.result import Job
from cryores_lite.outputs.write import check
from tests.runtime.command import rows, run
from tests.runtime.maps import PLACEMENT
from tests.runtime.paths import EXAMPLE


def test_a_name_that_no_script_can_hold_is_refused_before_anything_is_written(tmp_path):
    map_path, outputs = tmp_path / 'a" b.mrc', {"locres": tmp_path / "a.mrc"}
    with pytest.raises(OutputError, match="rename the map"):
        check(Job(map_path=map_path, outputs=outputs | {"chimerax": tmp_path / "a.cxc"}))
    check(Job(map_path=map_path, outputs=outputs))


@pytest.mark.slow
def test_the_command_writes_valid_files_placed_as_the_input(tmp_path):
    placed = tmp_path / "it's a #1; map.mrc"
    placed.write_bytes(EXAMPLE.read_bytes())
    with mrcfile.open(placed, "r+") as mrc:
        mrc.header.mapc, mrc.header.mapr, mrc.header.maps = 3, 1, 2
        mrc.header.nxstart, mrc.header.origin = -7, (12.5, -3.0, 80.0)
    words = ["-o", tmp_path / "out", "--filtered", "--display", "--chimerax", "--json", "-j", 1]
    (row,) = rows(run(placed, *words, check=True))
    named_files = row["files"]
    maps = {kind: mrcfile.read(named_files[kind]) for kind in ("locres", "filtered", "display")}
    for kind, values in maps.items():
        raw, before = Path(named_files[kind]).read_bytes(), placed.read_bytes()
        assert mrcfile.validate(named_files[kind])
        assert [raw[words] for words in PLACEMENT] == [before[words] for words in PLACEMENT]
        assert (values.shape, values.dtype) == ((80, 80, 80), np.float32)
    inside = maps["locres"] > 0
    np.testing.assert_array_equal(maps["display"][inside], maps["locres"][inside])
    assert (maps["display"] > 0).sum() > 1.5 * inside.sum()
    assert (maps["filtered"][~inside] == 0).all()
    script = Path(named_files["chimerax"]).read_text()
    for name in ("../it's a #1; map.mrc", Path(named_files["display"]).name):
        assert f'open "{name}" ' in script
