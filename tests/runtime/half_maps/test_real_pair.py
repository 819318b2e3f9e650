"""Two half maps of a subtomogram average: 32³ voxels, inverted contrast, unknown voxel size (1 Å is written)."""

import json

import numpy as np
import pytest

from cryores_lite.half_maps.local_fsc import local_fsc
from cryores_lite.half_maps.pair import read_pair
from cryores_lite.io.mrc import read_map
from tests.runtime.command import COMPARE, rows, run
from tests.runtime.paths import SHARED

HALVES = tuple(SHARED / "data" / "halves" / f"cryocat_npc_{letter}.mrc.gz" for letter in "AB")
MEASURED_ELSEWHERE = 2.82  # voxels, FSC 0.143 in a soft sphere
pytestmark = pytest.mark.skipif(not HALVES[0].exists(), reason="the pair is not beside the repository")


def test_local_resolution_is_near_the_global_one():
    pair, _ = read_pair(HALVES, 8.8)
    values = local_fsc(pair.first, pair.second).values / 8.8
    assert np.median(values) == pytest.approx(MEASURED_ELSEWHERE, rel=0.2)  # measured: 13 % coarser


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--voxel-size", 8.8)])
def test_the_command_measures_the_pair(tmp_path, options):
    finished = run("--half-maps", *HALVES, *options, "--json", "--report", "-o", tmp_path, "-j", 1, check=True)
    (row,) = rows(finished)
    size = row["voxel_size"]
    assert row["fsc"]["resolution"] / size == pytest.approx(MEASURED_ELSEWHERE, rel=0.12)  # measured: 3.00 and 2.58
    assert row["comparison"]["median_fsc"] / size == pytest.approx(MEASURED_ELSEWHERE, rel=0.2)
    assert row["comparison"]["alignment"]["shift_voxels"] < 0.15
    assert row["comparison"]["masking"] is None
    assert any("multiplied by -1" in warning for warning in row["warnings"])
    assert any("voxel size" in warning for warning in row["warnings"]) != bool(options)
    assert not any("relative to the first" in warning for warning in row["warnings"])
    assert "Second half map: shift" in (tmp_path / "cryocat_npc_A_locres.html").read_text("utf-8")
    assert (
        -read_map(row["files"]["average"]).density.values.min() < read_map(row["files"]["average"]).density.values.max()
    )


@pytest.mark.slow
def test_the_comparison_command_measures_the_pair(tmp_path):
    average = run("--half-maps", *HALVES, "--json", "-o", tmp_path, "-j", 1, check=True)
    (row,) = rows(average)
    finished = run(
        row["files"]["average"], "--half-maps", *HALVES, "-o", tmp_path, "--json", command=COMPARE, check=True
    )
    assert json.loads(finished.stdout)
