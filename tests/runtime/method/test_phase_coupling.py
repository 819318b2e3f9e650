"""Phase coupling: it ignores what was done to the power, is 0 for noise, and is positive for atoms."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import fft, ndimage

from cryores_lite.fourier.local_power import BAND_WIDTH, POWER_STEP, window_sigma
from cryores_lite.fourier.spectrum import Spectrum, grid_for, low_pass, radius
from cryores_lite.io.mrc import read_map
from cryores_lite.method.band_powers import measure_band_powers
from cryores_lite.method.crop import paste
from cryores_lite.method.outline import find_molecule
from cryores_lite.method.phase_coupling import (
    COUPLING_WINDOW,
    LOWER_EDGE,
    LOWER_WAVES,
    coupling_window,
    measure_powers_and_coupling,
)
from cryores_lite.method.prepare import Frame, transform_molecule
from cryores_lite.method.restore import resample_to_crop
from tests.runtime.maps import density_of, white_noise
from tests.runtime.paths import EXAMPLE, EXPERIMENTAL

pytestmark = pytest.mark.slow

MAPS = {"example": EXAMPLE, **{path.name.split(".")[0]: path for path in sorted(EXPERIMENTAL.glob("*.mrc.gz"))}}


@pytest.fixture(scope="module", params=list(MAPS))
def measured(request):
    """A real map's spectrum, the share that a mask removed, the molecule, and the coupling."""
    return measure(read_map(MAPS[request.param]).density)


@pytest.fixture(scope="module")
def example():
    return measure(read_map(EXAMPLE).density)


def measure(density):
    _, _, spectrum, coverage, masked_out = transform_molecule(density)
    molecule, _ = find_molecule(spectrum, grid_for(spectrum.lengths, POWER_STEP), coverage > 0.5)
    return spectrum, masked_out, molecule, coupling_of(spectrum, masked_out)


def coupling_of(spectrum, masked_out=None):
    if masked_out is None:
        masked_out = np.zeros(grid_for(spectrum.lengths, POWER_STEP), np.float32)
    return measure_powers_and_coupling(spectrum, masked_out)[1]


def periodic(values, voxel_size):
    """The spectrum of a box that is periodic without padding."""
    lengths = tuple(n * voxel_size for n in values.shape)
    return Spectrum(fft.rfftn(values.astype(np.float32)), values.shape, lengths, (0, 0, 0))


def filtered_spectrum(spectrum, gain):
    """The spectrum with its waves times a function of |k|."""
    return replace(spectrum, waves=spectrum.waves * gain(radius(spectrum.shape, spectrum.lengths)).astype(np.float32))


def change(first, second, molecule):
    """Mean absolute difference of two couplings in the molecule, per band."""
    return np.abs(first.values - second.values)[:, molecule].mean(1)


def at_voxels(density, start):
    """The coupling at the voxels of the EMD-6555 map, whose first voxel is at `start`."""
    box, _, spectrum, _, masked_out = transform_molecule(density)
    frame = Frame(
        box=box, before=spectrum.before, padded_shape=spectrum.shape, lengths=spectrum.lengths, nyquist_filtered=False
    )
    z, y, x = (slice(s, s + n) for s, n in zip(start, (71, 77, 106), strict=True))
    fields = resample_to_crop(frame, *coupling_of(spectrum, masked_out).values)
    return np.stack([paste(field, box, density.grid.shape)[z, y, x] for field in fields])


def independent_windows(lengths, frequency):
    """Number of independent values of a band's coupling of noise in a box."""
    return max(np.prod(lengths) / (4 * np.pi * coupling_window(frequency) ** 2) ** 1.5, 1)


def smooth_field(seed, shape, sigma):
    """A random field of mean 0 and standard deviation 1, smooth over `sigma` voxels; the box is periodic."""
    field = ndimage.gaussian_filter(white_noise(seed, shape), sigma, mode="wrap")
    return field / field.std()


def atoms(seed, shape, spacing):
    """Gaussian atoms at random places, one in `spacing`³ voxels on average."""
    places = np.random.default_rng(seed).random(shape) < spacing**-3
    return ndimage.gaussian_filter(places.astype(np.float32), 0.7, mode="wrap")


def test_the_powers_are_those_of_the_band_powers_alone(measured):
    spectrum, masked_out, _, _ = measured
    powers, _ = measure_powers_and_coupling(spectrum, masked_out, threads=2)
    expected = measure_band_powers(spectrum, masked_out)
    assert_array_equal(powers.values, expected.values)
    assert_array_equal(powers.frequencies, expected.frequencies)


def test_a_negated_map_has_the_negative_coupling(measured):
    spectrum, masked_out, _, coupling = measured
    negated = coupling_of(replace(spectrum, waves=-spectrum.waves), masked_out)
    assert_array_equal(negated.values, -coupling.values)


@pytest.mark.parametrize(("gain", "offset"), [(1e-3, 7e-3), (1.2e-8, 0), (0.9e12, 0)])
def test_gain_and_offset_change_nothing(gain, offset):
    density = read_map(MAPS["emd_2566_chain9"]).density
    scaled = (gain / np.ptp(density.values) * density.values + offset).astype(np.float32)
    coupling, again = (measure(replace(density, values=values))[3] for values in (density.values, scaled))
    assert_allclose(again.values, coupling.values, atol=1e-3)


@pytest.mark.parametrize("b_factor", [100, -100])
def test_sharpening_and_blurring_change_little(measured, b_factor):
    spectrum, masked_out, molecule, coupling = measured
    sharpened = filtered_spectrum(spectrum, lambda k: np.exp(-b_factor * np.minimum(k, spectrum.nyquist) ** 2 / 4))
    again = coupling_of(sharpened, masked_out)
    fine = coupling.frequencies > 1 / 12
    assert change(coupling, again, molecule)[fine].max(initial=0) < 0.03
    assert change(coupling, again, molecule).max() < 0.06


def test_gains_that_vary_slowly_change_little():
    values = atoms(4, (96, 96, 96), 2.5) + 0.02 * white_noise(5, (96, 96, 96))
    gain = np.exp(0.5 * smooth_field(6, values.shape, 40 / 1.2))
    coupling, changed = (coupling_of(periodic(v, 1.2)) for v in (values, values * gain))
    inside = np.ones(coupling.shape, bool)
    fine = coupling.frequencies > 0.1
    assert np.all(change(coupling, changed, inside)[fine] < 0.02 + 0.15 * np.abs(coupling.values[fine]).mean((1, 2, 3)))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_of_any_spectrum_and_envelope_has_none(seed):
    shape, voxel_size = (80, 80, 80), 1.5
    envelope = np.exp(smooth_field(10 + seed, shape, 12))
    noise = periodic(envelope * white_noise(seed, shape), voxel_size)
    coloured = filtered_spectrum(noise, lambda k: np.exp((seed - 2) * 30 * k**2) / (0.1 + k) ** seed)
    coupling = coupling_of(coloured)
    values, windows = coupling.values[6:], [independent_windows(coupling.lengths, f) for f in coupling.frequencies[6:]]
    standard_error = np.sqrt(np.square(values).mean((1, 2, 3)) / windows)
    deviation = values.mean((1, 2, 3)) / standard_error
    assert np.abs(deviation).max() < 4


def test_atoms_make_it_positive_and_noise_removes_it():
    values = atoms(4, (72, 72, 72), 3)
    medians = [
        np.median(coupling_of(periodic(values + noise * values.std() * white_noise(5, values.shape), 1.0)).values[12:])
        for noise in (0, 1, 3, 30)
    ]
    assert medians[0] > 0.08
    assert np.all(np.diff(medians) < 0)
    assert abs(medians[-1]) < 0.01


def test_proteins_at_high_resolution_have_it():
    for name, (low, high) in {"example": (4.2, 3.3), "emd_2566_chain9": (3.8, 3.3), "riken_6555": (4.2, 2.7)}.items():
        _, _, molecule, coupling = measure(read_map(MAPS[name]).density)
        bands = (coupling.frequencies > 1 / low) & (coupling.frequencies < 1 / high)
        assert bands.any()
        assert np.median(coupling.values[bands][:, molecule], axis=1).min() > 0.03


def direct(values, voxel_size, frequency, centre):
    """The coupling of one band by its definition, on the map's own grid; lower waves with equal power at `centre`."""
    shape, lengths = values.shape, tuple(n * voxel_size for n in values.shape)
    waves, k = fft.rfftn(values.astype(np.float64)), radius(values.shape, lengths).astype(np.float64)
    average = lambda v, s: ndimage.gaussian_filter(v, s / voxel_size, mode="wrap", truncate=6)  # noqa: E731
    gaussian = lambda f: np.exp(-0.5 * ((k - f) / (BAND_WIDTH * f)) ** 2)  # noqa: E731
    b = fft.irfftn(waves * gaussian(frequency), s=shape)
    power = average(b * b, window_sigma(frequency))
    b /= np.sqrt(power)
    low, high = (edge * frequency for edge in LOWER_WAVES)
    edge = LOWER_EDGE * frequency
    h = fft.irfftn(waves * low_pass(k, high, edge) * (1 - low_pass(k, low, edge)) * centre(k), s=shape)
    s = max(COUPLING_WINDOW, window_sigma(frequency))
    product, mean, fourth = average(b * h**2, s), average(h**2, s), average(h**4, s)
    return product / np.sqrt(average(b * b, s) * (fourth - mean**2))


@pytest.mark.parametrize("band", [14, 20, 25])
def test_it_agrees_with_a_direct_computation(band):
    voxel_size, shape = 1.0, (80, 80, 80)
    envelope = np.exp(0.4 * smooth_field(8, shape, 25))
    values = envelope * (atoms(4, shape, 3) + 0.05 * white_noise(5, shape))
    spectrum = periodic(values, voxel_size)
    masked_out = np.zeros(shape := grid_for(spectrum.lengths, POWER_STEP), np.float32)
    powers, coupling = measure_powers_and_coupling(spectrum, masked_out)
    f = powers.frequencies
    typical = np.square(powers.values, dtype=float).sum((1, 2, 3)) / powers.values.sum((1, 2, 3), dtype=float)
    centre = lambda k: np.exp(-0.5 * np.interp(np.log(np.maximum(k, 1e-6)), np.log(f), np.log(typical)))  # noqa: E731
    expected = direct(values, voxel_size, f[band], centre)[::4, ::4, ::4]
    assert coupling.values[band].shape == expected.shape == shape
    assert np.corrcoef(coupling.values[band].ravel(), expected.ravel())[0, 1] > 0.98
    assert_allclose(coupling.values[band], expected, atol=0.02)


def test_emptied_bands_have_none(measured):
    spectrum, masked_out, molecule, coupling = measured
    end = coupling.frequencies[-6]
    emptied = coupling_of(filtered_spectrum(spectrum, lambda k: k < end), masked_out)
    assert np.abs(emptied.values[-4:, molecule]).mean() < 0.005
    assert np.abs(emptied.values[-4:]).max() < 0.1
    assert_allclose(emptied.values[:-8], coupling.values[:-8], atol=0.02)


def test_turning_and_mirroring_the_map_turns_it(example):
    spectrum, _, _, coupling = example
    values = fft.irfftn(spectrum.waves, s=spectrum.shape)
    turned = coupling_of(periodic(values.transpose(2, 0, 1), spectrum.voxel_size[0]))
    assert_allclose(turned.values, coupling.values.transpose(0, 3, 1, 2), atol=2e-3)
    mirrored = coupling_of(periodic(np.roll(values[:, ::-1], 1, axis=1), spectrum.voxel_size[0]))
    assert_allclose(np.roll(mirrored.values[:, :, ::-1], 1, axis=2), coupling.values, atol=2e-3)


def test_zeros_around_a_masked_map_change_nothing():
    density = read_map(MAPS["riken_6555"]).density
    narrow, wide = ((32, 32),) * 3, ((40, 36), (32, 64), (48, 36))
    first, second = (
        at_voxels(density_of(np.pad(density.values, pad), density.grid.voxel_size[0]), [before for before, _ in pad])
        for pad in (narrow, wide)
    )
    assert np.abs(second - first).mean((1, 2, 3)).max() < 0.01


def test_a_mask_leaves_the_molecule_and_nothing_far_from_it(example):
    spectrum, masked_out, molecule, coupling = example
    values = fft.irfftn(spectrum.waves, s=spectrum.shape)
    size = spectrum.voxel_size[0]
    fine = ndimage.zoom(molecule.astype(np.float32), np.divide(spectrum.shape, molecule.shape), order=1) > 0.5
    distance = ndimage.distance_transform_edt(~fine) * size
    masked = coupling_of(periodic(values * np.clip(1.5 - distance / 12, 0, 1), size), masked_out)
    narrow = coupling.frequencies > 0.1
    assert change(coupling, masked, molecule)[narrow].max() < 0.03
    far = ndimage.zoom(distance, np.divide(molecule.shape, spectrum.shape), order=1) > 45
    assert far.any()
    assert np.abs(masked.values[narrow][:, far]).mean(1).max() < 0.04


@pytest.mark.parametrize("power", [0.0, 1e-39, 1e-37, 1e-33, 1e-20])
def test_bands_without_power_below_a_strong_one_are_finite(power):
    """A small box of fine voxels holds nothing at low frequency but rounding errors."""
    values = white_noise(8, (28, 28, 28))
    spectrum = periodic(values, 0.4)
    k = radius(spectrum.shape, spectrum.lengths)
    low = np.sqrt(power) + (k > 0.5)
    spectrum = Spectrum(spectrum.waves * low.astype(np.float32), spectrum.shape, spectrum.lengths, spectrum.before)
    coupling = coupling_of(spectrum)
    assert np.isfinite(coupling.values).all()
    assert np.abs(coupling.values).max() <= 1.01
