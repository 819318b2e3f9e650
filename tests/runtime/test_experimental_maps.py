"""The command on three experimental maps (tests/data/README.md): numbers, warnings, and where the output lies."""

import gzip
from dataclasses import dataclass
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from tests.runtime.command import rows, run
from tests.runtime.maps import PLACEMENT
from tests.runtime.paths import EXPERIMENTAL


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What version 0.1.0 answers with its model `cryores` 6, measured on a CPU."""

    shape: tuple[int, int, int]  # voxels, (z, y, x)
    voxel_size: float  # Å
    median: float  # Å
    spread: tuple[float, float]  # Å, 2.5 and 97.5 percentile
    mask_volume: float  # Å³
    warnings: tuple[str, ...]  # one fragment of each


EXPECTED = {
    "emd_2566_chain9": Expected(
        shape=(47, 52, 35),
        voxel_size=1.34,
        median=4.35,
        spread=(3.83, 5.75),
        mask_volume=48_900,
        warnings=("solvent", "%"),
    ),
    "riken_6555": Expected(
        shape=(71, 77, 106),
        voxel_size=1.08,
        median=3.25,
        spread=(2.80, 4.12),
        mask_volume=30_200,
        warnings=("solvent", "cut off at the bottom", "probably edited"),
    ),
    "emd_1832": Expected(
        shape=(64, 64, 64),
        voxel_size=5.7,
        median=21.93,
        spread=(21.5, 23.5),
        mask_volume=1_578_000,
        warnings=("solvent", "%", "cut off at the bottom", "probably edited"),
    ),
}
pytestmark = pytest.mark.slow
NAMES = pytest.mark.parametrize("name", EXPECTED)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One call of the command with all maps."""
    folder = tmp_path_factory.mktemp("experimental")
    maps = [EXPERIMENTAL / f"{name}.mrc.gz" for name in EXPECTED]
    done = run(*maps, "-o", folder, "-j", 2, "--device", "cpu", "--uncertainty", "--json", check=True)
    return dict(zip(EXPECTED, rows(done), strict=True))


def values(row, kind):
    with mrcfile.open(row["files"][kind]) as mrc:
        return mrc.data.copy()


@NAMES
def test_the_numbers_are_those_measured(finished, name):
    row, expected = finished[name], EXPECTED[name]
    assert row["median"] == pytest.approx(expected.median, rel=0.05)
    assert (row["percentiles"]["2.5"], row["percentiles"]["97.5"]) == pytest.approx(expected.spread, rel=0.08)
    assert row["mask_volume"] == pytest.approx(expected.mask_volume, rel=0.1)
    assert row["voxel_size"] == pytest.approx(expected.voxel_size, abs=1e-4)


@NAMES
def test_a_cut_or_masked_map_gets_the_expected_warnings(finished, name):
    for warning, fragment in zip(finished[name]["warnings"], EXPECTED[name].warnings, strict=True):
        assert fragment in warning


@NAMES
@pytest.mark.parametrize("kind", ["locres", "mask", "uncertainty"])
def test_the_output_lies_on_the_map(finished, name, kind):
    with gzip.open(EXPERIMENTAL / f"{name}.mrc.gz") as file:
        original = file.read(1024)
    written = Path(finished[name]["files"][kind]).read_bytes()[:1024]
    for words in PLACEMENT:
        assert written[words] == original[words]
    assert written[:12] == original[:12]  # the numbers of columns, rows and sections
    assert values(finished[name], kind).shape == EXPECTED[name].shape


@NAMES
def test_the_files_agree_with_the_summary(finished, name):
    row = finished[name]
    local_resolution, mask, uncertainty = (values(row, kind) for kind in ("locres", "mask", "uncertainty"))
    inside = mask == 1
    assert ((mask == 0) | inside).all()
    assert inside.sum() * row["voxel_size"] ** 3 == pytest.approx(row["mask_volume"], rel=1e-4)
    for field in (local_resolution, uncertainty):
        assert ((field > 0) == inside).all()
    assert np.median(local_resolution[inside]) == pytest.approx(row["median"], rel=1e-6)
    assert np.median(uncertainty[inside]) == pytest.approx(row["median_uncertainty"], rel=1e-6)
    assert local_resolution[inside].min() >= 2 * row["voxel_size"] - 1e-4


@NAMES
def test_the_mask_holds_the_strong_density_and_little_of_the_empty_box(finished, name):
    with mrcfile.open(EXPERIMENTAL / f"{name}.mrc.gz") as mrc:
        density = mrc.data.copy()
    mask = values(finished[name], "mask") == 1
    assert mask[density > 0.2 * density.max()].mean() > 0.93  # 0.95 to 0.97
    assert (density[mask] != 0).mean() > 2 * (density != 0).mean()
