"""The criteria at which local FSC is read: their order, and the false-discovery rate."""

from dataclasses import replace

import mrcfile
import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryores_lite.fourier.criterion import Criterion
from cryores_lite.fourier.local_power import window_sigma
from cryores_lite.fourier.spectrum import transform
from cryores_lite.half_maps.comparison import clear_shares
from cryores_lite.half_maps.false_discovery import draws, random_phases, significant_from
from cryores_lite.half_maps.local_fsc import band_fsc, chance_fsc, local_fsc, threshold_of
from tests.runtime.command import invoke, rows, run
from tests.runtime.maps import HALF_MAP_SHAPE, HALF_MAP_VOXEL_SIZE, ball, density_of, save, white_noise

RATE = 0.01
COARSE = (32, 32, 32)
VOXEL_SIZE = (HALF_MAP_VOXEL_SIZE,) * 3


def noise_only(seed):
    """Half maps without a signal, whose noise is stronger in the middle and falls with frequency."""
    envelope = 1 + 2 * ball(HALF_MAP_SHAPE, 20)
    return [(envelope * white_noise(10 * seed + n, HALF_MAP_SHAPE)).astype(np.float32) for n in (1, 2)]


@pytest.fixture(scope="module")
def by_criterion(molecule):
    inside = ball(HALF_MAP_SHAPE, 18)
    return {c: local_fsc(*molecule, threshold=threshold_of(c)).values[inside] for c in Criterion}


def test_a_stricter_criterion_is_coarser_at_every_voxel(by_criterion):
    assert (by_criterion[Criterion.fsc_05] >= by_criterion[Criterion.fsc_0143] - 1e-4).all()
    assert (by_criterion[Criterion.one_bit] >= by_criterion[Criterion.fsc_0143] - 1e-4).all()
    assert (by_criterion[Criterion.fsc_05] >= by_criterion[Criterion.one_bit] - 1e-4).mean() > 0.95


def test_what_is_significant_reaches_beyond_an_fsc_of_one_half(by_criterion):
    assert np.median(by_criterion[Criterion.fdr]) < np.median(by_criterion[Criterion.fsc_05])


@pytest.mark.parametrize("frequency", [0.06, 0.1, 0.2])
def test_of_half_maps_of_noise_at_most_the_stated_share_is_significant(frequency):
    shares = []
    for seed in range(4):
        halves = [transform(half, VOXEL_SIZE) for half in noise_only(seed)]
        where = frequency, window_sigma(frequency), COARSE
        fsc = band_fsc(halves, *where)
        shares.append(np.mean(fsc >= significant_from(fsc, chance_fsc(halves, *where), RATE)))
    assert np.mean(shares) <= RATE


def test_half_maps_of_noise_by_chance_have_the_fsc_of_half_maps_of_noise():
    observed, by_chance, where = [], [], (0.15, window_sigma(0.15), COARSE)
    for seed in range(8):
        halves = [transform(white_noise(2 * seed + n, HALF_MAP_SHAPE), VOXEL_SIZE) for n in (1, 2)]
        observed.append(band_fsc(halves, *where))
        by_chance.append(chance_fsc(halves, *where))
    for percentile in (90, 95, 99):
        assert np.percentile(by_chance, percentile) == pytest.approx(np.percentile(observed, percentile), rel=0.25)


def test_the_false_discoveries_of_a_mixture_are_at_most_the_stated_share():
    rng = np.random.default_rng(0)
    chance, empty, full = rng.normal(0, 0.07, 50000), rng.normal(0, 0.07, 8000), rng.normal(0.3, 0.07, 2000)
    threshold = significant_from(np.concatenate([empty, full]), chance, RATE)
    false, true = (empty >= threshold).sum(), (full >= threshold).sum()
    assert false / (false + true) < 1.5 * RATE
    assert true > 0.8 * full.size


def test_where_nothing_is_significant_the_threshold_is_above_all_values():
    values = np.linspace(0, 0.2, 100)
    assert significant_from(values, np.linspace(0, 0.5, 1000), RATE) > 0.5


def test_random_phases_keep_the_amplitudes():
    spectrum = transform(white_noise(0, HALF_MAP_SHAPE), VOXEL_SIZE)
    random = random_phases(spectrum, np.random.default_rng(1))
    assert_allclose(np.abs(random.waves), np.abs(spectrum.waves), rtol=1e-5, atol=1e-3)


def test_wide_windows_in_a_small_box_need_more_random_pairs():
    assert draws((128.0,) * 3, 4.0) <= draws((128.0,) * 3, 20.0) <= draws((64.0,) * 3, 20.0)
    assert draws((500.0,) * 3, 4.0) == 1


def test_scale_and_offset_do_not_change_what_is_significant(molecule, by_criterion):
    scaled = (molecule[0], replace(molecule[1], values=100 * molecule[1].values + 5))
    values = local_fsc(*scaled, threshold=threshold_of(Criterion.fdr)).values[ball(HALF_MAP_SHAPE, 18)]
    assert_allclose(values, by_criterion[Criterion.fdr], rtol=0.01)


def test_local_resolution_of_noise_is_that_of_the_coarsest_band():
    pair = [density_of(half, HALF_MAP_VOXEL_SIZE) for half in noise_only(3)]
    values = local_fsc(*pair, threshold=threshold_of(Criterion.fdr)).values
    assert np.mean(values < 25) <= RATE  # coarser bands are wider than the box, and not tested


@pytest.mark.slow
def test_json_label_page_and_methods_text_name_the_criterion(tmp_path, molecule):
    halves = [save(tmp_path / f"m_half{n}.mrc", h.values, voxel_size=2.0) for n, h in enumerate(molecule, 1)]
    medians = {}
    for criterion in Criterion:
        words = ("--half-maps", *halves, "--criterion", criterion.value, "--report", "--json", "-j", 1, "--overwrite")
        (row,) = rows(run(*words))
        with mrcfile.open(row["files"]["locres_fsc"]) as file:
            assert criterion.label in str(file.get_labels())
        page = (tmp_path / "m_locres.html").read_text("utf-8")
        assert f"by half-map FSC ({criterion.label})" in page
        assert f"({criterion.text} in Gaussian windows" in row["methods_text"]
        assert row["comparison"]["criterion"] == criterion.value
        warned = any("that of the criteria" in warning for warning in row["warnings"])
        assert warned == (criterion is not Criterion.fsc_0143)
        medians[criterion] = row["comparison"]["median_fsc"]
    assert medians[Criterion.fsc_05] > medians[Criterion.fsc_0143]


def test_a_criterion_without_half_maps_is_refused(monkeypatch, tmp_path):
    code, output = invoke(monkeypatch, tmp_path, "m.mrc", "--criterion", "0.5")
    assert code == 2
    assert "--half-maps" in output


def test_the_shares_of_clear_differences_are_those_of_chance_where_both_errors_are_right():
    rng = np.random.default_rng(0)
    half_maps, error = np.full(50000, 4.0), np.full(50000, 0.3)
    noise = rng.normal(size=half_maps.size) * np.hypot(error, 0.05 * half_maps)
    assert clear_shares(half_maps + noise, half_maps, error) == pytest.approx((0.0228, 0.0228), abs=0.004)
    assert clear_shares(half_maps + 3, half_maps, error) == (0, 1)
    assert clear_shares(half_maps - 3, half_maps, error) == (1, 0)
    assert np.isnan(clear_shares(half_maps, half_maps, np.full(50000, np.nan))).all()
