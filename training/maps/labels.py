"""Real maps whose local resolution is known otherwise: measured from their half maps, or read from a map of it.

They are rows of a CSV with files as seen from its folder. `map` and `mask` (1 = molecule) are always there; then either
`half1` and `half2`, or `local_resolution` and `global_resolution` (Å). `low_pass` (Å) may say where the map was
low-passed: nothing finer can be seen in it. What half maps say is what the command says with `--half-maps`.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cryores_lite.errors import CryoresError, InputError
from cryores_lite.half_maps.comparison import global_fsc_curves
from cryores_lite.half_maps.local_fsc import local_fsc
from cryores_lite.half_maps.pair import Pair, read_map_and_halves
from cryores_lite.io.mrc import read_map
from cryores_lite.types import Density, Mask, Volume

ALWAYS, HALVES = ("map", "mask"), ("half1", "half2")
KNOWN = ("local_resolution", "global_resolution")


@dataclass(frozen=True, eq=False)
class Labelled:
    """A map and what is known of it.

    Attributes
    ----------
    name : the map as the CSV has it
    density : the map
    local : (z, y, x) float32, Å, not finer than the low-pass; 0 where nothing is known
    inside : (z, y, x), molecule of known local resolution
    global_resolution : Å, FSC over the molecule at 0.143
    limit : Å, low-pass filter of the map, or 0
    """

    name: str
    density: Density
    local: Volume
    inside: Mask
    global_resolution: float
    limit: float


def read_labels(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV of labels, at least one.

    Raises
    ------
    SystemExit
        A row lacks what it must have.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows or [{}], 1):
        given = {column for column, value in row.items() if value}
        if not given.issuperset(ALWAYS) or not (given.issuperset(HALVES) or given.issuperset(KNOWN)):
            raise SystemExit(
                f"error: {path}: found {', '.join(sorted(given)) or 'nothing'} in row {number}, expected map, mask and "
                "either half1 and half2 or local_resolution and global_resolution; name the columns in the first line"
            )
    return rows


def labelled(row: dict[str, str], folder: Path) -> Labelled:
    """Read a row's map, and measure or read its local resolution.

    Raises
    ------
    SystemExit
        A file cannot be used, or they lie on different grids.
    """
    try:
        found, pair = read_map_and_halves(folder / row["map"], half_maps(row, folder), averaged=False, voxel_size=None)
        mask = read_map(folder / row["mask"]).density.values > 0.5
        refuse_other_grids(found.density.values, mask)
        if pair:
            local, overall = measured(pair, mask)
        else:
            local, overall = read_map(folder / row["local_resolution"]).density.values, float(row["global_resolution"])
            refuse_other_grids(found.density.values, local)
    except CryoresError as error:
        raise SystemExit(f"error: {row['map']}: {error}") from None
    limit = float(row.get("low_pass") or 0)
    known = np.where(local > 0, np.maximum(local, np.float32(limit)), 0).astype(np.float32)
    return Labelled(row["map"], found.density, known, mask & (local > 0), overall, limit)


def half_maps(row: dict[str, str], folder: Path) -> tuple[Path, Path] | None:
    """The half maps of a row that names them."""
    return (folder / row["half1"], folder / row["half2"]) if row.get("half1") and row.get("half2") else None


def measured(pair: Pair, mask: Mask) -> tuple[Volume, float]:
    """Local resolution from half maps, and that of the whole molecule, in Å."""
    return local_fsc(pair.first, pair.second).values, global_fsc_curves(pair, mask).resolution()


def refuse_other_grids(values: Volume, other: Volume | Mask) -> None:
    """Refuse a mask or a local resolution that has not the map's voxels.

    Raises
    ------
    InputError
        Its shape is another.
    """
    if values.shape != other.shape:
        raise InputError(
            "its files do not match",
            found=f"{other.shape} voxels",
            expected=f"{values.shape}",
            try_="make mask and local resolution on the map's grid",
        )
