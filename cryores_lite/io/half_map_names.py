"""Half maps by their names: of RELION, EMDB and cryoSPARC."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from cryores_lite.io.mrc import map_stem

HALF = re.compile(r"[_-]?half[_-]?(?:map[_-]?)?([12ab])(?![a-z0-9])", re.IGNORECASE)  # of RELION, EMDB, cryoSPARC
MATES = dict(zip("12abAB", "21baBA", strict=True))
ENDINGS = ("_unfil", "_unfiltered")  # of RELION's names
FOLDERS = (".", "other", "../other")  # where half maps lie, as seen from the map; EMDB keeps them in other/


def full_map_stem(path: Path) -> str:
    """Name of the map that a half map belongs to: ``run_half1_class001_unfil.mrc`` is of ``run_class001``."""
    stem = HALF.sub("", map_stem(path), count=1).strip("_-")
    for ending in ENDINGS:
        stem = stem.removesuffix(ending)
    return stem or map_stem(path)


def other_half_path(path: Path) -> Path | None:
    """The other half map by its name; None if the base name names no half."""
    found = HALF.search(path.name)
    if found is None:
        return None
    return path.with_name(path.name[: found.start(1)] + MATES[found[1]] + path.name[found.end(1) :])


def find_half_maps(map_path: Path) -> tuple[Path, Path] | None:
    """Half maps that lie beside a map and are named after it."""
    stem = map_stem(map_path)
    for folder in FOLDERS:
        names: list[Path] = []
        with contextlib.suppress(OSError):
            names = sorted(path for path in (map_path.parent / folder).iterdir() if HALF.search(path.name))
        for path in names:
            other = other_half_path(path)
            if (
                path != map_path
                and full_map_stem(path) == stem
                and other in names
                and HALF.findall(path.name)[0] in "1aA"
            ):
                return path, other
    return None


def suggestion(map_path: Path) -> str | None:
    """A sentence on half maps that were seen and not used."""
    found = None if HALF.search(map_path.name) else find_half_maps(map_path)
    if found is None:
        return None
    return f"half maps lie beside this map; to compare with their FSC: --half-maps {found[0]} {found[1]}"
