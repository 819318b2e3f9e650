"""Inputs that an ablation leaves out are those that the measurement of phases, or of power, decides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryores_lite.io.mrc import read_map
from cryores_lite.method.band_features import band_features
from cryores_lite.method.network_inputs import network_inputs
from cryores_lite.method.prepare import prepare
from cryores_lite.method.solvent_noise import solvent_estimate
from cryores_lite.types import MapResolution
from tests.runtime.paths import EXAMPLE
from training.ablation import PHASES, POWER


def changed_rows(first, second):
    """Indices along the first axis at which two arrays differ."""
    return {n for n in range(len(first)) if not np.array_equal(first[n], second[n])}


def rows_of(inputs, key, count):
    """The indices of some inputs, counted from the start."""
    return {n % count for rows in inputs[key] for n in rows}


@pytest.fixture(scope="module")
def example():
    return read_map(EXAMPLE).density


def test_other_coupling_changes_the_phases_alone(example):
    frame, spectra = prepare(example)
    solvent = solvent_estimate(spectra.powers, spectra.outline)
    other = replace(spectra, coupling=replace(spectra.coupling, values=spectra.coupling.values[..., ::-1] / 2))
    resolution = MapResolution(3.7, 3.7, 0.05)
    results = []
    for case in (spectra, other):
        features = band_features(case.powers, case.coupling, solvent, frame.edits, example.grid.voxel_size)
        inputs = network_inputs(case, solvent, features, resolution)
        results.append({"evidence": features, "bands": inputs.bands, "context": inputs.context})
    for key, first in results[0].items():
        assert changed_rows(first, results[1][key]) <= rows_of(PHASES, key, len(first))
        assert changed_rows(first, results[1][key])
        assert not rows_of(PHASES, key, len(first)) & rows_of(POWER, key, len(first))
