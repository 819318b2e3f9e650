"""A script that shows a map in UCSF ChimeraX, coloured by its local resolution."""

from __future__ import annotations

import os
import re
from types import ModuleType

from cryores_lite.errors import OutputError
from cryores_lite.figures.display_map import ticks
from cryores_lite.figures.palette import OUTSIDE_COLOUR, colour_stops, hex_colour

DUST_SIZE = 10  # Å; smaller pieces of the surface are hidden
ENDS_NAME_OR_LINE = re.compile(r'"(?=\s|$)|[\x00-\x1f\x7f\x85\u2028\u2029]')
GREY_TO_COLOUR = 0.01  # Å, range of local resolution over which grey changes to colour


def script(
    names: tuple[str, str],
    contour_level: float,
    finest: float,
    colours: tuple[float, float],
    as_ccp4: bool = False,
    *,
    voxel_size: float | None = None,
    origin: tuple[float, float, float] | None = None,
) -> str:
    """Write the commands that open a map, colour it by its local resolution, and draw a key.

    Parameters
    ----------
    names : file names of the map and its local resolution, from the script's folder (`path_from`) and `quoted`
    contour_level : density of the surface
    finest : Å, the smallest local resolution; values below it are outside the mask and become grey
    colours : Å of the first and the last colour
    as_ccp4 : place the local resolution as ChimeraX places files that end in .map, by NSTART alone
    voxel_size : Å, if the user gave one instead of that in the map's header
    origin : Å, (x, y, z), of a map that ChimeraX places by it
    """
    (low, high), (map_name, locres_name) = colours, names
    pairs = colour_stops(low, high)
    last_grey = min(finest, low) - GREY_TO_COLOUR
    points = dict.fromkeys(  # each once
        [(0.0, OUTSIDE_COLOUR), (last_grey, OUTSIDE_COLOUR), (last_grey + GREY_TO_COLOUR, pairs[0][1]), *pairs]
    )
    palette = [f"{value:.3f},{colour}" for value, colour in points]
    resize = []
    if voxel_size is not None:  # ChimeraX keeps the origin in voxels, and so moves one that is given in Å
        resize.append(f"volume #1 voxelSize {voxel_size:.6g}")
        resize += [] if origin is None else [f"volume #1 origin {','.join(f'{value:.6g}' for value in origin)}"]
    lines = (
        f"# Local resolution, light {low:.2f} A (fine) to dark {high:.2f} A (coarse); grey outside the mask.",
        "# Open it in an empty session: the maps are #1 and #2.",
        f"open {map_name} id 1",
        f"open {locres_name} id 2" + (" format ccp4" if as_ccp4 else ""),
        "volume #2 hide",
        *resize,
        f"volume #1 region all style surface level {contour_level:.6g} step 1 calculateSurfaces true",
        f"surface dust #1 size {DUST_SIZE:g}",
        "color sample #1 map #2 palette " + ":".join(palette),
        "key " + " ".join(_key_entries(low, high)) + " size .4,.04 pos .55,.06 fontSize 18",
    )
    return "\n".join(lines) + "\n"


def _key_entries(low: float, high: float) -> list[str]:
    """Return colour and label at each tick of the other figures. ChimeraX spaces them in proportion to the labels."""
    return [f"{hex_colour(value, low, high)}:{label}" for value, label in ticks(low, high)]


def path_from(path: str, folder: str, system: ModuleType = os.path) -> str:
    """Return a path relative to a folder, or the path itself if they lie on different drives of Windows.

    Parameters
    ----------
    path, folder : absolute paths
    system : `os.path`, `posixpath` or `ntpath`
    """
    try:
        return str(system.relpath(path, folder))
    except ValueError:  # of Windows: no relative path leads to another drive
        return path


def quoted(name: str) -> str:
    """Put a file name in ChimeraX's quotes. They have no escapes, so a quote before a blank would end the name.

    Raises
    ------
    OutputError
        ChimeraX could not read the name.
    """
    if ENDS_NAME_OR_LINE.search(name):
        raise OutputError(
            f"no ChimeraX script for {name!r}",
            found="a quote before a blank or at the end, or a line break, in the name",
            expected="a name that ChimeraX can read",
            try_="rename the map",
        )
    return f'"{name}"'
