"""The timed steps of the benchmark are functions of the command."""

from importlib import import_module

import pytest

from benchmarks.__main__ import NECESSARY_STEPS, STEPS
from benchmarks.steps import STEPS as TIMED


@pytest.mark.parametrize("module", TIMED)
def test_every_timed_function_exists_and_has_a_column(module):
    for function, step in TIMED[module].items():
        assert callable(getattr(import_module(module), function))
        assert step in STEPS


def test_the_necessary_steps_are_columns():
    assert set(NECESSARY_STEPS) <= set(STEPS)
