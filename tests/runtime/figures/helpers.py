"""Helpers for the tests of figures: run the command, read the page, make a result for a map."""

import base64
import io
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image

from cryores_lite.io.mrc import read_map
from cryores_lite.outputs.result import Job, MapResult, ModelIdentity
from cryores_lite.types import LocalResolution
from tests.runtime.maps import ball


class PageReader(HTMLParser):
    """The elements of a page, its scripts, its texts, and the texts of elements with `data-field`."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.scripts, self.fields, self.text, self._open = [], [], {}, [], None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open = tag, dict(attrs)

    def handle_data(self, data):
        tag, attrs = self._open or ("", {})
        if tag == "script":
            self.scripts.append((attrs, data))
        elif "data-field" in attrs:
            self.fields[attrs["data-field"]] = data
        if tag not in ("script", "style"):
            self.text.append(data)

    def handle_endtag(self, tag):
        self._open = None

    def data(self, element_id):
        """The JSON in a script element."""
        (value,) = (json.loads(text) for attrs, text in self.scripts if attrs.get("id") == element_id)
        return value

    def images(self, css_class):
        """Description and image of every <img> of a class."""
        tags = [attrs for tag, attrs in self.tags if tag == "img" and attrs["class"] == css_class]
        return [(a["alt"], Image.open(io.BytesIO(base64.b64decode(a["src"].split(",")[1])))) for a in tags]


def make_answer(density_path, mask=None, map_path=None):
    """Local resolution from 3 to 5 Å along x inside a mask (a ball by default), on the grid of a map."""
    source = read_map(density_path)
    shape = source.density.values.shape
    mask = ball(shape, 0.3 * min(shape)) if mask is None else mask
    values = np.where(mask, np.linspace(3, 5, shape[2], dtype=np.float32), np.float32(0))
    global_resolution = 4.0 if mask.any() else float("nan")
    result = LocalResolution(
        values=values,
        mask=mask,
        uncertainty=values / 10,
        grid=source.density.grid,
        global_resolution=global_resolution,
        working_voxel_size=1.2,
        provider="CPUExecutionProvider",
    )
    job = Job(map_path=map_path or Path(density_path), outputs={"locres": Path("m.mrc")})
    return MapResult(job=job, map=source, local_resolution=result, model=ModelIdentity("net", "1", "ab" * 32))


def plane_of(values, description):
    """The plane of a volume that a description such as "Map, z = 40" names."""
    axis, number = description.split()[-3], int(description.split()[-1])
    return values.take(number, "zyx".index(axis))
