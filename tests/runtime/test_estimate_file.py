"""`estimate_file` makes the files of the command, and returns their paths and the numbers of its JSON."""

import shutil

import numpy as np
import pytest

from cryores_lite import CryoresError, Model, estimate_file, read_map
from tests.runtime.command import rows, run
from tests.runtime.figures.helpers import PageReader
from tests.runtime.maps import lumps, save
from tests.runtime.paths import EXAMPLE

RUN = ("seconds", "peak_memory_gb", "files")  # fields of the JSON that differ between two runs


@pytest.mark.slow
def test_it_makes_the_files_of_the_command_and_returns_its_json(tmp_path):
    shutil.copy(EXAMPLE, tmp_path / "a.mrc")
    words = ("--uncertainty", "--soft-mask", "2,5", "--png", "--range", "2.5,7", "--json", "-j", 1)
    (row,) = rows(run(tmp_path / "a.mrc", "-o", tmp_path / "command", *words, check=True))
    made = estimate_file(
        str(tmp_path / "a.mrc"),
        output_dir=str(tmp_path / "python"),
        outputs=["uncertainty", "soft_mask", "png"],
        soft_mask_widths=(2, 5),
        colours=(2.5, 7),
        threads=1,
    )
    assert {name: value for name, value in made.numbers.items() if name not in RUN} == {
        name: value for name, value in row.items() if name not in RUN
    }
    assert {name: str(path) for name, path in made.files.items()} == {
        name: path for name, path in made.numbers["files"].items() if path
    }
    assert {path.name for path in (tmp_path / "command").iterdir()} == {path.name for path in made.files.values()}
    for path in made.files.values():
        assert path.read_bytes() == (tmp_path / "command" / path.name).read_bytes()
    np.testing.assert_array_equal(made.local_resolution.values, read_map(made.files["locres"]).density.values)


@pytest.mark.slow
def test_one_open_network_serves_many_files_and_a_notebook_shows_the_paths(tmp_path):
    model = Model.open(None, device="cpu", threads=1)
    for name in ("a", "b<i>"):
        made = estimate_file(save(tmp_path / f"{name}.mrc", lumps()), model=model, threads=1)
        page = PageReader(made._repr_html_())
        assert f"locres: {made.files['locres']}" in page.text
        assert all(warning in page.text for warning in made.warnings)
    with pytest.raises(CryoresError, match="existing file"):
        estimate_file(tmp_path / "a.mrc", model=model, threads=1)
    estimate_file(tmp_path / "a.mrc", model=model, threads=1, overwrite=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"outputs": ["page"]}, "outputs"),
        ({"outputs": "report"}, "outputs"),
        ({"outputs": ["atoms_model"]}, "outputs"),
        ({"method": "fsc"}, "statistical"),
        ({"voxel_size": "one"}, "voxel size"),
        ({"threads": 0}, "threads"),
        ({"device": "gpu"}, "device"),
        ({"soft_mask_widths": (3, -1)}, "soft_mask_widths"),
        ({"colours": (8, 3)}, "colours"),
        ({"colours": 3}, "colours"),
        ({"model": "none.onnx"}, "none.onnx"),
        ({"half_maps": ("h1.mrc", "h2.mrc")}, "h1.mrc"),
        ({"atoms": "none.cif"}, "none.cif"),
    ],
)
def test_an_argument_that_cannot_be_used_is_an_error_and_nothing_is_written(tmp_path, options, words):
    path = save(tmp_path / "in" / "a.mrc", lumps())
    with pytest.raises(CryoresError, match=words):
        estimate_file(path, output_dir=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


def test_a_missing_map_is_the_error_of_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="none"):
        estimate_file(tmp_path / "none.mrc")
