"""docs/SCALING.md is up to date with docs/PERFORMANCE.md, and its cost model fits the measured costs."""

import numpy as np
import pytest

from benchmarks import scaling
from training.evaluation.page import END, START

PERFORMANCE = scaling.PERFORMANCE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def rows():
    measurements = scaling.read_measurements(PERFORMANCE)
    assert len(measurements) >= 6
    return measurements


def test_the_page_contains_the_output_of_its_command(rows):
    page = scaling.PERFORMANCE.with_name("SCALING.md").read_text(encoding="utf-8")
    written_text = page.split(START)[1].split(END)[0].strip()
    assert written_text == scaling.page(rows), "run python -m benchmarks.scaling --out docs/SCALING.md"


def test_the_model_is_within_20_percent_of_every_measured_cost(rows):
    cost = scaling.fit(rows)
    megavoxels, filled, cpu = np.array(rows).T
    np.testing.assert_allclose(cost.start + cost.of(megavoxels, filled), cpu, rtol=0.2)


def test_the_fit_recovers_the_parameters_of_the_model():
    maps = [(megavoxels, filled) for megavoxels in (2.0, 17.0, 134.0) for filled in (0.15, 0.4)]
    cost = scaling.fit([(m, f, 1.5 + 0.2 * m + 1.1 * m * f) for m, f in maps])
    assert (cost.start, cost.box, cost.molecule) == pytest.approx((1.5, 0.2, 1.1))


def test_every_map_is_assigned_once_and_dealing_by_size_beats_blocks():
    edges, filled = scaling.archive(2000)
    seconds = edges**3 * filled
    for order in (np.arange(2000), np.argsort(-edges)):
        assert scaling.parts(seconds, order, 16).sum() == pytest.approx(seconds.sum())
    makespans = scaling.makespans(seconds, edges, 16)
    dealt, blocks = makespans["dealt, sorted by size"], makespans["blocks, sorted by size"]
    assert 1 <= makespans["one at a time"] <= dealt < blocks
