"""Rows and summaries: every row has every field, and no number is NaN."""

import json
from pathlib import Path

import numpy as np

from cryores_lite.outputs.catalogue import KIND
from cryores_lite.outputs.outcome import row, summary
from cryores_lite.outputs.result import MapResult
from tests.runtime.outputs.helpers import GRID, done, job

OUTPUTS = {"locres": Path("out/m_locres.mrc"), "mask": Path("out/m_mask.mrc")}


def outcome(mask):
    return done(mask, OUTPUTS)


def test_the_row_of_a_done_map_holds_its_numbers_files_and_model():
    done_row = row(outcome(np.ones(GRID.shape, bool)))
    assert (done_row["outcome"], done_row["error"], done_row["warnings"]) == ("done", None, ["mind this"])
    named = {"locres": "out/m_locres.mrc", "mask": "out/m_mask.mrc"}
    assert done_row["files"] == {**dict.fromkeys(KIND), **named}
    assert done_row["median_uncertainty"] == 0.5
    assert (done_row["median"], done_row["global_resolution"], done_row["voxel_size"]) == (4.0, 3.5, 1.5)
    assert done_row["percentiles"] == dict.fromkeys(("2.5", "25", "50", "75", "97.5"), 4.0)
    assert done_row["mask_volume"] == 24 * 1.5**3
    assert done_row["model"] == {"name": "net", "version": "1", "sha256": "ab" * 32}


def test_an_empty_mask_gives_null_and_never_nan():
    empty_row = row(outcome(np.zeros(GRID.shape, bool)))
    json.dumps(empty_row, allow_nan=False)
    assert (
        empty_row["median"]
        is empty_row["global_resolution"]
        is empty_row["percentiles"]["2.5"]
        is empty_row["median_uncertainty"]
        is None
    )


def test_a_failed_row_has_the_same_fields():
    finished, failed = row(outcome(np.ones(GRID.shape, bool))), row(MapResult(job=job(OUTPUTS), error="no such file"))
    assert list(finished) == list(failed)
    for name in ("files", "percentiles", "model"):
        assert list(finished[name]) == list(failed[name])
        assert set(failed[name].values()) == {None}
    assert (failed["outcome"], failed["error"]) == ("failed", "no such file")


def test_a_summary_has_three_to_eight_lines_with_and_without_a_molecule():
    for mask in (np.ones(GRID.shape, bool), np.zeros(GRID.shape, bool)):
        assert 3 <= len(summary(outcome(mask)).splitlines()) <= 8
