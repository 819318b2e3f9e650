"""Drawings in SVG for the page: the histogram and the key of colours. Pure functions; lengths are Å."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cryores_lite.figures.display_map import ticks
from cryores_lite.figures.palette import STOPS, colours
from cryores_lite.types import Volume

BINS = 44
SHOWN = (0.25, 99.75)  # percentiles between which the histogram runs
WIDTH, HEIGHT, EDGE, FOOT, HEAD = 560, 330, 16, 46, 26  # of the histogram, in its own units


def histogram(inside: Volume, median: float, ends: tuple[float, float]) -> str:
    """Shares of the mask by local resolution, in the colours of the slices, with a line at the median.

    Parameters
    ----------
    inside : local resolution of the mask's voxels, at least one
    ends : Å of the first and the last colour
    """
    low, high = (float(v) for v in np.percentile(inside, SHOWN))
    high = max(high, low + (ends[1] - ends[0]) / 10)
    counts, edges = np.histogram(inside, BINS, (low, high))
    shades = colours((edges[1:] + edges[:-1]) / 2, *ends)
    foot, tall = HEIGHT - FOOT, HEIGHT - FOOT - HEAD
    across = (WIDTH - 2 * EDGE) / (high - low)
    wide = (WIDTH - 2 * EDGE) / BINS
    bars = "".join(
        f'<rect x="{EDGE + n * wide:.2f}" y="{foot - tall * count / counts.max():.2f}" width="{wide - 1:.2f}" '
        f'height="{tall * count / counts.max():.2f}" fill="#{r:02x}{g:02x}{b:02x}"/>'
        for n, (count, (r, g, b)) in enumerate(zip(counts, shades.tolist(), strict=True))
    )
    marks = "".join(
        f'<line x1="{x:.2f}" x2="{x:.2f}" y1="{foot}" y2="{foot + 5}" stroke="#9aa5b1"/>'
        f'<text x="{x:.2f}" y="{foot + 21}" text-anchor="middle">{said}</text>'
        for x, said in ((EDGE + (value - low) * across, said) for value, said in ticks(low, high))
    )
    middle = EDGE + (median - low) * across
    side = "start" if middle < WIDTH / 2 else "end"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Histogram of local resolution inside the mask">'
        f'{bars}<line x1="{EDGE}" x2="{WIDTH - EDGE}" y1="{foot}" y2="{foot}" stroke="#9aa5b1"/>{marks}'
        f'<line x1="{middle:.2f}" x2="{middle:.2f}" y1="6" y2="{foot}" stroke="#1d2733" stroke-dasharray="4 4"/>'
        f'<text class="strong" x="{middle + (8 if side == "start" else -8):.2f}" y="18" text-anchor="{side}">'
        f"median {median:.2f} Å</text>"
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 4}" text-anchor="middle">local resolution, Å</text></svg>'
    )


def key(ends: tuple[float, float], name: str, scale: Sequence[str] = STOPS, words: str = "local resolution, Å") -> str:
    """Draw a scale of colours, with Å beneath; `name` tells it from the page's other keys."""
    low, high = ends
    last = len(scale) - 1
    stops = "".join(f'<stop offset="{n / last:.2f}" stop-color="{colour}"/>' for n, colour in enumerate(scale))
    across = (WIDTH - 2 * EDGE) / (high - low)
    labels = "".join(
        f'<text x="{EDGE + (value - low) * across:.2f}" y="38" text-anchor="middle">{said}</text>'
        for value, said in ticks(low, high)
    )
    return (
        f'<svg class="key" viewBox="0 0 {WIDTH} 66" role="img" aria-label="Key: {low:.2f} to {high:.2f} Å">'
        f'<linearGradient id="{name}">{stops}</linearGradient>'
        f'<rect x="{EDGE}" y="2" width="{WIDTH - 2 * EDGE}" height="18" rx="3" fill="url(#{name})"/>{labels}'
        f'<text x="{EDGE}" y="60">finer</text><text x="{WIDTH - EDGE}" y="60" text-anchor="end">coarser</text>'
        f'<text x="{WIDTH / 2}" y="60" text-anchor="middle">{words}</text></svg>'
    )
