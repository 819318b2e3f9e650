"""Real maps with known local resolution, measured from half maps or read from a local-resolution map.

Each row of a CSV describes a map; paths are relative to the folder of the CSV. The columns `map` and `mask` (1 =
molecule) are required, and either `half1` and `half2` or `local_resolution` and `global_resolution` (Å). `low_pass` (Å)
is optional: the resolution at which the map was low-passed. Half maps are measured and checked as with
``--half-maps``.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from cryores_lite.errors import InputError
from cryores_lite.half_maps.comparison import global_fsc_curves
from cryores_lite.half_maps.local_fsc import checked_local_fsc
from cryores_lite.half_maps.pair import HalfMapPair, read_map_and_halves
from cryores_lite.io.mrc import read_map
from cryores_lite.types import Mask, Volume
from training.maps.known_map import KnownMap, MapKind, Placement
from training.maps.label_checks import check_label
from training.maps.processing import nearest_inside

REQUIRED_COLUMNS = ("map", "mask")
HALF_MAP_COLUMNS = ("half1", "half2")
LOCAL_RESOLUTION_COLUMNS = ("local_resolution", "global_resolution")
REAL_MAP_KIND = MapKind("real", "real", "real", "real")


def read_labels(path: Path) -> list[dict[str, str]]:
    """Read the rows of a CSV of real maps, at least one.

    Raises
    ------
    SystemExit
        A row lacks a required column.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows or [{}], 1):
        filled = {column for column, value in row.items() if value}
        has_resolution = filled.issuperset(HALF_MAP_COLUMNS) or filled.issuperset(LOCAL_RESOLUTION_COLUMNS)
        if not (filled.issuperset(REQUIRED_COLUMNS) and has_resolution):
            raise SystemExit(
                f"error: {path}: found {', '.join(sorted(filled)) or 'nothing'} in row {number}, expected map, mask "
                "and either half1 and half2 or local_resolution and global_resolution; name the columns in the first "
                "line"
            )
    return rows


def read_known_map(row: dict[str, str], folder: Path) -> KnownMap:
    """Read the map of a row, and measure or read its local resolution.

    The mask is the part of the row's mask in which the local resolution is known.

    Raises
    ------
    CryoresError
        A file cannot be used, the files are on different grids, or half maps give a wrong label (`label_checks`).
    """
    map_path, half_paths, pair = folder / row["map"], half_map_paths(row, folder), None
    if half_paths:
        full_map, pair = read_map_and_halves(map_path, half_paths, averaged=False, voxel_size=None)
    else:
        full_map = read_map(map_path)
    density = full_map.density
    mask = read_map(folder / row["mask"]).density.values > 0.5
    check_same_shape(density.values, mask)
    if pair:
        local, global_resolution = measure_resolution(pair, mask)
    else:
        local = read_map(folder / row["local_resolution"]).density.values
        global_resolution = float(row["global_resolution"])
        check_same_shape(density.values, local)
    limit = float(row.get("low_pass") or 0)
    visible = np.where(local > 0, np.maximum(local, np.float32(limit)), 0).astype(np.float32)
    inside = mask & (local > 0)
    return KnownMap(
        density=density,
        mask=inside,
        truth=nearest_inside(visible, inside),
        placement=Placement(density.grid.shape),
        global_resolution=global_resolution,
        low_pass_limit=limit,
        kind=REAL_MAP_KIND,
    )


def half_map_paths(row: dict[str, str], folder: Path) -> tuple[Path, Path] | None:
    """Paths of the half maps of a row, or None if it does not name two."""
    return (folder / row["half1"], folder / row["half2"]) if row.get("half1") and row.get("half2") else None


def measure_resolution(pair: HalfMapPair, mask: Mask) -> tuple[Volume, float]:
    """Measure the local resolution and the global resolution of the molecule from half maps, in Å.

    Raises
    ------
    InputError
        The half maps give a wrong label.
    """
    local, curves = checked_local_fsc(pair.first, pair.second).values, global_fsc_curves(pair, mask)
    check_label(pair, mask, local, curves)
    return local, curves.resolution()


def check_same_shape(values: Volume, other: Volume | Mask) -> None:
    """Refuse a mask or a local resolution whose shape differs from that of its map.

    Raises
    ------
    InputError
        The shapes differ.
    """
    if values.shape != other.shape:
        raise InputError(
            "its files do not match",
            found=f"{other.shape} voxels",
            expected=f"{values.shape}",
            try_="make mask and local resolution on the map's grid",
        )
