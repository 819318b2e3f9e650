"""One page that shows an answer and needs no network. Everything from outside the program is escaped here."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np
import numpy.typing as npt

from cryores_lite import __version__
from cryores_lite.figures import findings, slices, surface
from cryores_lite.figures.display_map import Upright, contour, tinted
from cryores_lite.figures.palette import APART, colours, reach
from cryores_lite.figures.svg_charts import histogram, key
from cryores_lite.figures.svg_fsc_charts import curves, density

NOTHING = "No molecule was found in this map, so there is no local resolution to show here."
SURFACE = "drawn at density {:.4g}; small loose pieces and what lies outside the mask are left out"
MASS = (
    "As protein of the usual density (1.35 g/cm³) the mask would hold {}. It is wider than the molecule, so this is an "
    "upper guide."
)
NAMES = {"2.5": "2.5 % of the mask reach", "25": "25 %", "50": "50 % (median)", "75": "75 %", "97.5": "97.5 %"}


def page(row: Mapping[str, Any], name: str, shown: Upright, notes: Sequence[str], settings: Mapping[str, str]) -> str:
    """Write the page.

    Parameters
    ----------
    row : what the command prints as JSON (`report.row`); every number on the page is from here
    name : of the map
    notes : sentences for the reader
    settings : names and values for the last table
    """
    level = contour(shown.density, shown.mask)
    mesh = surface.surface(shown.density, shown.local, shown.mask, shown.voxel_size, level, shown.ends)
    seen = slices.frame(shown.mask)
    grids = shown.density, shown.local, shown.mask, seen
    orthogonal, extremes = slices.orthogonal(*grids), slices.extremes(*grids)
    drawn = _figures((*orthogonal, *extremes), ("", "", "", "Best section, ", "Worst section, "), shown.ends)
    style, script = _web("page.css"), _web("viewer.js")
    width = seen.side * float(np.mean(shown.voxel_size))
    return Template(_web("page.html")).substitute(
        name=_text(name),
        version=_text(__version__),
        style=style,
        style_hash=_digest(style),
        script=script,
        script_hash=_digest(script),
        numbers=_numbers(row),
        notes=_notes(notes),
        surface=_surface(mesh is not None, shown),
        histogram=histogram(shown.local[shown.mask], row["median"], shown.ends) if shown.mask.any() else _said(NOTHING),
        percentiles=_rows({NAMES[n]: length(value) for n, value in row["percentiles"].items()}),
        mass=_text(MASS.format(_mass(row))) if shown.mask.any() else "",
        orthogonal=_orthogonal(drawn[:3], width, shown),
        extremes=_extremes(drawn[3:]),
        halves=_halves(row, _apart(orthogonal, shown, seen)),
        settings=_rows({**settings, **({"Surface": SURFACE.format(level)} if mesh else {})}),
        row=_json(row),
        mesh=_json(surface.packed(mesh) if mesh else None),
    )


def length(value: float | None) -> str:
    """A length for readers."""
    return "none" if value is None else f"{value:.2f} Å"


def _numbers(row: Mapping[str, Any]) -> str:
    quarter, three = row["percentiles"]["25"], row["percentiles"]["75"]
    middle = "none" if quarter is None else f"{quarter:.2f} – {three:.2f} Å"
    cards = (
        ("median", "Median local resolution", length(row["median"]), "inside the mask"),
        ("half", "Half of the molecule", middle, "25th to 75th percentile"),
        ("global_resolution", "Global resolution", length(row["global_resolution"]), "one number for the map"),
        ("median_uncertainty", "Expected error", length(row["median_uncertainty"]), "one standard deviation, median"),
        ("mask_volume", "Mask", _volume(row["mask_volume"]), f"protein: up to {_mass(row)}"),
    )
    return "".join(
        f'<div><dt>{title}</dt><dd data-field="{field}">{_text(value)}</dd><dd class="under">{_text(under)}</dd></div>'
        for field, title, value, under in cards
    )


def _volume(value: float) -> str:
    return f"{value:,.0f} Å³".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _mass(row: Mapping[str, Any]) -> str:
    return f"{findings.mass(row['mask_volume']):,.0f} kDa".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _notes(notes: Sequence[str]) -> str:
    said = "".join(f"<li>{_text(note[:1].upper() + note[1:].rstrip('.'))}.</li>" for note in notes)
    return f'<div class="notes" role="note"><h2>Please note</h2><ul>{said}</ul></div>' if said else ""


def _surface(there: bool, shown: Upright) -> str:
    if not shown.mask.any():
        return _said(NOTHING)
    if not there:
        return _said("Nothing of the molecule reaches the density at which a surface would be drawn.")
    return (
        '<canvas id="surface" tabindex="0" role="img" aria-label="Surface of the map, coloured by local resolution">'
        '</canvas><div class="controls"><label for="cut">Cut</label>'
        '<input type="range" id="cut" min="0" max="100" step="1" value="0">'
        '<button type="button" id="reset">Reset</button></div>'
        '<p class="aside" id="surface-said">Drag to turn, scroll to zoom, hold Shift and drag to move.</p>'
        + key(shown.ends, "one")
    )


def _orthogonal(figures: Sequence[str], width: float, shown: Upright) -> str:
    told = f"Left: the map. Right: its local resolution. Each picture is {width:.0f} Å wide."
    if not shown.mask.any():
        return f'<div class="slices">{"".join(figures)}</div>{_said(NOTHING)}'
    return f'<div class="slices">{"".join(figures)}</div>{key(shown.ends, "two")}{_said(told)}'


def _extremes(figures: Sequence[str]) -> str:
    if not figures:
        return ""
    told = (
        "Sections (normal to z) with the finest and the coarsest median, among those that hold enough of the molecule."
    )
    inside = f'<div class="slices">{"".join(figures)}{_said(told)}</div>'
    return f"<section><h2>Best and worst section</h2>{inside}</section>"


def _halves(row: Mapping[str, Any], apart: str) -> str:
    """What two half maps say beside the answer, where the user gave them."""
    fsc, compared = row["fsc"], row["comparison"]
    if not fsc or not compared:
        return ""
    numbers = {
        "FSC of the whole at 0.143": length(fsc["resolution"]),
        "The same at 0.5": length(fsc["resolution_half"]),
        "Median local resolution by FSC": length(compared["median_fsc"]),
        "Correlation with the estimate": _plain(compared["r"]),
        "Root mean square difference": length(compared["rmse"]),
        "Mean difference, estimate less FSC": length(compared["bias"]),
    }
    told = (
        "Local resolution by FSC: a Gaussian window of 1.5 waves, threshold 0.143. Left: the FSC of the whole "
        "half maps, corrected for what the mask adds. Right: voxels of the mask, dark where many are; on the line both "
        "agree."
    )
    return (
        '<section><h2>Beside the half maps</h2><div class="columns even">'
        f"<div>{curves(fsc)}</div><div>{density(compared)}</div></div>"
        f'<table class="percentiles">{_rows(numbers)}</table>{_said(told)}{apart}</section>'
    )


def _apart(ours: Sequence[slices.Slice], shown: Upright, seen: slices.Frame) -> str:
    """The same slices from half maps, and estimate minus those."""
    if shown.fsc is None or not shown.mask.any():
        return ""
    theirs = slices.orthogonal(shown.density, shown.fsc, shown.mask, seen)
    apart = [np.where(b.local > 0, a.local - b.local, np.nan) for a, b in zip(ours, theirs, strict=True)]
    most = reach(np.stack(apart))
    drawn = []
    for part, lengths in zip(theirs, apart, strict=True):
        shades = colours(np.nan_to_num(lengths), -most, most, APART)
        pixels = np.dstack([shades, np.where(np.isfinite(lengths), 255, 0).astype(np.uint8)])
        images = ("fsc", "Local resolution by FSC", tinted(part.local, shown.ends)), ("apart", "Difference", pixels)
        drawn.append(_figure(part, images, ""))
    told = "Left: local resolution by FSC, in the colours of the slices above. Right: estimate minus FSC."
    scale = key((-most, most), "three", APART, "estimate minus FSC, Å")
    return f'<div class="slices apart">{"".join(drawn)}</div>{scale}{_said(told)}'


def _plain(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _figures(parts: Sequence[slices.Slice], said: Sequence[str], ends: tuple[float, float]) -> list[str]:
    drawn = []
    for part, grey, words in zip(parts, slices.greys(parts), said, strict=False):
        images = ("density", "Map", grey), ("local", "Local resolution", tinted(part.local, ends))
        drawn.append(_figure(part, images, words))
    return drawn


def _figure(part: slices.Slice, images: Sequence[tuple[str, str, npt.NDArray[np.uint8]]], words: str) -> str:
    """Pictures of one slice side by side, each with its kind and title."""
    place = f"{part.axis} = {part.number}"
    pair = "".join(
        f'<img class="{kind}" alt="{title}, {place}" src="{_png(pixels)}">' for kind, title, pixels in images
    )
    told = f"<b>{words}{place}</b>{_median(part.median)}"
    return f'<figure><div class="pair">{pair}</div><figcaption>{told}</figcaption></figure>'


def _median(value: float) -> str:
    return "" if math.isnan(value) else f" · median {value:.2f} Å"


def _png(pixels: npt.NDArray[np.uint8]) -> str:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def _rows(values: Mapping[str, str]) -> str:
    return "".join(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in values.items())


def _said(words: str) -> str:
    return f'<p class="aside">{_text(words)}</p>'


def _text(words: str) -> str:
    """Words for a browser; what is no character (a file's name may be any bytes) becomes a question mark."""
    return escape(words.encode("utf-8", "replace").decode("utf-8"))


def _json(value: object) -> str:
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def _web(name: str) -> str:
    return files("cryores_lite.figures").joinpath("web", name).read_text("utf-8")


def _digest(words: str) -> str:
    """What the page's own policy lets run: these very words and no others."""
    return f"sha256-{base64.b64encode(hashlib.sha256(words.encode()).digest()).decode('ascii')}"
