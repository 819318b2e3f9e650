"""A number that cannot be computed is named in words, left out, or null: no text of the program contains nan or inf."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from cryores_lite.batch.table import csv_row, stamped
from cryores_lite.half_maps.comparison import compare
from cryores_lite.half_maps.pair import HalfMapPair
from cryores_lite.io.mrc import read_map
from cryores_lite.outputs import contents
from cryores_lite.outputs.outcome import row, summary
from cryores_lite.outputs.result import Job, MapResult, ModelIdentity
from cryores_lite.types import LocalResolution
from tests.runtime.figures.helpers import PageReader
from tests.runtime.maps import HALF_MAP_SHAPE, HALF_MAP_VOXEL_SIZE, ball, molecule_half_maps, save

NOT_A_NUMBER = re.compile(r"(?<![a-z_])(nan|inf|infinity)(?![a-z_])", re.IGNORECASE)
MASKS = {"molecule": ball(HALF_MAP_SHAPE, 20), "empty": np.zeros(HALF_MAP_SHAPE, bool)}


def half_map_result(folder, mask, values, number):
    """The result of two real half maps for an estimate; `number` is its global resolution and its uncertainty."""
    first, second = molecule_half_maps()
    path = save(folder / "m.mrc", (first.values + second.values) / 2, voxel_size=HALF_MAP_VOXEL_SIZE)
    estimate = LocalResolution(
        values=np.where(mask, values, 0).astype(np.float32),
        mask=mask,
        uncertainty=np.where(mask, np.float32(number), 0),
        grid=first.grid,
        global_resolution=number,
        working_voxel_size=2.0,
        provider="CPUExecutionProvider",
    )
    pair = HalfMapPair((Path("m_half1.mrc"), Path("m_half2.mrc")), first, second, 0.0)
    names = ("locres", "mask", "chimerax", "report", "png")
    return MapResult(
        job=Job(map_path=path, outputs={name: folder / f"m_{name}" for name in names}),
        model=ModelIdentity("net", "1", "ab" * 32),
        map=read_map(path),
        local_resolution=estimate,
        comparison=compare(pair, estimate),
    )


@pytest.mark.slow
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("values", [7.7, np.linspace(5, 9, HALF_MAP_SHAPE[2])], ids=["uniform", "varying"])
@pytest.mark.parametrize("number", [3.5, np.nan], ids=["network", "statistical"])
def test_no_text_contains_nan(tmp_path, mask, values, number):
    result = half_map_result(tmp_path, MASKS[mask], values, number)
    line = json.dumps(row(result), allow_nan=False)
    page = PageReader(contents.report(result))
    shown = [*page.text, *(str({**attributes, "src": ""}) for _, attributes in page.tags)]  # images are base64
    texts = (summary(result), line, contents.chimerax(result), repr(result.local_resolution), *shown)
    for text in (*texts, str(csv_row(stamped(row(result))))):
        assert NOT_A_NUMBER.search(text) is None
    has_correlation = mask == "molecule" and np.ndim(values) > 0
    assert (
        (row(result)["comparison"]["r"] is not None)
        == has_correlation
        == ("  agreement          r " in summary(result))
    )
    assert (row(result)["comparison"]["rmse"] is None) == (mask == "empty")
    assert contents.png(result).startswith(b"\x89PNG")
