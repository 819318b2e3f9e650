"""A script that shows a map in UCSF ChimeraX by its local resolution, and the map that surfaces take colour from."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np

from cryores_lite.errors import OutputError
from cryores_lite.palette import OUTSIDE, stops
from cryores_lite.types import Lengths, Mask, Volume

REACH = 8.0  # Å by which colours reach out of the mask: a surface drawn low still has some
DUST = 10  # Å, size of pieces of surface that are hidden
UNWRITABLE = re.compile(r'"(?=\s|$)|[\x00-\x1f\x7f\x85\u2028\u2029]')  # ends a quoted name, or a line
STEP = 0.01  # Å, over which grey turns to colour
CONTOUR = 0.45  # share of the mask's voxels that the suggested surface encloses,
NOISE = 0.001  # unless more than this share of the others would be above: in a sharpened map that is dust everywhere


def contour(density: Volume, mask: Mask) -> float:
    """A density at which the surface shows the molecule and not the noise around it."""
    inside, outside = density[mask], density[~mask]
    shows = [np.quantile(part, 1 - share) for part, share in ((inside, CONTOUR), (outside, NOISE)) if part.size]
    return float(max(shows)) if inside.size else float(density.max())


def extended(values: Volume, voxel_size: Lengths) -> Volume:
    """Local resolution carried outwards by `REACH` Å, so that no surface near the mask takes the colour of 0.

    Shell by shell, every new voxel is the mean of the known ones among the 26 around it; inside nothing changes.

    Parameters
    ----------
    values : (z, y, x) Å, 0 outside the mask
    voxel_size : Å
    """
    out = values.copy()
    if not out.any():
        return out
    shells = max(1, math.ceil(REACH / min(voxel_size)))
    known = [np.flatnonzero((values > 0).any(others)) for others in ((1, 2), (0, 2), (0, 1))]
    box = tuple(slice(max(0, places[0] - shells), places[-1] + 1 + shells) for places in known)
    padded = np.pad(out[box], 1)  # a rim, so that every voxel has 26 others around it
    flat, free = padded.ravel(), np.pad(out[box] == 0, 1).ravel()
    steps = [np.ravel_multi_index(step, padded.shape) for step in itertools.product((0, 1, 2), repeat=3)]
    around = [int(step - steps[13]) for step in steps if step != steps[13]]
    shell = np.flatnonzero(flat)
    for _ in range(shells):
        near = np.zeros(flat.shape, bool)
        for step in around:
            near[shell + step] = True
        shell = np.flatnonzero(near & free)
        total, count = np.zeros(shell.size, np.float32), np.zeros(shell.size, np.float32)
        for step in around:
            there = flat[shell + step]
            total += there
            count += there > 0
        flat[shell], free[shell] = total / count, False
    out[box] = padded[1:-1, 1:-1, 1:-1]
    return out


def script(
    names: tuple[str, str], level: float, finest: float, colours: tuple[float, float], as_ccp4: bool = False
) -> str:
    """Commands that open a map, colour it by its local resolution, and draw a key.

    Parameters
    ----------
    names : of the map and its local resolution, as seen from the script's folder and as `quoted`
    level : density of the surface
    finest : Å, the least of the local resolution; what is below has none and is grey
    colours : Å of the first and the last colour
    as_ccp4 : place the local resolution as ChimeraX places files that end in .map, by NSTART alone
    """
    (low, high), (map_name, locres_name) = colours, names
    pairs = stops(low, high)
    edge = min(finest, low) - STEP
    points = dict.fromkeys([(0.0, OUTSIDE), (edge, OUTSIDE), (edge + STEP, pairs[0][1]), *pairs])  # each once
    palette = [f"{value:.3f},{colour}" for value, colour in points]
    lines = (
        f"# Local resolution, light {low:.2f} A (fine) to dark {high:.2f} A (coarse); grey where there is no answer.",
        "# For a session of its own: it calls the maps #1 and #2.",
        f"open {map_name} id 1",
        f"open {locres_name} id 2" + (" format ccp4" if as_ccp4 else ""),
        "volume #2 hide",
        f"volume #1 style surface level {level:.6g} step 1 calculateSurfaces true",
        f"surface dust #1 size {DUST:g}",
        "color sample #1 map #2 palette " + ":".join(palette),
        "key " + " ".join(f"{colour}:{value:.1f}" for value, colour in pairs) + " size .25,.04 pos .7,.06",
    )
    return "\n".join(lines) + "\n"


def quoted(name: str) -> str:
    """A file name in ChimeraX's quotes, which know no escapes: a quote before a blank would end them.

    Raises
    ------
    OutputError
        The name cannot be written so.
    """
    if UNWRITABLE.search(name):
        raise OutputError(
            f"no ChimeraX script for {name!r}",
            found="a quote before a blank or at the end, or a line break, in the name",
            expected="a name that ChimeraX can read",
            try_="rename the map",
        )
    return f'"{name}"'
