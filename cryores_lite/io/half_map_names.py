"""Find half maps by the file names of RELION, EMDB and cryoSPARC."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from cryores_lite.io.mrc import map_stem

HALF_MAP_NAME = re.compile(r"[_-]?half[_-]?(?:map[_-]?)?([12ab])(?![a-z0-9])", re.IGNORECASE)
OTHER_HALF = dict(zip("12abAB", "21baBA", strict=True))
UNFILTERED_ENDINGS = ("_unfil", "_unfiltered")  # of RELION's half maps
HALF_MAP_FOLDERS = (".", "other", "../other")  # relative to the folder of the map; EMDB keeps half maps in other/


def full_map_stem(path: Path) -> str:
    """Return the name of the map that a half map belongs to: ``run_class001`` for ``run_half1_class001_unfil.mrc``."""
    stem = HALF_MAP_NAME.sub("", map_stem(path), count=1).strip("_-")
    for ending in UNFILTERED_ENDINGS:
        stem = stem.removesuffix(ending)
    return stem or map_stem(path)


def other_half_path(path: Path) -> Path | None:
    """Return the path of the other half map; None if `path` does not have the name of a half map."""
    match = HALF_MAP_NAME.search(path.name)
    if match is None:
        return None
    return path.with_name(path.name[: match.start(1)] + OTHER_HALF[match[1]] + path.name[match.end(1) :])


def find_half_maps(map_path: Path) -> tuple[Path, Path] | None:
    """Find the two half maps of a map by their names, in its folder and in EMDB's other/; None if there are none."""
    for folder in HALF_MAP_FOLDERS:
        paths: list[Path] = []
        with contextlib.suppress(OSError):
            paths = sorted(path for path in (map_path.parent / folder).iterdir() if HALF_MAP_NAME.search(path.name))
        for path in paths:
            other = other_half_path(path)
            if other in paths and path != map_path and _is_first_half_of(path, map_path):
                return path, other
    return None


def _is_first_half_of(path: Path, map_path: Path) -> bool:
    return full_map_stem(path) == map_stem(map_path) and HALF_MAP_NAME.findall(path.name)[0] in "1aA"


def half_maps_hint(map_path: Path) -> str | None:
    """Suggest half maps of a map that the user did not pass; None if there are none."""
    half_maps = None if HALF_MAP_NAME.search(map_path.name) else find_half_maps(map_path)
    if half_maps is None:
        return None
    return f"Half maps of this map exist. To compare with their FSC, pass --half-maps {half_maps[0]} {half_maps[1]}"
