"""The HTML report: one page that works offline. All text from outside the program is escaped here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cryores_lite.figures import html_parts, slices
from cryores_lite.figures.display_map import DisplayMap, contour_level, to_rgba
from cryores_lite.figures.palette import (
    CLEAR_DIFFERENCE_COLOUR,
    DIFFERENCE_STOPS,
    difference_limit,
    rgb,
    rgb_colours,
)
from cryores_lite.figures.report_notes import protein_mass
from cryores_lite.figures.surface import surface, to_json
from cryores_lite.figures.svg_charts import agreement_chart, colour_key, fsc_chart, histogram
from cryores_lite.fourier.criterion import Criterion
from cryores_lite.types import HalfMapComparison, LocalResolution, length_text

EMPTY_MASK = "No molecule was found in this map, so there is no local resolution to show."
SURFACE_SETTING = "contour level {:.4g}; density outside the mask and small loose pieces are left out"
PROTEIN_MASS = (
    "Protein that fills the mask (1.35 g/cm³) has a mass of {}. The mask is wider than the molecule, so this is an "
    "upper limit."
)
CLEAR_DIFFERENCES = "Red outlines: the two differ by more than twice the error of both."
PRIMARY_MAP = {"File": "", "Type": "primary map", "Contour level": ""}
COPY_HINT = "A click selects a paragraph or a value, to be copied."
PERCENTILE_LABELS = {
    "2.5": "2.5th percentile",
    "25": "25th percentile",
    "50": "50th percentile (median)",
    "75": "75th percentile",
    "97.5": "97.5th percentile",
}


def render(
    result: LocalResolution,
    comparison: HalfMapComparison | None,
    display: DisplayMap,
    *,
    name: str,
    notes: Sequence[str],
    methods: str | None,
    deposition: Sequence[Mapping[str, str]],
    settings: Mapping[str, str],
    record: Mapping[str, Any],
) -> str:
    """Write the page.

    Parameters
    ----------
    result : the local resolution; all numbers on the page are from `result` and `comparison`
    comparison : comparison with half maps, if the user gave them
    display : map and local resolution in (z, y, x) order
    name : name of the map
    notes : sentences for the reader
    methods : paragraph for the methods of a paper
    deposition : names and values for the deposition of each file
    settings : names and values of the last table
    record : JSON row of the command, embedded in the page for programs
    """
    percentiles = result.percentiles
    level = contour_level(display.density, display.mask)
    mesh = surface(
        display.density, display.local_resolution, display.mask, display.voxel_size, level, display.colour_limits
    )
    view = slices.view_around(display.mask)
    volumes = display.density, display.local_resolution, display.mask, view
    orthogonal, extremes = slices.orthogonal(*volumes), slices.extremes(*volumes)
    titles = ("", "", "", "Best section, ", "Worst section, ")
    figures = _slice_figures((*orthogonal, *extremes), titles, display.colour_limits)
    width = view.side * float(np.mean(display.voxel_size))
    return html_parts.page(
        "page.html",
        title=f"Local resolution of {name}",
        name=html_parts.text(name),
        numbers=_numbers(result, percentiles),
        notes=html_parts.notes(notes),
        surface=_surface(mesh is not None, display),
        histogram=_histogram(display, percentiles["50"]),
        percentiles=html_parts.table_rows(
            {PERCENTILE_LABELS[n]: length_text(value) for n, value in percentiles.items()}
        ),
        mass=html_parts.text(PROTEIN_MASS.format(_mass(result.mask_volume))) if display.mask.any() else "",
        orthogonal=_orthogonal(figures[:3], width, display),
        extremes=_extremes(figures[3:]),
        halves=_half_maps(comparison, _differences(orthogonal, display, view)),
        paper=_paper(methods, ({**PRIMARY_MAP, "File": name, "Contour level": f"{level:.4g}"}, *deposition)),
        settings={**settings, **({"Surface": SURFACE_SETTING.format(level)} if mesh else {})},
        record=record,
        mesh=to_json(mesh) if mesh else None,
    )


def _numbers(result: LocalResolution, percentiles: Mapping[str, float]) -> str:
    low, high = percentiles["25"], percentiles["75"]
    middle_half = f"{low:.2f} – {high:.2f} Å" if math.isfinite(low) else "none"
    volume = f"{result.mask_volume:,.0f} Å³".replace(",", "\N{NARROW NO-BREAK SPACE}")
    mass = f"at most {_mass(result.mask_volume)} of protein"
    cards = (
        ("median", "Median local resolution", length_text(percentiles["50"]), "inside the mask"),
        ("half", "Middle half of the mask", middle_half, "25th to 75th percentile"),
        ("global_resolution", "Global resolution", length_text(result.global_resolution), "one number for the map"),
        ("median_uncertainty", "Expected error", length_text(result.median_uncertainty), "standard deviation, median"),
        ("mask_volume", "Mask", volume, mass),
    )
    return html_parts.number_cards(cards)


def _mass(mask_volume: float) -> str:
    return f"{protein_mass(mask_volume):,.0f} kDa".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _surface(has_mesh: bool, display: DisplayMap) -> str:
    if not display.mask.any():
        return html_parts.paragraph(EMPTY_MASK)
    if not has_mesh:
        return html_parts.paragraph(
            "No density inside the mask reaches the contour level, so there is no surface to draw."
        )
    return html_parts.surface_viewer("local resolution") + colour_key(display.colour_limits, "surface-key")


def _histogram(display: DisplayMap, median: float) -> str:
    if not display.mask.any():
        return html_parts.paragraph(EMPTY_MASK)
    axis = display.colour_limits if display.has_given_limits else None
    return histogram(display.local_resolution[display.mask], median, display.colour_limits, axis)


def _orthogonal(figures: Sequence[str], width: float, display: DisplayMap) -> str:
    grid = f'<div class="slices">{"".join(figures)}</div>'
    if not display.mask.any():
        return grid + html_parts.paragraph(EMPTY_MASK)
    caption = f"Left: the map. Right: its local resolution. Each image is {width:.0f} Å wide."
    return f"{grid}{colour_key(display.colour_limits, 'slice-key')}{html_parts.paragraph(caption)}"


def _extremes(figures: Sequence[str]) -> str:
    if not figures:
        return ""
    caption = (
        "Sections (normal to z) with the finest and the coarsest median local resolution, among those with at least a "
        "quarter of the largest section's mask."
    )
    grid = f'<div class="slices">{"".join(figures)}{html_parts.paragraph(caption)}</div>'
    return f"<section><h2>Best and worst section</h2>{grid}</section>"


def _half_maps(comparison: HalfMapComparison | None, difference_slices: str) -> str:
    """Return the section that compares the estimate with half maps; empty without half maps."""
    if comparison is None:
        return ""
    criterion = Criterion(comparison.criterion)
    numbers = {
        "Global resolution at FSC 0.143": length_text(comparison.resolution),
        "Global resolution at FSC 0.5": length_text(comparison.resolution_half),
        f"Median local resolution by half-map FSC ({criterion.label})": length_text(comparison.median),
        "Correlation with the estimate": f"{comparison.r:.3f}" if math.isfinite(comparison.r) else "none",
        "Root-mean-square difference": length_text(comparison.rmse),
        "Mean difference, estimate minus half-map FSC": length_text(comparison.bias),
        **({"Directions": comparison.directions.sentence} if comparison.directions else {}),
        **_clear_differences(comparison),
        **_comparability(comparison),
    }
    caption = (
        "Left: global FSC of the half maps. The corrected curve is free of the correlation that the mask adds. Right: "
        "the estimate against local half-map FSC, for the voxels of the mask; darker means more voxels, and on the "
        "dashed line both are equal. Local FSC: Gaussian window with a standard deviation of 1.5 wavelengths, "
        f"criterion {criterion.text}."
    )
    return (
        '<section><h2>Comparison with the half maps</h2><div class="columns even">'
        f"<div>{fsc_chart(comparison)}</div><div>{agreement_chart(comparison)}</div></div>"
        f'<table class="percentiles">{html_parts.table_rows(numbers)}</table>'
        f"{html_parts.paragraph(caption)}{difference_slices}</section>"
    )


def _clear_differences(comparison: HalfMapComparison) -> dict[str, str]:
    """Return the row of the table for differences beyond the error of both; none if an error is unknown."""
    if math.isnan(comparison.finer):
        return {}
    shares = f"estimate finer in {comparison.finer:.1%} of the mask, coarser in {comparison.coarser:.1%}"
    return {"Difference above twice the error of both": shares}


def _comparability(comparison: HalfMapComparison) -> dict[str, str]:
    """Return rows that say how the half maps lie relative to each other, and how they were masked."""
    alignment, masking, rows = comparison.alignment, comparison.masking, {}
    if alignment:
        error = alignment.shift_error / alignment.voxel_size
        rows["Second half map: shift"] = f"{alignment.shift_voxels:.2f} ± {error:.2f} voxels"
        rows["Second half map: rotation"] = f"{alignment.angle:.2f} ± {alignment.rotation_error:.2f}°"
        rows["Second half map: size"] = f"{alignment.scale - 1:+.2%} ± {alignment.scale_error:.2%}"
    if masking:
        rows["Masked out, first and second half map"] = " and ".join(f"{share:.0%}" for share in masking.outside)
        rows["FSC of the mask alone at the median resolution"] = f"{masking.mask_fsc:.2f}"
    return rows


def _differences(estimate: Sequence[slices.Slice], display: DisplayMap, view: slices.View) -> str:
    """Draw the slices of `estimate` for local resolution from half maps, and for the estimate minus it."""
    if display.half_map_resolution is None or not display.mask.any():
        return ""
    half_maps = slices.orthogonal(display.density, display.half_map_resolution, display.mask, view)
    differences = [
        np.where(b.local_resolution > 0, a.local_resolution - b.local_resolution, np.nan)
        for a, b in zip(estimate, half_maps, strict=True)
    ]
    limit = difference_limit(np.stack(differences))
    figures = []
    for part, difference in zip(half_maps, differences, strict=True):
        colours = rgb_colours(np.nan_to_num(difference), -limit, limit, DIFFERENCE_STOPS)
        pixels = np.dstack([colours, np.where(np.isfinite(difference), 255, 0).astype(np.uint8)])
        coloured = to_rgba(part.local_resolution, display.colour_limits)
        if display.clear_difference is not None:
            marked = slices.middle_voxels(display.clear_difference, view, "zyx".index(part.axis), part.number) > 0
            coloured[slices.outline(marked)] = (*rgb(CLEAR_DIFFERENCE_COLOUR), 255)
        images = ("fsc", "Local resolution by half-map FSC", coloured), ("difference", "Difference", pixels)
        figures.append(_figure(part, images, ""))
    caption = (
        "Left: local resolution by half-map FSC, in the colours of the slices above. Right: estimate minus half-map "
        "FSC."
    )
    if display.clear_difference is not None:
        caption += " " + CLEAR_DIFFERENCES
    key = colour_key((-limit, limit), "difference-key", DIFFERENCE_STOPS, "estimate minus half-map FSC, Å")
    return f'<div class="slices differences">{"".join(figures)}</div>{key}{html_parts.paragraph(caption)}'


def _paper(methods: str | None, deposition: Sequence[Mapping[str, str]]) -> str:
    """Return the section with texts to copy; empty without a molecule."""
    if methods is None:
        return ""
    tables = "".join(f'<table class="settings copied">{html_parts.table_rows(fields)}</table>' for fields in deposition)
    return (
        f'<section><h2>For the paper</h2><p class="copied">{html_parts.text(methods)}</p>'
        f"<h2>For the deposition at EMDB</h2>{tables}{html_parts.paragraph(COPY_HINT)}</section>"
    )


def _slice_figures(
    parts: Sequence[slices.Slice], titles: Sequence[str], colour_limits: tuple[float, float]
) -> list[str]:
    figures = []
    for part, grey, title in zip(parts, slices.grey_levels(parts), titles, strict=False):
        coloured = to_rgba(part.local_resolution, colour_limits)
        images = ("density", "Map", grey), ("local", "Local resolution", coloured)
        figures.append(_figure(part, images, title))
    return figures


def _figure(part: slices.Slice, images: Sequence[tuple[str, str, npt.NDArray[np.uint8]]], title: str) -> str:
    """Return the images of one slice side by side; each has a CSS class, a title and pixels."""
    plane = f"{part.axis} = {part.number}"
    pair = "".join(
        f'<img class="{css_class}" alt="{alt}, {plane}" src="{html_parts.image_source(pixels)}">'
        for css_class, alt, pixels in images
    )
    median = "" if math.isnan(part.median) else f" · median {part.median:.2f} Å"
    caption = f"<b>{title}{plane}</b>{median}"
    return f'<figure><div class="pair">{pair}</div><figcaption>{caption}</figcaption></figure>'
