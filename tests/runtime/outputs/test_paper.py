"""The texts for a paper and for a deposition: their numbers are those of the result."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cryores_lite.outputs.outcome import row
from cryores_lite.outputs.paper import deposits, methods_text
from cryores_lite.outputs.result import MapResult
from cryores_lite.types import HalfMapComparison
from tests.runtime.outputs.helpers import GRID, done, job

OUTPUTS = {"locres": Path("out/m_locres.mrc"), "mask": Path("out/m_mask.mrc")}


def result(**changes):
    """A finished map of 3 to 6 Å, with two voxels outside its mask."""
    mask = np.ones(GRID.shape, bool)
    mask[0, 0, :2] = False
    finished = done(mask, OUTPUTS)
    values = np.where(mask, np.linspace(3, 6, mask.size, dtype=np.float32).reshape(mask.shape), np.float32(0))
    estimate = replace(finished.local_resolution, values=values, uncertainty=values / 10)
    return replace(finished, **{"local_resolution": estimate, **changes})


def comparison():
    return HalfMapComparison(
        paths=(Path("a/h1.mrc"), Path("a/h2.mrc")),
        values=np.zeros(GRID.shape, np.float32),
        frequencies=[],
        curves={},
        resolution=3.21,
        resolution_half=4.0,
        median=3.87,
        r=0.83,
        rmse=0.29,
        bias=0.1,
        edges=[],
        counts=[],
    )


@pytest.mark.parametrize("model", ["network", "statistical"])
def test_the_methods_hold_the_numbers_of_the_json(model):
    finished = result() if model == "network" else result(model=None)
    numbers, text = row(finished), methods_text(finished)
    assert numbers["methods_text"] == text
    expected = [f"{value:.2f}" for value in numbers["percentiles"].values()] + [f"{numbers['mask_volume']:.0f} Å³"]
    if model == "network":
        expected += [f"{numbers[name]:.2f} Å" for name in ("median_uncertainty", "global_resolution")]
        expected += [numbers["model"]["sha256"][:12], "network net 1", "doi:10.1016/j.jmb.2023.168059"]
    assert [part for part in expected if part not in text] == []
    assert ("network" in text) == (model == "network")
    assert "not a Fourier shell correlation of half maps" in text
    assert "m.mrc alone" in text


def test_half_maps_and_a_given_voxel_size_are_named():
    text = methods_text(result(comparison=comparison()))
    assert all(part in text for part in ("h1.mrc and h2.mrc", "3.21 Å", "3.87 Å", "0.83", "0.29 Å", "Rosenthal"))
    assert "given by the user" in methods_text(result(job=replace(job(OUTPUTS), voxel_size=1.5)))
    averaged = replace(job({**OUTPUTS, "average": Path("m_average.mrc")}), half_maps=comparison().paths)
    assert "the average of the half maps h1.mrc and h2.mrc" in methods_text(result(job=averaged))


def test_unknown_numbers_have_no_words():
    estimate = replace(result().local_resolution, global_resolution=np.nan)
    unknown = replace(comparison(), r=np.nan, rmse=np.nan, resolution=np.nan)
    text = methods_text(result(local_resolution=estimate, comparison=unknown))
    assert not re.search(r"\bnan\b", text)
    assert "estimate of the global resolution" not in text


def test_the_contour_level_of_each_file_encloses_the_mask():
    finished = result()
    estimate, (local, mask) = finished.local_resolution, deposits(finished)
    for deposit, values in ((local, estimate.values), (mask, estimate.mask)):
        np.testing.assert_array_equal(values >= deposit.contour_level, estimate.mask)
    assert [(d.file, d.type) for d in (local, mask)] == [("m_locres.mrc", "additional map"), ("m_mask.mrc", "mask")]
    assert all(d.annotation.isascii() and d.voxel_size == (1.5, 1.5, 1.5) for d in (local, mask))


def test_without_a_molecule_or_a_result_there_is_no_text():
    for nothing in (done(np.zeros(GRID.shape, bool), OUTPUTS), MapResult(job=job(OUTPUTS), error="no such file")):
        numbers = row(nothing)
        assert (numbers["methods_text"], numbers["deposition"]) == (None, [])
