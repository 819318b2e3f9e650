"""The picture of a comparison, for a slide: slices of A, of B and of their difference, two keys, the numbers."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw

from cryores_lite.comparison import views
from cryores_lite.comparison.measure import CLEAR_Z, Numbers
from cryores_lite.figures.palette import DIFFERENCE_STOPS
from cryores_lite.figures.png_summary import (
    INK,
    PAPER,
    SECONDARY_INK,
    SLICE_BACKGROUND,
    draw_key,
    printable_name,
    write_text,
)

IMAGE_SIZE = (1200, 930)  # pixels
LEFT, TOP, SIDE, GAP = 30, 132, 240, 10  # of the slices, pixels
KEYS_LEFT = LEFT + 3 * (SIDE + GAP) + 30
KEY_HEIGHT = 190
COLUMNS = ("A", "B", "difference, B - A")


def render(view: views.Shown, numbers: Numbers) -> bytes:
    """Draw the picture; return the PNG file."""
    image = Image.new("RGB", IMAGE_SIZE, PAPER)
    draw = ImageDraw.Draw(image)
    for n, (letter, name, colour) in enumerate(zip("AB", view.names, views.SIDE_COLOURS, strict=True)):
        write_text(draw, (LEFT, 20 + 34 * n), letter, 25, colour)
        write_text(draw, (LEFT + 32, 20 + 34 * n), printable_name(name), 25, INK)
    for n, title in enumerate(COLUMNS):
        write_text(draw, (LEFT + n * (SIDE + GAP), TOP - 28), title, 18, INK)
    for n, part in enumerate(views.orthogonal(view)):
        _draw_plane(image, draw, part, TOP + n * (SIDE + GAP))
    width = f"each image is {view.view.side * float(np.mean(view.voxel_size)):.0f} Å wide"
    write_text(draw, (LEFT, TOP + 3 * (SIDE + GAP)), width, 17, SECONDARY_INK)
    first = (KEYS_LEFT, TOP + 60, KEYS_LEFT + 30, TOP + 60 + KEY_HEIGHT)
    draw_key(image, draw, view.colour_limits, first)
    second = (KEYS_LEFT, first[3] + 90, KEYS_LEFT + 30, first[3] + 90 + KEY_HEIGHT)
    limits = (-view.difference_limit, view.difference_limit)
    draw_key(image, draw, limits, second, DIFFERENCE_STOPS, ("Difference, B - A", "in Å, negative: B is finer"))
    for word, y, colour in (
        (views.ENDS[0], second[1], views.SIDE_COLOURS[1]),
        (views.ENDS[1], second[3] - 20, views.SIDE_COLOURS[0]),
    ):
        write_text(draw, (KEYS_LEFT + 120, y), word, 19, colour)
    _draw_numbers(draw, numbers, second[3] + 24)
    stream = io.BytesIO()
    image.save(stream, "png", optimize=True)
    return stream.getvalue()


def _draw_plane(image: Image.Image, draw: ImageDraw.ImageDraw, part: views.Plane, top: int) -> None:
    for n, pixels in enumerate((part.a, part.b, part.difference)):
        left = LEFT + n * (SIDE + GAP)
        coloured = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.NEAREST)
        image.paste(SLICE_BACKGROUND, (left, top, left + SIDE, top + SIDE))
        image.paste(coloured, (left, top), coloured)
    write_text(draw, (LEFT + 8, top + SIDE - 26), f"{part.axis} = {part.number}", 16, SECONDARY_INK)


def _draw_numbers(draw: ImageDraw.ImageDraw, numbers: Numbers, top: int) -> None:
    lines = [("Median of A, of B", f"{numbers.median_a:.2f} Å, {numbers.median_b:.2f} Å")]
    if numbers.b_finer is None or numbers.a_finer is None:
        lines.append(("B finer, A finer in", f"{numbers.negative:.0%}, {1 - numbers.negative:.0%} of the molecule"))
    else:
        text = f"{numbers.b_finer:.0%}, {numbers.a_finer:.0%} of the molecule"
        lines.append((f"Clearly finer (|z| > {CLEAR_Z:g}): B, A", text))
    for n, (name, value) in enumerate(lines):
        write_text(draw, (KEYS_LEFT, top + 56 * n), name, 16, SECONDARY_INK)
        write_text(draw, (KEYS_LEFT, top + 56 * n + 21), value, 21, INK)
