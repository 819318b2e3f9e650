"""Drawings in SVG of what half maps say: FSC curves, voxels by two local resolutions. Pure functions; lengths are Å."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cryores_lite.figures.display_map import ticks
from cryores_lite.figures.palette import colour
from cryores_lite.fourier.fsc import FSC_CUT

WIDTH, HEIGHT, LEFT, RIGHT, HEAD, FOOT = 560, 420, 58, 16, 40, 52  # of a drawing, in its own units
ACROSS, TALL = WIDTH - LEFT - RIGHT, HEIGHT - HEAD - FOOT
LOWEST = -0.1  # FSC at the drawing's foot
NAMES = {  # curve: what it is called, colour, dashes
    "unmasked": ("no mask", "#9aa5b1", ""),
    "masked": ("mask", "#7f8fb5", "5 4"),
    "randomised": ("mask, random phases", "#c8854a", "2 4"),
    "corrected": ("corrected", "#1d2733", ""),
}
GREY = "#9aa5b1"


def curves(fsc: Mapping[str, Any]) -> str:
    """FSC against frequency, with the threshold and where the best curve meets it.

    Parameters
    ----------
    fsc : as in a row of JSON
    """
    frequencies = fsc["frequencies"]
    last = frequencies[-1]
    lines: list[str] = []
    legend: list[str] = []
    for name, (said, shade, dashes) in NAMES.items():
        if not fsc[name]:
            continue
        points = " ".join(f"{_x(f / last):.1f},{_fsc(v):.1f}" for f, v in zip(frequencies, fsc[name], strict=True))
        style = f'stroke="{shade}" stroke-width="2" stroke-dasharray="{dashes}"'
        lines.append(f'<polyline points="{points}" fill="none" {style}/>')
        y = HEAD + 14 + 21 * len(legend)
        legend.append(
            f'<line x1="{WIDTH - 218}" x2="{WIDTH - 190}" y1="{y}" y2="{y}" {style}/>'
            f'<text x="{WIDTH - 182}" y="{y + 5}">{said}</text>'
        )
    cut, end = _fsc(FSC_CUT), _x(min(1 / fsc["resolution"] / last, 1))
    side = 8 if end < LEFT + 0.7 * ACROSS else -8
    marks = "".join(_below(_x(f / last), said) for f, said in _round(last))
    sides = "".join(_beside(_fsc(value), f"{value:g}") for value in (0, 0.5, 1))
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Fourier shell correlation of the half maps">'
        f"{_frame(_fsc(0))}{marks}{sides}"
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{cut:.1f}" y2="{cut:.1f}" stroke="{GREY}" stroke-dasharray="4 4"/>'
        f"{''.join(lines)}{''.join(legend)}"
        f'<line x1="{end:.1f}" x2="{end:.1f}" y1="{cut:.1f}" y2="{_fsc(0):.1f}" stroke="#1d2733"/>'
        f'<text class="strong" x="{end + side:.1f}" y="{cut - 8:.1f}" text-anchor="{"start" if side > 0 else "end"}">'
        f"{fsc['resolution']:.2f} Å at 0.143</text>"
        f'<text x="{LEFT}" y="20">Fourier shell correlation</text>'
        f'<text x="{LEFT + ACROSS / 2}" y="{HEIGHT - 6}" text-anchor="middle">resolution, Å (1/frequency)</text></svg>'
    )


def density(compared: Mapping[str, Any]) -> str:
    """Voxels by local resolution from half maps and of the answer: the more, the darker; the line is where both agree.

    Parameters
    ----------
    compared : as in a row of JSON
    """
    edges, counts = compared["edges"], np.asarray(compared["counts"], float)
    if not len(edges):
        return ""
    low, high = edges[0], edges[-1]
    share = np.log1p(counts) / np.log1p(counts.max())
    wide, tall = ACROSS / len(counts), TALL / len(counts)
    cells = "".join(
        f'<rect x="{LEFT + row * wide:.1f}" y="{HEAD + TALL - (column + 1) * tall:.1f}" width="{wide + 0.2:.1f}" '
        f'height="{tall + 0.2:.1f}" fill="{_shade(share[row, column])}"/>'
        for row, column in np.argwhere(counts > 0).tolist()
    )
    marks = "".join(
        _below(_x((value - low) / (high - low)), said) + _beside(HEAD + TALL * (high - value) / (high - low), said)
        for value, said in ticks(low, high, 7)
    )
    r = "" if compared["r"] is None else f"r = {compared['r']:.3f}, "
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Estimate against local resolution by FSC">'
        f"{_frame(HEAD + TALL)}{cells}{marks}"
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{HEAD + TALL}" y2="{HEAD}" stroke="#1d2733" '
        'stroke-dasharray="4 4"/>'
        f'<text x="{LEFT}" y="20">estimate, Å</text>'
        f'<text class="strong" x="{WIDTH - RIGHT}" y="20" text-anchor="end">{r}RMSE {compared["rmse"]:.2f} Å</text>'
        f'<text x="{LEFT + ACROSS / 2}" y="{HEIGHT - 6}" text-anchor="middle">local resolution by FSC, Å</text></svg>'
    )


def _shade(share: float) -> str:
    return colour(0.15 + 0.85 * share, 0.0, 1.0)


def _round(last: float) -> Sequence[tuple[float, str]]:
    """Round resolutions in Å along an axis of frequencies, not too close to each other."""
    chosen: list[tuple[float, str]] = []
    for value in (100, 50, 30, 20, 15, 10, 8, 7, 6, 5, 4.5, 4, 3.5, 3, 2.5, 2.2, 2, 1.8, 1.6, 1.4, 1.2, 1):
        f = 1 / value
        if f <= last and f / last > 0.12 and (not chosen or (f - chosen[-1][0]) / last > 0.08):
            chosen.append((f, f"{value:g}"))
    return chosen


def _x(share: float) -> float:
    return LEFT + ACROSS * share


def _fsc(value: float) -> float:
    return HEAD + TALL * (1 - max(value, LOWEST)) / (1 - LOWEST)


def _frame(foot: float) -> str:
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{foot:.1f}" y2="{foot:.1f}" stroke="{GREY}"/>'
        f'<line x1="{LEFT}" x2="{LEFT}" y1="{HEAD}" y2="{HEAD + TALL}" stroke="{GREY}"/>'
    )


def _below(x: float, said: str) -> str:
    return f'<text x="{x:.1f}" y="{HEAD + TALL + 20}" text-anchor="middle">{said}</text>'


def _beside(y: float, said: str) -> str:
    return f'<text x="{LEFT - 8}" y="{y + 5:.1f}" text-anchor="end">{said}</text>'
