"""FSC and agreement charts draw the curves and counts of a half-map comparison."""

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cryores_lite.figures.svg_charts import agreement_chart, fsc_chart
from cryores_lite.types import HalfMapComparison


@pytest.fixture
def comparison():
    curve = [1.0, 0.9, 0.5, 0.1, 0.0]
    return HalfMapComparison(
        paths=(Path("half1.mrc"), Path("half2.mrc")),
        values=np.zeros((2, 2, 2), np.float32),
        frequencies=[0.05, 0.1, 0.15, 0.2, 0.25],
        curves=dict.fromkeys(("unmasked", "masked", "randomised", "corrected"), curve),
        resolution=5.2,
        resolution_half=6.7,
        median=5.0,
        r=0.9,
        rmse=0.4,
        bias=0.1,
        edges=[4.0, 5.0, 6.0],
        counts=[[3, 0], [1, 7]],
    )


def test_the_fsc_chart_draws_every_curve_that_was_measured(comparison):
    assert fsc_chart(comparison).count("<polyline") == 4
    unmasked = replace(comparison, curves={"unmasked": comparison.curves["unmasked"]})
    assert fsc_chart(unmasked).count("<polyline") == 1
    assert "5.20 Å at 0.143" in fsc_chart(unmasked)


def test_the_agreement_chart_draws_a_cell_for_every_bin_with_voxels(comparison):
    chart = agreement_chart(comparison)
    assert chart.count("<rect") == 3
    assert "r = 0.900, RMSE 0.40 Å" in chart
    corners = [(float(x), float(y)) for x, y in re.findall(r'<rect x="([\d.]+)" y="([\d.]+)"', chart)]
    assert corners == [(58.0, 204.0), (301.0, 204.0), (301.0, 40.0)]  # half maps to the right, estimate upwards


def test_an_agreement_chart_without_voxels_is_left_out(comparison):
    assert agreement_chart(replace(comparison, edges=[], counts=[])) == ""


def test_a_correlation_that_is_not_defined_is_left_out(comparison):
    assert "r = " not in agreement_chart(replace(comparison, r=math.nan))
