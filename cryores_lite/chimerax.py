"""A script that shows a map in UCSF ChimeraX by its local resolution, and the map that surfaces take colour from."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from cryores_lite.errors import OutputError
from cryores_lite.palette import OUTSIDE, stops
from cryores_lite.types import Lengths, Mask, Volume

REACH = 8.0  # Å by which colours reach out of the mask: a surface drawn low still has some
LEAST = 0.01  # of a voxel's 27 neighbours' weight: less is rounding
CONTOUR = 0.45  # share of the mask's voxels that the suggested surface encloses


def contour(density: Volume, mask: Mask) -> float:
    """A density at which the surface shows the molecule: so many of its voxels lie above."""
    inside = density[mask]
    return float(np.quantile(inside, 1 - CONTOUR)) if inside.size else float(density.max())


def extended(values: Volume, voxel_size: Lengths) -> Volume:
    """Local resolution carried outwards by `REACH` Å, so that no surface near the mask takes the colour of 0.

    Every new voxel is the mean of the answers around it, near ones first; inside nothing changes.
    """
    out, known = values.copy(), values > 0
    for _ in range(max(1, round(REACH / min(voxel_size)))):
        weight, total = known.astype(np.float32), out.copy()
        for axis in range(3):
            for field in (weight, total):
                ndimage.uniform_filter1d(field, 3, axis, output=field, mode="constant")
        new = ~known & (weight > LEAST)
        out[new] = total[new] / weight[new]
        known |= new
    return out


def script(names: tuple[str, str], level: float, colours: tuple[float, float], as_ccp4: bool = False) -> str:
    """Commands that open a map, colour it by its local resolution, and draw a key.

    Parameters
    ----------
    names : of the map and its local resolution, as seen from the script's folder
    level : density of the surface
    colours : Å of the first and the last colour
    as_ccp4 : place the local resolution as ChimeraX places files that end in .map, by NSTART alone

    Raises
    ------
    OutputError
        A name cannot be written in ChimeraX's quotes.
    """
    (low, high), (map_name, locres_name) = colours, (quoted(name) for name in names)
    pairs = stops(low, high)
    palette = [(0.0, OUTSIDE), (low - 0.01, OUTSIDE), *pairs]
    lines = (
        f"# Local resolution, light {low:.2f} A (fine) to dark {high:.2f} A (coarse); grey where there is no answer.",
        "# For a session of its own: it calls the maps #1 and #2.",
        f"open {map_name} id 1",
        f"open {locres_name} id 2" + (" format ccp4" if as_ccp4 else ""),
        "volume #2 hide",
        f"volume #1 style surface level {level:.6g} step 1 calculateSurfaces true",
        "color sample #1 map #2 palette " + ":".join(f"{value:.3f},{colour}" for value, colour in palette),
        "key " + " ".join(f"{colour}:{value:.1f}" for value, colour in pairs) + " size .25,.04 pos .7,.06",
    )
    return "\n".join(lines) + "\n"


def quoted(name: str) -> str:
    """A file name in ChimeraX's quotes, which know no escapes: a quote before a blank would end them."""
    if '" ' in name or name.endswith('"') or any(ord(letter) < 32 for letter in name):
        raise OutputError(
            f"no ChimeraX script for {name!r}",
            found="a quote before a blank or at the end, or a line break, in the name",
            expected="a name that ChimeraX can read",
            try_="rename the map",
        )
    return f'"{name}"'
