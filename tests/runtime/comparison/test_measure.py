"""The difference of two local resolutions: its sign, its errors, its numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryores_lite.comparison.measure import CLEAR_Z, Part, difference, numbers
from cryores_lite.comparison.result import signed, verdict
from cryores_lite.comparison.views import shown
from cryores_lite.types import Grid
from tests.runtime.maps import ball

SHAPE = (12, 13, 14)
GRID = Grid(SHAPE, (2.0, 2.0, 2.0))


def field(seed, low=3.0, radius=5.0):
    values = np.random.default_rng(seed).uniform(low, low + 2, SHAPE)
    return np.where(ball(SHAPE, radius), values, 0).astype(np.float32)


def result(a, b, error_a=0.3, error_b=0.4):
    of_a, of_b = (
        None if error is None else np.where(values > 0, np.float32(error), np.float32(0))
        for values, error in ((a, error_a), (b, error_b))
    )
    return difference(a, b, (of_a, of_b), GRID)


def test_the_difference_is_b_minus_a_in_both_molecules_and_0_elsewhere():
    a, b = field(1), field(2, radius=4)
    d = result(a, b)
    np.testing.assert_array_equal(d.common, (a > 0) & (b > 0))
    np.testing.assert_array_equal(d.values, np.where(d.common, b - a, 0))
    np.testing.assert_allclose(d.z[d.common], d.values[d.common] / 0.5, rtol=1e-5)
    assert not d.z[~d.common].any()


def test_swapping_the_sides_changes_the_sign_of_everything():
    a, b = field(1), field(2)
    there, back = result(a, b), result(b, a, 0.4, 0.3)
    np.testing.assert_array_equal(there.values, -back.values)
    np.testing.assert_allclose(there.z, -back.z, rtol=1e-6)
    first, second = numbers(there), numbers(back)
    assert (first.b_finer, first.a_finer) == (second.a_finer, second.b_finer)
    assert first.mean == pytest.approx(-second.mean)
    assert first.percentiles["2.5"][2] == pytest.approx(-second.percentiles["97.5"][2])


def test_one_known_error_is_the_error_and_none_gives_no_score():
    a, b = field(1), field(2)
    for errors in ((0.25, None), (None, 0.25)):
        d = result(a, b, *errors)
        np.testing.assert_allclose(d.z[d.common], d.values[d.common] / 0.25, rtol=1e-5)
    d = result(a, b, None, None)
    assert (d.z, d.error) == (None, None)
    assert (numbers(d).b_finer, numbers(d).error) == (None, None)
    assert "errors are unknown" in verdict(numbers(d))


@given(st.floats(0.5, 2))
def test_shares_and_volumes_add_up(shift):
    a = field(1)
    b = np.where(field(2, radius=4) > 0, np.float32(4 - shift), np.float32(0))
    n = numbers(result(a, b))
    d = (b - a)[(a > 0) & (b > 0)]
    assert n.b_finer == np.mean(d / np.float32(0.5) < -CLEAR_Z)
    assert n.negative == np.mean(d < 0)
    assert n.volume + n.only_a == pytest.approx(np.count_nonzero(a) * 8)
    assert n.only_b == 0


def test_the_verdict_names_the_better_side_first():
    a = field(1)
    assert verdict(numbers(result(a, a - (a > 0) * np.float32(1.5)))).startswith("B is clearly better resolved in 100%")
    assert verdict(numbers(result(a, a + (a > 0) * np.float32(1.5)))).startswith("A is clearly better resolved in 100%")
    same = verdict(numbers(result(a, a)))
    assert same.startswith("Neither is clearly better resolved")
    assert same.endswith("B is as fine as A.")


def test_a_difference_of_nothing_has_no_minus():
    assert signed(-0.0001) == "+0.00 Å"
    assert signed(-0.01) == "-0.01 Å"


def test_a_part_without_atoms_has_no_score():
    assert Part(name="A", atoms=0, a=None, b=None, difference=None, error=None).z is None
    assert Part(name="A", atoms=2, a=3.0, b=2.0, difference=-1.0, error=0.25).z == -4


@pytest.mark.parametrize("factor", [0.01, 1.0, 20.0])
def test_only_clear_differences_have_the_strongest_colours(factor):
    a = field(1)
    d = result(a, (a + factor * (field(2) - a)).astype(np.float32))
    limit = shown(d, ("a", "b"), (None, None), (1, 2, 3), None).difference_limit
    assert (np.abs(d.z[np.abs(d.values) > limit]) >= 0.999 * CLEAR_Z).all()
