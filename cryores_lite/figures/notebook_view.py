"""A local resolution as a notebook shows it: three slices, a colour key and the numbers."""

from __future__ import annotations

import math

from cryores_lite.figures import html_parts, slices
from cryores_lite.figures.display_map import to_rgba
from cryores_lite.figures.palette import colour_range
from cryores_lite.figures.svg_charts import colour_key
from cryores_lite.types import LocalResolution

STYLE = "font: 14px/1.4 sans-serif; fill: currentColor; max-width: 720px"
IMAGE_STYLE = "width: 100%; aspect-ratio: 1; background: #f4f6f8; border-radius: 6px; image-rendering: pixelated"
EMPTY_MASK = "No molecule was found in this map."


def html(result: LocalResolution) -> str:
    """Draw three slices through the molecule's centre with a colour key, below the numbers; HTML without scripts."""
    numbers = f"<p><b>{html_parts.text(repr(result))}</b></p>"
    if not result.mask.any():
        return f'<div style="{STYLE}">{numbers}<p>{EMPTY_MASK}</p></div>'
    limits, view = colour_range(result.values), slices.view_around(result.mask)
    parts = slices.orthogonal(result.values, result.values, result.mask, view)
    figures = "".join(_figure(part, limits) for part in parts)
    grid = f'<div style="display: grid; grid-template-columns: repeat(3, 1fr); gap: 10px">{figures}</div>'
    key = f'<div style="max-width: 460px; margin: 12px auto">{colour_key(limits, f"key-{id(result):x}")}</div>'
    return f'<div style="{STYLE}">{numbers}{grid}{key}</div>'


def _figure(part: slices.Slice, limits: tuple[float, float]) -> str:
    plane = f"{part.axis} = {part.number}"
    median = "" if math.isnan(part.median) else f", median {part.median:.2f} Å"
    url = html_parts.image_source(to_rgba(part.local_resolution, limits))
    return (
        f'<div><img class="local" style="{IMAGE_STYLE}" alt="Local resolution, {plane}" src="{url}">'
        f"<br>{plane}{median}</div>"
    )
