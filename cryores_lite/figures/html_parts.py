"""Parts of HTML pages that work offline: escaped text, tables, embedded images and data, and the digest of a script."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np
import numpy.typing as npt

from cryores_lite import __version__


def page(
    body: str, *, title: str, settings: Mapping[str, str], record: Mapping[str, Any], mesh: object, **parts: str
) -> str:
    """Write a page around the parts of its body, with its style and script in it.

    Parameters
    ----------
    body : file in web/ with places for `parts`
    title : of the window
    settings : names and values of the last table
    record : JSON row of the command, embedded in the page for programs
    mesh : data of the surface for the script, or None
    parts : HTML
    """
    style, script = web_file("page.css"), web_file("viewer.js")
    return Template(web_file("frame.html")).substitute(
        title=text(title),
        style=style,
        style_hash=digest(style),
        script=script,
        script_hash=digest(script),
        body=Template(web_file(body)).substitute(parts, version=text(__version__)),
        settings=table_rows(settings),
        row=json_script(record),
        mesh=json_script(mesh),
    )


def image_source(pixels: npt.NDArray[np.uint8]) -> str:
    """Return the address of an embedded PNG image: grey (rows, columns), or colours (rows, columns, 3 or 4)."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def table_rows(values: Mapping[str, str]) -> str:
    """Return rows of a table with a name and a value each."""
    return "".join(f"<tr><th>{text(name)}</th><td>{text(value)}</td></tr>" for name, value in values.items())


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table with a line of titles; the first cell of every row is its name."""
    titles = "".join(f"<th>{text(title)}</th>" for title in head)
    lines = (
        f"<tr><th>{text(name)}</th>{''.join(f'<td>{text(cell)}</td>' for cell in cells)}</tr>" for name, *cells in rows
    )
    return f'<table class="columns-table"><tr>{titles}</tr>{"".join(lines)}</table>'


def number_cards(cards: Iterable[tuple[str, str, str, str]]) -> str:
    """Return the large numbers of a page: field for programs, title, value and a line below it, for each."""
    return "".join(
        f'<div><dt>{title}</dt><dd data-field="{field}">{text(value)}</dd><dd class="under">{text(under)}</dd></div>'
        for field, title, value, under in cards
    )


def surface_viewer(coloured_by: str, hint: str = "") -> str:
    """Return the canvas that the script draws the surface on, with its controls, and a hint after their help."""
    return (
        f'<canvas id="surface" tabindex="0" role="img" aria-label="Surface of the map, coloured by {coloured_by}">'
        '</canvas><div class="controls"><label for="cut">Cut</label>'
        '<input type="range" id="cut" min="0" max="100" step="1" value="0">'
        '<button type="button" id="reset">Reset</button></div>'
        f'<p class="aside" id="surface-help">Drag to rotate, scroll to zoom, hold Shift and drag to move.{hint}</p>'
    )


def paragraph(content: str) -> str:
    """Return a paragraph of small print."""
    return f'<p class="aside">{text(content)}</p>'


def notes(sentences: Sequence[str]) -> str:
    """Return a box of notes for the reader; empty without notes."""
    items = "".join(f"<li>{text(note[:1].upper() + note[1:].rstrip('.'))}.</li>" for note in sentences)
    return f'<div class="notes" role="note"><h2>Please note</h2><ul>{items}</ul></div>' if items else ""


def text(content: str) -> str:
    """Escape text for HTML; bytes of a file name that are not UTF-8 become question marks."""
    return escape(content.encode("utf-8", "replace").decode("utf-8"))


def json_script(value: object) -> str:
    """Return JSON for a script element."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def web_file(name: str) -> str:
    """Return the text of a file in the folder web/."""
    return files("cryores_lite.figures").joinpath("web", name).read_text("utf-8")


def digest(content: str) -> str:
    """Return the hash by which the page's Content-Security-Policy allows this script or style and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode('ascii')}"
