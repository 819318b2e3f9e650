"""Voxels from 0.1 to 50 Å are answered: lengths follow the voxels of coarse maps, and fine voxels add nothing."""

import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import signal

from cryores_lite import Model, estimate
from cryores_lite.fourier.local_power import POWER_STEP
from cryores_lite.half_maps.comparison import compare
from cryores_lite.half_maps.local_fsc import local_fsc
from cryores_lite.half_maps.pair import HalfMapPair
from cryores_lite.io.mrc import read_map
from cryores_lite.method.coarse_voxels import MAX_VOXEL_SIZE, scaled_down
from cryores_lite.method.pipeline import estimate_local_resolution
from cryores_lite.method.prepare import prepare
from cryores_lite.method.statistical import estimate_by_noise
from cryores_lite.resources import COARSE_STEP, estimated_memory, memory_per_voxel
from cryores_lite.types import VOXEL_SIZE_RANGE, Density, Grid
from tests.runtime.maps import ball, density_of, filtered, lumps, molecule_half_maps, save, wave_numbers, white_noise
from tests.runtime.paths import EXPERIMENTAL, SUBMIT


@pytest.fixture(scope="module")
def model():
    return Model.open(device="cpu", threads=2)


def with_voxels(density, size):
    """The same values on cubic voxels of another size in Å."""
    return replace(density, grid=replace(density.grid, voxel_size=(size,) * 3))


def test_maps_up_to_the_limit_are_not_changed_and_larger_voxels_become_the_limit():
    for size in (VOXEL_SIZE_RANGE[0], 1.0, MAX_VOXEL_SIZE):
        density = density_of(lumps(), size)
        assert scaled_down(density) == (density, 1)
    for size in (4.5, 12.6, VOXEL_SIZE_RANGE[1]):
        scaled, factor = scaled_down(density_of(lumps(), size))
        assert scaled.grid.voxel_size == pytest.approx((MAX_VOXEL_SIZE,) * 3)
        assert factor * MAX_VOXEL_SIZE == pytest.approx(size)


def test_the_longest_edge_of_a_voxel_decides_and_the_others_keep_their_ratio_to_it():
    scaled, factor = scaled_down(Density(lumps(), Grid((44, 48, 52), (6.0, 8.0, 1.0), (80.0, -8.0, 0.0))))
    assert factor == 2
    assert scaled.grid == Grid((44, 48, 52), (3.0, 4.0, 0.5), (40.0, -4.0, 0.0))


@pytest.mark.parametrize("size", [MAX_VOXEL_SIZE, 5.5, 25.0])
def test_a_map_with_voxels_twice_as_large_has_twice_the_local_resolution(model, size):
    """Nearly: the network knows the scale, because proteins have shapes of certain lengths."""
    single, double = (estimate_local_resolution(density_of(lumps(), v), model) for v in (size, 2 * size))
    both = single.mask & double.mask
    assert both.sum() > 0.9 * (single.mask | double.mask).sum() > 0
    np.testing.assert_allclose(double.values[both], 2 * single.values[both], rtol=0.1)
    assert double.median == pytest.approx(2 * single.median, rel=0.05)
    assert double.global_resolution == pytest.approx(2 * single.global_resolution, rel=0.05)
    assert double.working_voxel_size == pytest.approx(2 * single.working_voxel_size, rel=0.05)
    assert double.values[double.mask].min() >= np.float32(4 * size)


@pytest.mark.parametrize("size", [0.1, 0.2, 0.3, 50.0, (0.1, 50.0, 1.0), (10.0, 1.0, 1.0), (0.1, 0.1, 0.4)])
def test_every_voxel_size_of_the_range_is_answered_also_with_unequal_axes(model, size):
    result = estimate(lumps(), size, model=model, threads=1)
    inside = result.values[result.mask]
    assert np.isfinite(inside).all()
    assert (inside >= np.float32(2 * np.max(size))).all()


def test_half_maps_and_the_statistical_method_scale_with_the_voxels_too():
    halves = molecule_half_maps()
    mean = replace(halves[0], values=(halves[0].values + halves[1].values) / 2)
    single, double = (estimate_by_noise(with_voxels(mean, v)) for v in (5.0, 10.0))
    np.testing.assert_array_equal(double.values, 2 * single.values)
    (local, compared), (local_2, compared_2) = (
        (local_fsc(*pair, sigma=3 * v), compare(HalfMapPair((Path("a"), Path("b")), *pair, 0.0), result))
        for v, result in ((5.0, single), (10.0, double))
        for pair in [[with_voxels(half, v) for half in halves]]
    )
    np.testing.assert_array_equal(local_2.values, 2 * local.values)
    np.testing.assert_allclose(local_2.frequencies, local.frequencies / 2)
    np.testing.assert_array_equal(compared_2.values, 2 * compared.values)
    assert compared_2.curves == compared.curves
    for name in ("resolution", "resolution_half", "median", "rmse", "bias"):
        assert getattr(compared_2, name) == pytest.approx(2 * getattr(compared, name))
    assert compared_2.r == pytest.approx(compared.r)


def test_time_and_memory_depend_on_the_number_of_voxels_not_on_their_size():
    sizes = [
        [spectra.spectrum.waves.size, spectra.powers.values.size]
        for v in (MAX_VOXEL_SIZE, 12.0, VOXEL_SIZE_RANGE[1])
        for spectra in [prepare(scaled_down(density_of(lumps(), v))[0])[1]]
    ]
    assert sizes[1:] == sizes[:-1]


def test_the_memory_rule_is_the_same_for_all_voxels_beyond_the_limit_and_lower_below():
    assert COARSE_STEP == POWER_STEP == MAX_VOXEL_SIZE
    box = (160, 160, 160)
    fine, usual, *coarse = (estimated_memory(box, memory_per_voxel((v,) * 3)) for v in (0.1, 1.2, 4.0, 10.0, 50.0))
    assert coarse == pytest.approx(coarse[:1] * 3)
    assert fine < usual < coarse[0]


def test_submit_requests_the_same_memory_for_all_voxels_beyond_the_limit(tmp_path):
    memory_for = runpy.run_path(str(SUBMIT))["voxels_and_memory"]
    paths = [save(tmp_path / f"{v}.mrc", lumps(), voxel_size=v) for v in (0.2, 5.0, 50.0)]
    fine, *coarse = (memory_for(path)[1] for path in paths)
    assert fine < coarse[0] == pytest.approx(coarse[1])


PEAK = """
import numpy as np
from pathlib import Path
from cryores_lite import estimate
estimate(np.load("map.npy"), {size}, device="cpu", threads=2)
status = Path("/proc/self/status").read_text()
print(1024 * int(status.split("VmHWM:")[1].split()[0]))  # ru_maxrss would include the process that started this one
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system has no /proc")
@pytest.mark.parametrize("size", [0.1, 1.2, 2.5, 4.0, 10.0, 50.0])
def test_the_memory_rule_covers_a_molecule_with_detail_up_to_nyquist_that_fills_its_box(tmp_path, size):
    box = (96, 96, 96)
    detail = filtered(white_noise(0, box), np.exp(-((wave_numbers(box, 1.0) / 0.3) ** 2)))
    np.save(tmp_path / "map.npy", ball(box, 45) * (detail / detail.std() + 1.5) + 0.1 * white_noise(1, box))
    command = [sys.executable, "-c", PEAK.format(size=size)]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert int(finished.stdout) < 1.05 * estimated_memory(box, memory_per_voxel((size,) * 3))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["emd_2566_chain9", "riken_6555"])
def test_voxels_below_0_3_angstrom_give_the_result_of_the_map_at_half_an_angstrom(model, name):
    density = read_map(EXPERIMENTAL / f"{name}.mrc.gz").density
    part = density.values[:64, :64, :64]
    usual, fine = (estimate(*on_voxels_of(part, density.grid.voxel_size[0], v), model=model) for v in (0.5, 0.25))
    assert abs(np.log(fine.median / usual.median)) < usual.median_uncertainty / usual.median
    assert fine.mask_volume == pytest.approx(usual.mask_volume, rel=0.1)


def on_voxels_of(values, old, new):
    """The map resampled in Fourier space to voxels of about `new` Å, and their exact sizes."""
    sizes = []
    for axis, n in enumerate(values.shape):
        points = round(n * old / new)
        values = signal.resample(values, points, axis=axis)
        sizes.append(n * old / points)
    return values.astype(np.float32), sizes


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sta_ribosome", "emd_5311"])
def test_real_maps_with_voxels_beyond_10_angstrom_are_answered(shared, model, name):
    density = read_map(shared / "data" / "coarse_voxels" / f"{name}.mrc.gz").density
    result = estimate_local_resolution(density, model, 2)
    assert result.mask.any()
    assert 2 * density.grid.voxel_size[0] <= result.median * (1 + 1e-6) < 10 * density.grid.voxel_size[0]
