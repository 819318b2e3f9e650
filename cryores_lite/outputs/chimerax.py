"""A script that shows a map in UCSF ChimeraX by its local resolution."""

from __future__ import annotations

import re

from cryores_lite.errors import OutputError
from cryores_lite.figures.palette import OUTSIDE_COLOUR, colour_stops

DUST = 10  # Å, size of pieces of surface that are hidden
UNWRITABLE = re.compile(r'"(?=\s|$)|[\x00-\x1f\x7f\x85\u2028\u2029]')  # ends a quoted name, or a line
STEP = 0.01  # Å, over which grey turns to colour


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
    pairs = colour_stops(low, high)
    edge = min(finest, low) - STEP
    outside = [(0.0, OUTSIDE_COLOUR), (edge, OUTSIDE_COLOUR)]
    points = dict.fromkeys([*outside, (edge + STEP, pairs[0][1]), *pairs])  # each once
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
