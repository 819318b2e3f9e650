"""SVG charts of the HTML report: histogram, colour key, FSC curves, estimate against half maps. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from cryores_lite.figures.display_map import ticks
from cryores_lite.figures.palette import COLOUR_STOPS, DIFFERENCE_STOPS, hex_colour, rgb_colours
from cryores_lite.fourier.fsc import FSC_THRESHOLD
from cryores_lite.types import HalfMapComparison, Volume

INK, GREY = "#1d2733", "#9aa5b1"
CHART_WIDTH = 560  # units of the drawing
HISTOGRAM_BINS = 44
FILE_STYLE = "text { font: 15px sans-serif; fill: #5b6875; } .strong { fill: #1d2733; font-weight: bold; }"
HISTOGRAM_PERCENTILES = (0.25, 99.75)  # of local resolution: the horizontal axis
LOWEST_FSC = -0.1  # at the bottom of the FSC chart
FSC_STYLES = {  # name in HalfMapComparison.curves: label, colour, dashes
    "unmasked": ("unmasked", GREY, ""),
    "masked": ("masked", "#7f8fb5", "5 4"),
    "randomised": ("phase-randomised", "#c8854a", "2 4"),
    "corrected": ("corrected", INK, ""),
}
RESOLUTION_TICKS = (100, 50, 30, 20, 15, 10, 8, 7, 6, 5, 4.5, 4, 3.5, 3, 2.5, 2.2, 2, 1.8, 1.6, 1.4, 1.2, 1)  # Å


@dataclass(frozen=True)
class PlotArea:
    """The rectangle between the axes of a chart, in units of the drawing; `bottom` is the largest y."""

    left: float
    right: float
    top: float
    bottom: float

    @property
    def width(self) -> float:
        """Extent from left to right, in SVG units."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Extent from top to bottom, in SVG units."""
        return self.bottom - self.top

    def x(self, fraction: float) -> float:
        """Position at a fraction of the width, from the left."""
        return self.left + self.width * fraction

    def y(self, fraction: float) -> float:
        """Position at a fraction of the height, from the bottom."""
        return self.bottom - self.height * fraction


HISTOGRAM_AREA = PlotArea(left=16, right=544, top=26, bottom=284)
KEY_AREA = PlotArea(left=16, right=544, top=2, bottom=20)
FSC_AREA = PlotArea(left=58, right=544, top=40, bottom=368)


def histogram(
    inside: Volume, median: float, colour_limits: tuple[float, float], axis: tuple[float, float] | None = None
) -> str:
    """Draw a histogram of local resolution in the colours of the slices, with a line at the median.

    Parameters
    ----------
    inside : (n,) Å, local resolution of the mask's voxels, at least one
    median : Å
    colour_limits : Å of the first and the last colour
    axis : Å at the ends of the axis; values beyond them are in the first and the last bar. None: from the values
    """
    area = HISTOGRAM_AREA
    if axis:
        (low, high), inside = axis, np.clip(inside, *axis)
    else:
        low, high = (float(v) for v in np.percentile(inside, HISTOGRAM_PERCENTILES))
        high = max(high, low + (colour_limits[1] - colour_limits[0]) / 10)
    counts, edges = np.histogram(inside, HISTOGRAM_BINS, (low, high))
    colours = rgb_colours((edges[1:] + edges[:-1]) / 2, *colour_limits)
    bar_width = area.width / HISTOGRAM_BINS
    bars = "".join(
        f'<rect x="{area.left + n * bar_width:.2f}" y="{area.y(height):.2f}" width="{bar_width - 1:.2f}" '
        f'height="{area.height * height:.2f}" fill="#{r:02x}{g:02x}{b:02x}"/>'
        for n, (height, (r, g, b)) in enumerate(zip(counts / counts.max(), colours.tolist(), strict=True))
    )
    middle = area.x(float(np.clip((median - low) / (high - low), 0, 1)))
    offset, anchor = (8, "start") if middle < CHART_WIDTH / 2 else (-8, "end")
    return _chart(
        330,
        "Histogram of local resolution inside the mask",
        bars,
        _line(area.left, area.bottom, area.right, area.bottom, GREY),
        _axis_marks(low, high),
        _line(middle, 6, middle, area.bottom, INK, "4 4"),
        _label(middle + offset, 18, f"median {median:.2f} Å", anchor, strong=True),
        _label(CHART_WIDTH / 2, 326, "local resolution, Å", "middle"),
    )


def histogram_file(
    inside: Volume,
    median: float,
    colour_limits: tuple[float, float],
    name: str,
    axis: tuple[float, float] | None = None,
) -> str:
    """Return the histogram as an SVG file, titled with the name of the map; `inside` may be empty."""
    empty = _chart(330, "Histogram", _label(CHART_WIDTH / 2, 165, "No molecule was found.", "middle", strong=True))
    chart = histogram(inside, median, colour_limits, axis) if inside.size else empty
    start, content = chart.split(">", 1)
    title = "".join(c if c.isprintable() else "?" for c in name.encode("utf-8", "replace").decode("utf-8"))
    return (
        f'{start} xmlns="http://www.w3.org/2000/svg" width="{CHART_WIDTH}" height="330">'
        f"<title>Local resolution of {escape(title)}</title><style>{FILE_STYLE}</style>"
        f'<rect width="100%" height="100%" fill="#ffffff"/>{content}\n'
    )


def colour_key(
    colour_limits: tuple[float, float],
    element_id: str,
    stops: Sequence[str] = COLOUR_STOPS,
    title: str = "local resolution, Å",
    ends: tuple[str, str] = ("finer", "coarser"),
) -> str:
    """Draw a colour scale with ticks in Å and a word at each end; `element_id` must be unique in the page."""
    low, high = colour_limits
    last, area = len(stops) - 1, KEY_AREA
    gradient = "".join(f'<stop offset="{n / last:.2f}" stop-color="{colour}"/>' for n, colour in enumerate(stops))
    labels = "".join(
        _label(area.x((value - low) / (high - low)), 38, label, "middle") for value, label in ticks(low, high)
    )
    return (
        f'<svg class="key" viewBox="0 0 {CHART_WIDTH} 66" role="img" aria-label="Key: {low:.2f} to {high:.2f} Å">'
        f'<linearGradient id="{element_id}">{gradient}</linearGradient>'
        f'<rect x="{area.left}" y="{area.top}" width="{area.width}" height="{area.height}" rx="3" '
        f'fill="url(#{element_id})"/>{labels}{_label(area.left, 60, ends[0])}{_label(area.right, 60, ends[1], "end")}'
        f"{_label(CHART_WIDTH / 2, 60, title, 'middle')}</svg>"
    )


def pair_histogram(
    first: Volume, second: Volume, limits: tuple[float, float], names: tuple[str, str], colours: tuple[str, str]
) -> str:
    """Draw the histograms of two local resolutions as lines, with their names and medians.

    Parameters
    ----------
    first, second : (n,) Å, at least one value each
    limits : Å at the ends of the axis; values beyond them count in the first and the last bin
    names, colours : of the lines
    """
    area, (low, high) = HISTOGRAM_AREA, limits
    shares = [
        np.histogram(np.clip(values, low, high), HISTOGRAM_BINS, limits)[0] / values.size for values in (first, second)
    ]
    tallest = max(float(share.max()) for share in shares)
    lines, legend = [], []
    for n, (share, values) in enumerate(zip(shares, (first, second), strict=True)):
        points = " ".join(
            f"{area.x((bin_ + side) / HISTOGRAM_BINS):.2f},{area.y(0.9 * float(height) / tallest):.2f}"
            for bin_, height in enumerate(share)
            for side in (0, 1)
        )
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colours[n]}" stroke-width="2.5"/>')
        y = 16 + 21 * n
        text = f"{names[n]}: median {float(np.median(values)):.2f} Å"
        legend.append(_line(330, y - 5, 354, y - 5, colours[n], width=3) + _label(362, y, text, strong=True))
    return _chart(
        330,
        "Histograms of both local resolutions inside the common molecule",
        *lines,
        _line(area.left, area.bottom, area.right, area.bottom, GREY),
        _axis_marks(low, high),
        *legend,
        _label(CHART_WIDTH / 2, 326, "local resolution, Å", "middle"),
    )


def difference_histogram(differences: Volume, limit: float, ends: tuple[str, str], title: str) -> str:
    """Draw a histogram of differences in their colours, with a line at 0.

    Parameters
    ----------
    differences : (n,) Å, at least one value
    limit : Å of the last colour; that of the first is its negative
    ends : what negative and positive differences mean
    title : of the axis
    """
    area = HISTOGRAM_AREA
    widest = max(limit, float(np.percentile(np.abs(differences), HISTOGRAM_PERCENTILES[1])))
    counts, edges = np.histogram(np.clip(differences, -widest, widest), HISTOGRAM_BINS, (-widest, widest))
    colours = rgb_colours((edges[1:] + edges[:-1]) / 2, -limit, limit, DIFFERENCE_STOPS)
    width = area.width / HISTOGRAM_BINS
    bars = "".join(
        f'<rect x="{area.left + n * width:.2f}" y="{area.y(0.92 * height):.2f}" width="{width - 1:.2f}" '
        f'height="{area.height * 0.92 * height:.2f}" fill="#{r:02x}{g:02x}{b:02x}"/>'
        for n, (height, (r, g, b)) in enumerate(zip(counts / counts.max(), colours.tolist(), strict=True))
    )
    return _chart(
        330,
        "Histogram of the differences",
        bars,
        _line(area.left, area.bottom, area.right, area.bottom, GREY),
        _axis_marks(-widest, widest),
        _line(area.x(0.5), 24, area.x(0.5), area.bottom, INK, "4 4"),
        _label(area.left, 16, f"← {ends[0]}", strong=True),
        _label(area.right, 16, f"{ends[1]} →", "end", strong=True),
        _label(CHART_WIDTH / 2, 326, title, "middle"),
    )


def fsc_chart(comparison: HalfMapComparison) -> str:
    """Draw the FSC curves of the half maps against frequency, with the 0.143 threshold and the resolution there."""
    area, last = FSC_AREA, comparison.frequencies[-1]
    curves: list[str] = []
    legend: list[str] = []
    for name, (label, colour, dashes) in FSC_STYLES.items():
        if name not in comparison.curves:
            continue
        curves.append(_curve(comparison.frequencies, comparison.curves[name], colour, dashes))
        y = area.top + 14 + 21 * len(legend)
        legend.append(_line(342, y, 370, y, colour, dashes, width=2) + _label(378, y + 5, label))
    threshold, zero = _fsc_y(FSC_THRESHOLD), _fsc_y(0)
    crossing = area.x(min(1 / comparison.resolution / last, 1))
    offset, anchor = (8, "start") if crossing < area.x(0.7) else (-8, "end")
    return _chart(
        420,
        "Fourier shell correlation of the half maps",
        _axes(zero),
        *(_x_label(area.x(frequency / last), label) for frequency, label in _resolution_ticks(last)),
        *(_y_label(_fsc_y(value), f"{value:g}") for value in (0, 0.5, 1)),
        _line(area.left, threshold, area.right, threshold, GREY, "4 4"),
        *curves,
        *legend,
        _line(crossing, threshold, crossing, zero, INK),
        _label(crossing + offset, threshold - 8, f"{comparison.resolution:.2f} Å at 0.143", anchor, strong=True),
        _label(area.left, 20, "Fourier shell correlation"),
        _label(area.x(0.5), 414, "resolution, Å (1/frequency)", "middle"),
    )


def agreement_chart(comparison: HalfMapComparison) -> str:
    """Draw the counts of voxels by half-map FSC (x) and estimate (y), darker for more voxels, with the diagonal.

    Returns "" if the mask is empty.
    """
    edges, counts = comparison.edges, np.asarray(comparison.counts, float)
    if not len(edges):
        return ""
    area, low, high = FSC_AREA, edges[0], edges[-1]
    shades = np.log1p(counts) / np.log1p(counts.max())
    bins = len(counts)
    cells = "".join(
        f'<rect x="{area.x(column / bins):.1f}" y="{area.y((row + 1) / bins):.1f}" '
        f'width="{area.width / bins + 0.2:.1f}" height="{area.height / bins + 0.2:.1f}" '
        f'fill="{hex_colour(0.15 + 0.85 * shades[column, row], 0.0, 1.0)}"/>'
        for column, row in np.argwhere(counts > 0).tolist()
    )
    correlation = "" if math.isnan(comparison.r) else f"r = {comparison.r:.3f}, "
    fractions = [((value - low) / (high - low), label) for value, label in ticks(low, high, 7)]
    return _chart(
        420,
        "Estimate against local resolution by half-map FSC",
        _axes(area.bottom),
        cells,
        *(_x_label(area.x(fraction), label) + _y_label(area.y(fraction), label) for fraction, label in fractions),
        _line(area.left, area.bottom, area.right, area.top, INK, "4 4"),
        _label(area.left, 20, "estimate, Å"),
        _label(area.right, 20, f"{correlation}RMSE {comparison.rmse:.2f} Å", "end", strong=True),
        _label(area.x(0.5), 414, "local resolution by half-map FSC, Å", "middle"),
    )


def _axis_marks(low: float, high: float) -> str:
    """Draw ticks and labels below a histogram whose axis goes from `low` to `high` Å."""
    area = HISTOGRAM_AREA
    return "".join(
        _line(x, area.bottom, x, area.bottom + 5, GREY) + _label(x, area.bottom + 21, label, "middle")
        for x, label in ((area.x((value - low) / (high - low)), label) for value, label in ticks(low, high))
    )


def _chart(height: int, description: str, *elements: str) -> str:
    return f'<svg viewBox="0 0 {CHART_WIDTH} {height}" role="img" aria-label="{description}">{"".join(elements)}</svg>'


def _curve(frequencies: Sequence[float], values: Sequence[float], colour: str, dashes: str) -> str:
    last = frequencies[-1]
    points = " ".join(f"{FSC_AREA.x(f / last):.1f},{_fsc_y(v):.1f}" for f, v in zip(frequencies, values, strict=True))
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'


def _fsc_y(value: float) -> float:
    return FSC_AREA.y((max(value, LOWEST_FSC) - LOWEST_FSC) / (1 - LOWEST_FSC))


def _resolution_ticks(highest: float) -> list[tuple[float, str]]:
    """Choose round resolutions up to a frequency (1/Å), spaced widely enough; return frequencies (1/Å) and labels."""
    chosen: list[tuple[float, str]] = []
    for resolution in RESOLUTION_TICKS:
        f = 1 / resolution
        if f <= highest and f / highest > 0.12 and (not chosen or (f - chosen[-1][0]) / highest > 0.08):
            chosen.append((f, f"{resolution:g}"))
    return chosen


def _axes(horizontal: float) -> str:
    area = FSC_AREA
    return _line(area.left, horizontal, area.right, horizontal, GREY) + _line(
        area.left, area.top, area.left, area.bottom, GREY
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, dashes: str = "", width: int = 1) -> str:
    style = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<line x1="{x1:.2f}" y1="{y1:.2f}" x2="{x2:.2f}" y2="{y2:.2f}" stroke="{colour}" '
        f'stroke-width="{width}"{style}/>'
    )


def _label(x: float, y: float, text: str, anchor: str = "start", *, strong: bool = False) -> str:
    style = ' class="strong"' if strong else ""
    return f'<text{style} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _x_label(x: float, text: str) -> str:
    return _label(x, FSC_AREA.bottom + 20, text, "middle")


def _y_label(y: float, text: str) -> str:
    return _label(FSC_AREA.left - 8, y + 5, text, "end")
