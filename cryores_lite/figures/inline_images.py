"""Images inside HTML, as data URLs."""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt


def png_url(pixels: npt.NDArray[np.uint8]) -> str:
    """Return pixels (rows, columns) of grey, or (rows, columns, 3 or 4) of colours, as the data URL of a PNG image."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
