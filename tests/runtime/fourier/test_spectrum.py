"""Transforms: a map resampled to another grid stays the same map, at the same place in Å."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import fft, ndimage

from cryores_lite.fourier.padding import PADDING
from cryores_lite.fourier.spectrum import (
    Spectrum,
    chunks,
    gaussian_gain,
    grid_for,
    low_pass,
    radius,
    regrid,
    sample_density,
    transform,
)
from tests.runtime.maps import blob, white_noise


@settings(max_examples=25, deadline=None)
@given(st.tuples(*(st.integers(2, 7),) * 3), st.tuples(*(st.integers(1, 5),) * 3))
def test_regridding_to_a_finer_grid_is_undone_by_swapping_the_grids(half, more):
    coarse = tuple(2 * n for n in half)
    fine = tuple(2 * (n + m) for n, m in zip(half, more, strict=True))
    field = white_noise(4, coarse)
    waves = Spectrum(np.fft.rfftn(field).astype(np.complex64), coarse, (20.0, 30.0, 40.0), (0, 0, 0))
    assert_array_equal(regrid(waves, coarse).waves, waves.waves)
    inner = regrid(regrid(waves, fine), coarse)  # without the Nyquist waves, which the finer grid does not carry
    assert_allclose(regrid(regrid(inner, fine), coarse).waves, inner.waves, atol=1e-4)


def test_a_map_sampled_on_its_own_grid_is_the_map_less_its_solvent_level():
    values = white_noise(5, (21, 24, 30))
    spectrum = transform(values, (1.1, 1.1, 1.1))
    assert min(spectrum.before) >= PADDING
    inner = tuple(slice(b, b + n) for b, n in zip(spectrum.before, values.shape, strict=True))
    difference = sample_density(spectrum, spectrum.shape)[inner] - values
    assert difference.std() < 1e-4


def test_a_landmark_stays_where_it_is_in_angstrom():
    centre = (22.0, 31.0, 27.0)
    spectrum = transform(blob((50, 56, 60), centre, 3.0), (1.3, 1.3, 1.3))
    for step in (0.7, 2.0, 3.1):
        shape = grid_for(spectrum.lengths, step)
        peak = np.unravel_index(sample_density(spectrum, shape).argmax(), shape)
        position = [i * length / n for i, n, length in zip(peak, shape, spectrum.lengths, strict=True)]
        expected = [(c + b) * 1.3 for c, b in zip(centre, spectrum.before, strict=True)]
        assert_allclose(position, expected, atol=0.5 * step + 1e-6)


@settings(max_examples=25, deadline=None)
@given(st.tuples(st.integers(1, 300), st.integers(1, 3000), st.integers(1, 3000)))
def test_chunks_divide_the_first_axis_without_gap_or_overlap(shape):
    parts = list(chunks(shape))
    assert parts[0].start == 0
    assert parts[-1].stop == shape[0]
    assert all(a.stop == b.start for a, b in itertools.pairwise(parts))


@pytest.mark.parametrize("edge", [0.005, 0.02, 0.12])
def test_a_low_pass_leaves_all_below_its_edge_and_nothing_beyond(edge):
    k = radius((64, 64, 64), (96.0,) * 3)
    gain = low_pass(k, 1 / 6, edge)
    assert (gain[k > 1 / 6 + edge + 1e-4] == 0).all()
    assert_allclose(gain[k < 1 / 6 - edge], 1, atol=1e-6)
    assert (np.diff(gain.ravel()[np.argsort(k, axis=None)]) <= 1e-6).all()


def test_the_gain_of_a_gaussian_smooths_as_scipy_does():
    values = white_noise(6, (24, 30, 32))
    gain = gaussian_gain(radius(values.shape, values.shape), 2.0)
    smoothed = fft.irfftn(fft.rfftn(values) * gain, s=values.shape)
    assert_allclose(smoothed, ndimage.gaussian_filter(values, 2.0, mode="wrap", truncate=8), atol=1e-3)
