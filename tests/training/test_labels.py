"""Labels from half maps: those of independent, aligned half maps with all views are made, wrong ones are refused."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy import fft, ndimage

from cryores_lite.errors import InputError
from cryores_lite.half_maps.independence import lowest_shell_fsc
from cryores_lite.half_maps.pair import HalfMapPair
from cryores_lite.types import Density, Grid
from tests.runtime import maps
from tests.runtime.maps import HALF_MAP_SHAPE, HALF_MAP_VOXEL_SIZE, ball, filtered, molecule_half_maps, white_noise
from training.data import LEVELS_FOLDER, nonempty_files
from training.maps.labels import measure_resolution

GRID = Grid(HALF_MAP_SHAPE, (HALF_MAP_VOXEL_SIZE,) * 3)
MASK = ball(HALF_MAP_SHAPE, 20)
save = partial(maps.save, voxel_size=HALF_MAP_VOXEL_SIZE)


@pytest.fixture(scope="module")
def halves():
    return [half.values for half in molecule_half_maps()]


def label(first, second):
    paths = (Path("half1.mrc"), Path("half2.mrc"))
    pair = HalfMapPair(paths, Density(first, GRID), Density(second, GRID), lowest_shell_fsc(first, second))
    return measure_resolution(pair, MASK)


def moved(first, second, voxels=0.7):
    waves = ndimage.fourier_shift(fft.rfftn(second), (voxels, 0, 0), n=second.shape[2])
    return first, fft.irfftn(waves, s=second.shape).astype(np.float32)


def turned(first, second):
    return first, ndimage.rotate(second, 4, (1, 2), reshape=False, order=3, mode="nearest")


def with_common_noise(first, second):
    common = np.float32(3) * white_noise(7, HALF_MAP_SHAPE)
    return tuple((half + common).astype(np.float32) for half in (first, second))


def inverted(first, second):
    return first, -second


def masked_apart(first, second):
    return first, second * ball(HALF_MAP_SHAPE, 24)


def in_a_tight_mask(first, second):
    tight = ball(HALF_MAP_SHAPE, 9).astype(np.float32)
    return tuple(half * tight for half in (first, second))


def without_some_views(first, second):
    """Noise that is stronger along z, as where side views are missing."""
    z, y, x = np.meshgrid(*(np.fft.fftfreq(n) for n in HALF_MAP_SHAPE[:2]), np.fft.rfftfreq(64), indexing="ij")
    cosine = np.abs(z) / np.maximum(np.sqrt(z**2 + y**2 + x**2), 1e-9)
    added = (filtered(white_noise(20 + n, HALF_MAP_SHAPE), 16 * cosine**4) for n in range(2))
    return tuple((half + noise).astype(np.float32) for half, noise in zip((first, second), added, strict=True))


def test_half_maps_without_a_fault_give_a_label(halves):
    local, global_resolution = label(*halves)
    assert (local[MASK] > 0).all()
    assert np.median(local[MASK]) == pytest.approx(global_resolution, rel=0.4)


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (moved, "shifted by 0.7"),
        (turned, "rotated by"),
        (with_common_noise, "common noise"),
        (inverted, "do not correlate"),
        (masked_apart, "different masks"),
        (in_a_tight_mask, "a mask that alone gives"),
        (without_some_views, "between directions"),
    ],
)
def test_half_maps_with_a_fault_are_refused_and_the_fault_is_named(halves, fault, found):
    with pytest.raises(InputError, match="half maps that give a wrong label") as refused:
        label(*fault(*halves))
    assert found in str(refused.value)


@pytest.mark.parametrize("voxels", [0.1, 0.2])
def test_a_shift_that_changes_the_label_little_is_not_refused(halves, voxels):
    unmoved, _ = label(*halves)
    local, _ = label(*moved(*halves, voxels))
    assert np.sqrt(np.mean((local[MASK] / unmoved[MASK] - 1) ** 2)) < 0.02


def test_the_command_leaves_out_a_refused_map_says_why_and_makes_the_others(halves, tmp_path):
    first, second = halves
    names = {"good": halves, "bad": moved(first, second, 1.0)}
    rows = ["map,half1,half2,mask"]
    for name, pair in names.items():
        files = {"map": (pair[0] + pair[1]) / 2, "half1": pair[0], "half2": pair[1], "mask": MASK.astype(np.float32)}
        rows.append(",".join(save(tmp_path / f"{name}_{kind}.mrc", values).name for kind, values in files.items()))
    (tmp_path / "maps.csv").write_text("\n".join(rows) + "\n")
    out = tmp_path / "out"
    stale = [folder / "real-bad_map.mrc.npz" for folder in (out, out / LEVELS_FOLDER)]
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(100))
    command = (sys.executable, "-m", "training.data", "--labels", tmp_path / "maps.csv", "--out", out)
    finished = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert finished.returncode == 1
    assert "error: bad_map.mrc: half maps that give a wrong label: found a second half map that is" in finished.stderr
    assert "1 of 2 maps were left out" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert [path.name for path in nonempty_files(out)] == ["real-good_map.mrc.npz"]
    assert not any(path.exists() for path in stale)
