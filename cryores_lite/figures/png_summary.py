"""The PNG summary, for a slide: slices of the map and of its local resolution, a colour key, the main numbers."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from cryores_lite.figures import slices
from cryores_lite.figures.display_map import DisplayMap, ticks, to_rgba
from cryores_lite.figures.palette import COLOUR_STOPS, rgb_colours
from cryores_lite.types import LocalResolution, length_text

IMAGE_SIZE = (1200, 742)  # pixels
SLICES_LEFT, SLICES_TOP, SLICE_GAP, SLICE_SIDE = 30, 96, 10, 296  # pixels
NUMBERS_LEFT = SLICES_LEFT + 3 * (SLICE_SIDE + SLICE_GAP) + 22  # of the column with key and numbers
KEY_BOX = (NUMBERS_LEFT, 156, NUMBERS_LEFT + 30, 442)  # left, top, right, bottom
MAX_NAME_LENGTH = 64  # characters
INK, SECONDARY_INK, PAPER = "#1d2733", "#5b6875", "#ffffff"
SLICE_BACKGROUND = (244, 246, 248)
ANGSTROM = "Å"  # missing in the font of Pillow: drawn as A and a ring


def render(result: LocalResolution, display: DisplayMap, name: str) -> bytes:
    """Draw the summary; return the PNG file.

    Parameters
    ----------
    result : the local resolution; the numbers in the picture are from `result`
    display : map and local resolution in (z, y, x) order
    name : name of the map
    """
    image = Image.new("RGB", IMAGE_SIZE, PAPER)
    draw = ImageDraw.Draw(image)
    write_text(draw, (SLICES_LEFT, 24), printable_name(name), 27, INK)
    write_text(draw, (SLICES_LEFT, 62), "Map and local resolution, estimated by cryores_lite", 17, SECONDARY_INK)
    _draw_slices(image, draw, display)
    if display.mask.any():
        draw_key(image, draw, display.colour_limits)
        _draw_numbers(draw, result)
    else:
        write_text(draw, (NUMBERS_LEFT, SLICES_TOP), "No molecule was found.", 19, INK)
    stream = io.BytesIO()
    image.save(stream, "png", optimize=True)
    return stream.getvalue()


def write_text(
    draw: ImageDraw.ImageDraw,
    position: tuple[float, float],
    text: str,
    size: int,
    colour: str,
    align_right_within: float = 0,
) -> None:
    """Write a line from its upper left corner, or right-aligned in a box of the given width (pixels)."""
    font = ImageFont.load_default(size)
    (x, y), letter_width = position, draw.textlength("A", font)
    if align_right_within:
        x += align_right_within - draw.textlength(text.replace(ANGSTROM, "A"), font)
    for n, part in enumerate(text.split(ANGSTROM)):
        if n:
            draw.text((x, y), "A", colour, font)
            centre, radius = x + letter_width / 2, 0.12 * size
            bottom = y + draw.textbbox((0, 0), "A", font)[1]
            box = (centre - radius, bottom - 2 * radius, centre + radius, bottom)
            draw.ellipse(box, outline=colour, width=max(1, size // 11))
            x += letter_width
        draw.text((x, y), part, colour, font)
        x += draw.textlength(part, font)


def printable_name(name: str) -> str:
    """Return a name in at most 64 ASCII characters: the middle of a longer one is replaced by "..."."""
    ascii_name = "".join(letter if " " <= letter <= "~" else "?" for letter in name)
    if len(ascii_name) <= MAX_NAME_LENGTH:
        return ascii_name
    half = MAX_NAME_LENGTH // 2
    return f"{ascii_name[: half - 2]}...{ascii_name[-(half - 1) :]}"


def _draw_slices(image: Image.Image, draw: ImageDraw.ImageDraw, display: DisplayMap) -> None:
    view = slices.view_around(display.mask)
    parts = slices.orthogonal(display.density, display.local_resolution, display.mask, view)
    second_row, caption_row = SLICES_TOP + SLICE_SIDE + SLICE_GAP, SLICES_TOP + 2 * SLICE_SIDE + SLICE_GAP + 8
    side = (SLICE_SIDE, SLICE_SIDE)
    for n, (part, grey) in enumerate(zip(parts, slices.grey_levels(parts), strict=True)):
        left = SLICES_LEFT + n * (SLICE_SIDE + SLICE_GAP)
        image.paste(Image.fromarray(grey).resize(side, Image.Resampling.BICUBIC), (left, SLICES_TOP))
        rgba = to_rgba(part.local_resolution, display.colour_limits)
        coloured = Image.fromarray(rgba).resize(side, Image.Resampling.NEAREST)
        image.paste(SLICE_BACKGROUND, (left, second_row, left + SLICE_SIDE, second_row + SLICE_SIDE))
        image.paste(coloured, (left, second_row), coloured)
        write_text(draw, (left, caption_row), f"{part.axis} = {part.number}", 17, SECONDARY_INK)
    width = f"width {view.side * float(np.mean(display.voxel_size)):.0f} Å"
    last = SLICES_LEFT + 2 * (SLICE_SIDE + SLICE_GAP)
    write_text(draw, (last, caption_row), width, 17, SECONDARY_INK, align_right_within=SLICE_SIDE)


def draw_key(
    image: Image.Image,
    draw: ImageDraw.ImageDraw,
    colour_limits: tuple[float, float],
    box: tuple[int, int, int, int] = KEY_BOX,
    stops: Sequence[str] = COLOUR_STOPS,
    titles: tuple[str, str] = ("Local resolution", "in Å, light is finer"),
) -> None:
    """Draw a colour scale with ticks in Å, and two lines above it.

    Parameters
    ----------
    colour_limits : Å of the first colour, at the top, and of the last
    box : left, top, right, bottom of the scale, in pixels
    stops : #rrggbb, colours at equal steps between the limits
    """
    (left, top, right, bottom), (low, high) = box, colour_limits
    column: npt.NDArray[np.uint8] = rgb_colours(np.linspace(low, high, bottom - top), low, high, stops)
    image.paste(Image.fromarray(np.repeat(column[:, None], right - left, axis=1)), (left, top))
    write_text(draw, (left, top - 60), titles[0], 19, INK)
    write_text(draw, (left, top - 34), titles[1], 17, SECONDARY_INK)
    for value, label in ticks(low, high):
        y = top + (value - low) / (high - low) * (bottom - top - 1)
        draw.line((right, y, right + 6, y), fill=SECONDARY_INK)
        write_text(draw, (right + 12, y - 10), label, 17, INK)


def _draw_numbers(draw: ImageDraw.ImageDraw, result: LocalResolution) -> None:
    lowest, low, median, high, highest = result.percentiles.values()
    numbers = (
        ("Median", f"{median:.2f} Å"),
        ("50 % within", f"{low:.2f} to {high:.2f} Å"),
        ("95 % within", f"{lowest:.2f} to {highest:.2f} Å"),
        ("Expected error (s.d.)", length_text(result.median_uncertainty)),
    )
    for n, (name, value) in enumerate(numbers):
        y = KEY_BOX[3] + 26 + 58 * n
        write_text(draw, (NUMBERS_LEFT, y), name, 16, SECONDARY_INK)
        write_text(draw, (NUMBERS_LEFT, y + 21), value, 23, INK)
