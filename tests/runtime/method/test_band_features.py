"""The features of a map's bands depend on neither gain, offset nor a radial filter."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryores_lite.method.band_features import FEATURES, MAX_BANDS, band_features
from cryores_lite.method.prepare import prepare
from cryores_lite.method.solvent_noise import solvent_estimate
from tests.runtime.maps import blob, density_of, filtered, wave_numbers


def features_of(values):
    density = density_of(values)
    frame, spectra = prepare(density)
    solvent = solvent_estimate(spectra.powers, spectra.outline)
    return band_features(spectra.powers, spectra.coupling, solvent, frame.edits, density.grid.voxel_size)


@pytest.mark.slow
def test_features_survive_gain_offset_and_a_radial_filter():
    rng = np.random.default_rng(13)
    n = 56
    values = 6 * blob((n, n, n), (28, 27, 29), 8) * (1 + 0.5 * rng.standard_normal((n, n, n)))
    values = (values + 0.1 * rng.standard_normal((n, n, n))).astype(np.float32)
    features = features_of(values)
    assert features.shape == (FEATURES, MAX_BANDS)
    assert np.isfinite(features).all()
    assert_allclose(features_of(1000 * values + 7), features, atol=0.02)
    blurred = filtered(values, np.exp(-60 * wave_numbers(values.shape, 1.5) ** 2 / 4))
    assert np.abs(features_of(blurred) - features).mean() < 0.02 * np.abs(features).mean()
