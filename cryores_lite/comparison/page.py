"""The HTML page of a comparison: it works offline, and says first which map is better resolved, and where."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cryores_lite import __version__
from cryores_lite.comparison import views
from cryores_lite.comparison.measure import CLEAR_Z
from cryores_lite.comparison.result import CompareResult, signed, verdict
from cryores_lite.figures import html_parts
from cryores_lite.figures.display_map import contour_level
from cryores_lite.figures.palette import DIFFERENCE_STOPS, MIN_COLOUR_RANGE
from cryores_lite.figures.surface import Mesh, surface, to_json
from cryores_lite.figures.svg_charts import HISTOGRAM_PERCENTILES, colour_key, difference_histogram, pair_histogram
from cryores_lite.types import length_text

DIFFERENCE_TITLE = "difference B − A, Å"
PERCENTILE_LABELS = {"2.5": "2.5th", "25": "25th", "50": "50th (median)", "75": "75th", "97.5": "97.5th"}


def render(result: CompareResult, view: views.Shown, record: Mapping[str, Any]) -> str:
    """Write the page.

    Parameters
    ----------
    record : JSON row of the comparison, embedded in the page for programs
    """
    mesh = _mesh(view)
    return html_parts.page(
        "compare.html",
        title="{} and {} compared".format(*view.names),
        sides=_sides(view, result),
        verdict=html_parts.text(verdict(result.numbers)),
        numbers=_numbers(result),
        notes=html_parts.notes(result.warnings),
        surface_of="A" if view.densities[0] is not None or view.densities[1] is None else "B",
        surface=_surface(view, mesh is not None),
        differences=difference_histogram(view.values[view.common], view.difference_limit, views.ENDS, DIFFERENCE_TITLE),
        histograms=_histograms(view, result.colours),
        orthogonal=_orthogonal(view),
        extremes=_extremes(view),
        percentiles=_percentiles(result),
        chains=_chains(result),
        settings=_settings(result),
        record=record,
        mesh=to_json(mesh) if mesh else None,
    )


def _sides(view: views.Shown, result: CompareResult) -> str:
    letters = zip("ab", view.names, result.sides, strict=True)
    return "".join(
        f'<div><b class="side-{letter}">{letter.upper()}</b><span>{html_parts.text(name)} '
        f"<small>({html_parts.text(side.kind)})</small></span></div>"
        for letter, name, side in letters
    )


def _numbers(result: CompareResult) -> str:
    numbers, shift = result.numbers, result.shift
    middle = numbers.percentiles["50"][2]
    which = "A and B are alike" if round(middle, 2) == 0 else "B is finer" if middle < 0 else "A is finer"
    cards = [
        ("median_a", "Median of A", f"{numbers.median_a:.2f} Å", "in the molecule that both show"),
        ("median_b", "Median of B", f"{numbers.median_b:.2f} Å", "in the molecule that both show"),
        ("difference", "Difference, B − A", signed(middle), f"median over the voxels; {which}"),
        ("error", "Error of a difference", length_text(math.nan if numbers.error is None else numbers.error), "median"),
    ]
    if numbers.b_finer is not None and numbers.a_finer is not None:
        cards.append(
            (
                "clear",
                "Clear differences",
                f"{numbers.b_finer:.0%} / {numbers.a_finer:.0%}",
                f"B better / A better, beyond {CLEAR_Z:g} standard errors",
            )
        )
    under = f"of B against A; correlation {shift.correlation:.2f} after a move back"
    cards.append(("shift", "Shift", f"{shift.length:.1f} Å", under))
    return html_parts.number_cards(cards)


def _mesh(view: views.Shown) -> Mesh | None:
    """Colour the surface by the difference, moved to positive numbers: 0 is outside the mask for `surface`."""
    density = view.density
    if density is None:
        return None
    level, limit = contour_level(density, view.common), view.difference_limit
    zero = 2 * float(np.abs(view.values).max()) + 2 * limit
    moved = np.where(view.common, view.values + np.float32(zero), np.float32(0))
    return surface(density, moved, view.common, view.voxel_size, level, (zero - limit, zero + limit), DIFFERENCE_STOPS)


def _surface(view: views.Shown, has_mesh: bool) -> str:
    key = _difference_key(view, "surface-key")
    if not has_mesh:
        return html_parts.paragraph("The maps themselves are not known, so there is no surface to draw.") + key
    return html_parts.surface_viewer("the difference", " Blue: B is better resolved. Red: A is better resolved.") + key


def _difference_key(view: views.Shown, element_id: str) -> str:
    limits = (-view.difference_limit, view.difference_limit)
    return colour_key(limits, element_id, DIFFERENCE_STOPS, DIFFERENCE_TITLE, views.ENDS)


def _histograms(view: views.Shown, colours: tuple[float, float] | None) -> str:
    a, b = view.a[view.common], view.b[view.common]
    low, high = colours or np.percentile(np.concatenate([a, b]), HISTOGRAM_PERCENTILES)
    limits = (float(low), max(float(high), float(low) + MIN_COLOUR_RANGE))
    return pair_histogram(a, b, limits, ("A", "B"), views.SIDE_COLOURS)


def _orthogonal(view: views.Shown) -> str:
    width = view.view.side * float(np.mean(view.voxel_size))
    caption = f"Each image is {width:.0f} Å wide. A and B have one colour range."
    figures = "".join(_figure(part, "") for part in views.orthogonal(view))
    return (
        f'<div class="triples">{figures}</div>{colour_key(view.colour_limits, "slice-key")}'
        f"{_difference_key(view, 'difference-key')}{html_parts.paragraph(caption)}"
    )


def _extremes(view: views.Shown) -> str:
    parts = views.extremes(view)
    if not parts:
        return ""
    titles = ("Most in favour of B, ", "Most in favour of A, ")
    figures = "".join(_figure(part, title) for part, title in zip(parts, titles, strict=True))
    caption = "Sections normal to z, chosen by their median difference."
    return (
        '<section><h2>Sections that differ most</h2><div class="triples">'
        f"{figures}</div>{html_parts.paragraph(caption)}</section>"
    )


def _figure(part: views.Plane, title: str) -> str:
    plane = f"{part.axis} = {part.number}"
    images = (("local", "A", part.a), ("local", "B", part.b), ("difference", "B − A", part.difference))
    cells = "".join(
        f'<div><div class="title">{alt}</div>'
        f'<img class="{css_class}" alt="{alt}, {plane}" src="{html_parts.image_source(pixels)}"></div>'
        for css_class, alt, pixels in images
    )
    median = "" if math.isnan(part.median) else f" · median difference {signed(part.median)}"
    return f'<figure><div class="triple">{cells}</div><figcaption><b>{title}{plane}</b>{median}</figcaption></figure>'


def _percentiles(result: CompareResult) -> str:
    rows = [
        (PERCENTILE_LABELS[name], f"{a:.2f} Å", f"{b:.2f} Å", signed(b - a), signed(difference))
        for name, (a, b, difference) in result.numbers.percentiles.items()
    ]
    head = ("percentile", "A", "B", "B − A", "of the voxels' B − A")
    return f'<section><h2>Percentiles</h2><div class="scroll">{html_parts.table(head, rows)}</div></section>'


def _chains(result: CompareResult) -> str:
    if result.chains is None:
        return ""
    rows = [
        (part.name or "(no name)", str(part.atoms), *(_length(value) for value in (part.a, part.b)), *_judged(part))
        for part in result.chains
    ]
    head = ("chain", "atoms", "A", "B", "B − A", "")
    return f'<section><h2>Chains of the model</h2><div class="scroll">{html_parts.table(head, rows)}</div></section>'


def _judged(part: Any) -> Sequence[str]:
    if part.difference is None:
        return "none", "outside the mask"
    word = "B finer" if part.difference < 0 else "A finer"
    if part.z is not None:
        word = word if abs(part.z) > CLEAR_Z else "within the error"
    return signed(part.difference), word


def _length(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f} Å"


def _settings(result: CompareResult) -> dict[str, str]:
    model, (a, b), numbers = result.model, result.sides, result.numbers
    z, y, x = result.difference.grid.shape
    return {
        "A": str(a.path),
        "B": " and ".join(map(str, b.pair.paths if b.pair else (b.path,))),
        "Difference": "B − A, on the grid of A; negative where B is finer. Maps that lie elsewhere are interpolated "
        "linearly at the voxels of A, by the positions in the headers.",
        "z-score": "difference / √(error of A² + error of B²), with the errors that are known",
        "Grid": f"{x} × {y} × {z} voxels as stored, {result.difference.grid.voxel_size[0]:.4g} Å",
        "Volume": f"{_volume(numbers.volume)} in both molecules, {_volume(numbers.only_a)} in that of A alone, "
        f"{_volume(numbers.only_b)} in that of B alone",
        **({"Colours": "{:g} to {:g} Å, from the command line".format(*result.colours)} if result.colours else {}),
        "Program": f"cryores_lite {__version__}",
        **({"Model": f"{model.name} {model.version}, sha256 {model.sha256}"} if model else {}),
    }


def _volume(volume: float) -> str:
    return f"{volume:,.0f} Å³".replace(",", "\N{NARROW NO-BREAK SPACE}")
