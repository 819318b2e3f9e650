"""One picture of an answer, for a slide or a notebook: three slices, the key and the main numbers."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from cryores_lite.figures import slices
from cryores_lite.figures.display_map import Upright, ticks, tinted
from cryores_lite.figures.palette import colours

SIZE = (1200, 742)  # pixels
EDGE, TOP, GAP, SIDE = 30, 96, 10, 296  # where pictures start, between them, and their side
RIGHT = EDGE + 3 * (SIDE + GAP) + 22  # of the column with numbers
KEY = (RIGHT, 156, RIGHT + 30, 442)  # left, top, right, bottom
INK, SOFT, LINE, PAPER, BLANK = "#1d2733", "#5b6875", "#dfe4ea", "#ffffff", (244, 246, 248)
RING = "Å"  # which Pillow's own font does not have: an A and a ring


def picture(row: Mapping[str, Any], name: str, shown: Upright) -> bytes:
    """Draw the picture, as a PNG file.

    Parameters
    ----------
    row : what the command prints as JSON (`report.row`); the numbers are from here
    name : of the map
    """
    image = Image.new("RGB", SIZE, PAPER)
    draw = ImageDraw.Draw(image)
    write(draw, (EDGE, 24), shortened(name), 27, INK)
    write(draw, (EDGE, 62), "Map and its local resolution, estimated by cryores_lite", 17, SOFT)
    seen = slices.frame(shown.mask)
    parts = slices.orthogonal(shown.density, shown.local, shown.mask, seen)
    for n, (part, grey) in enumerate(zip(parts, slices.greys(parts), strict=True)):
        left = EDGE + n * (SIDE + GAP)
        image.paste(Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BICUBIC), (left, TOP))
        tint = Image.fromarray(tinted(part.local, shown.ends)).resize((SIDE, SIDE), Image.Resampling.NEAREST)
        image.paste(BLANK, (left, TOP + SIDE + GAP, left + SIDE, TOP + 2 * SIDE + GAP))
        image.paste(tint, (left, TOP + SIDE + GAP), tint)
        write(draw, (left, TOP + 2 * SIDE + GAP + 8), f"{part.axis} = {part.number}", 17, SOFT)
    width = seen.side * float(np.mean(shown.voxel_size))
    write(draw, (EDGE + 2 * (SIDE + GAP), TOP + 2 * SIDE + GAP + 8), f"width {width:.0f} Å", 17, SOFT, right=SIDE)
    if shown.mask.any():
        _key(image, draw, shown.ends)
        _numbers(draw, row)
    else:
        write(draw, (RIGHT, TOP), "No molecule was found.", 19, INK)
    stream = io.BytesIO()
    image.save(stream, "png", optimize=True)
    return stream.getvalue()


def write(
    draw: ImageDraw.ImageDraw, place: tuple[float, float], words: str, size: int, colour: str, right: float = 0
) -> None:
    """Write a line from its upper left corner; or, if `right` is given, so that it ends so many pixels from there."""
    font = ImageFont.load_default(size)
    (x, y), wide = place, draw.textlength("A", font)
    if right:
        x += right - draw.textlength(words.replace(RING, "A"), font)
    for n, part in enumerate(words.split(RING)):
        if n:
            draw.text((x, y), "A", colour, font)
            middle, ring = x + wide / 2, 0.12 * size
            low = y + draw.textbbox((0, 0), "A", font)[1]
            draw.ellipse((middle - ring, low - 2 * ring, middle + ring, low), outline=colour, width=max(1, size // 11))
            x += wide
        draw.text((x, y), part, colour, font)
        x += draw.textlength(part, font)


def shortened(name: str, most: int = 64) -> str:
    """A name in so many letters of ASCII, on one line, that keeps its beginning and its end."""
    plain = "".join(letter if " " <= letter <= "~" else "?" for letter in name)
    return plain if len(plain) <= most else f"{plain[: most // 2 - 2]}...{plain[-(most // 2 - 1) :]}"


def _key(image: Image.Image, draw: ImageDraw.ImageDraw, ends: tuple[float, float]) -> None:
    (left, top, right, bottom), (low, high) = KEY, ends
    scale: npt.NDArray[np.uint8] = colours(np.linspace(low, high, bottom - top), *ends)
    image.paste(Image.fromarray(np.repeat(scale[:, None], right - left, axis=1)), (left, top))
    write(draw, (left, TOP), "Local resolution", 19, INK)
    write(draw, (left, TOP + 26), "Å, light is finer", 17, SOFT)
    for value, said in ticks(low, high):
        y = top + (value - low) / (high - low) * (bottom - top - 1)
        draw.line((right, y, right + 6, y), fill=SOFT)
        write(draw, (right + 12, y - 10), said, 17, INK)


def _length(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f} Å"


def _numbers(draw: ImageDraw.ImageDraw, row: Mapping[str, Any]) -> None:
    of = row["percentiles"]
    told = (
        ("Median", f"{row['median']:.2f} Å"),
        ("Half within", f"{of['25']:.2f} to {of['75']:.2f} Å"),
        ("95 % within", f"{of['2.5']:.2f} to {of['97.5']:.2f} Å"),
        ("Expected error (1 s.d.)", _length(row["median_uncertainty"])),
    )
    for n, (name, value) in enumerate(told):
        y = KEY[3] + 26 + 58 * n
        write(draw, (RIGHT, y), name, 16, SOFT)
        write(draw, (RIGHT, y + 21), value, 23, INK)
