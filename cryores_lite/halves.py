"""Half maps beside a map: found by their names, read and checked, and set against what was found from the map alone."""

from __future__ import annotations

import contextlib
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from cryores_lite.copies import ALIKE, average
from cryores_lite.errors import InputError
from cryores_lite.fsc import check, local_fsc
from cryores_lite.mrc import Map, map_stem, read_map
from cryores_lite.steps.correlation import COARSEST, Curve
from cryores_lite.steps.crop import Box, cut
from cryores_lite.steps.shells import Shells, shell_fsc, soft_edge
from cryores_lite.types import Compared, Density, LocalResolution, Mask, Volume

HALF = re.compile(r"[_-]?half[_-]?(?:map[_-]?)?([12ab])(?![a-z0-9])", re.IGNORECASE)  # of RELION, EMDB, cryoSPARC
MATES = dict(zip("12abAB", "21baBA", strict=True))
ENDINGS = ("_unfil", "_unfiltered")  # of RELION's names
FOLDERS = (".", "other", "../other")  # where half maps lie, as seen from the map; EMDB keeps them in other/
ROOM = 20.0  # Å around the mask in which the whole maps' FSC is taken
SAME_SIZE = 1e-3  # relative difference of voxel sizes that rounding in headers makes
SAME_PLACE = 1e-2  # Å
HALF_CUT = 0.5
BINS = 32  # of the scatter, along each axis
UNEQUAL = 1.5  # ratio of the half maps' standard deviations from which their average is more the one than the other
SHOWN = (0.5, 99.5)  # percentiles between which it runs


@dataclass(frozen=True, eq=False)
class Pair:
    """Two half maps of one map, as read, and how alike they are (see `copies`)."""

    paths: tuple[Path, Path]
    first: Density
    second: Density
    likeness: float


def whole_stem(path: Path) -> str:
    """Name of the map that a half map belongs to: ``run_half1_class001_unfil.mrc`` is of ``run_class001``."""
    stem = HALF.sub("", map_stem(path), count=1).strip("_-")
    for ending in ENDINGS:
        stem = stem.removesuffix(ending)
    return stem or map_stem(path)


def mate(path: Path) -> Path | None:
    """The other half map by its name; None if the base name names no half."""
    found = HALF.search(path.name)
    if found is None:
        return None
    return path.with_name(path.name[: found.start(1)] + MATES[found[1]] + path.name[found.end(1) :])


def beside(map_path: Path) -> tuple[Path, Path] | None:
    """Half maps that lie beside a map and are named after it."""
    stem = map_stem(map_path)
    for folder in FOLDERS:
        names: list[Path] = []
        with contextlib.suppress(OSError):
            names = sorted(path for path in (map_path.parent / folder).iterdir() if HALF.search(path.name))
        for path in names:
            other = mate(path)
            if path != map_path and whole_stem(path) == stem and other in names and HALF.findall(path.name)[0] in "1aA":
                return path, other
    return None


def suggestion(map_path: Path) -> str | None:
    """A sentence on half maps that were seen and not used."""
    found = None if HALF.search(map_path.name) else beside(map_path)
    if found is None:
        return None
    return f"half maps lie beside this map; to compare with their FSC: --half-maps {found[0]} {found[1]}"


def gather(
    map_path: Path, paths: tuple[Path, Path] | None, averaged: bool, voxel_size: float | None
) -> tuple[Map, Pair | None]:
    """Read a map, or make it of its half maps, and read those if there are any."""
    if paths is None:
        return read_map(map_path, voxel_size=voxel_size), None
    pair, mean = read_pair(paths, voxel_size)
    if averaged:
        return mean, pair
    found = read_map(map_path, voxel_size=voxel_size)
    same_grid(found, mean, (map_path, paths[0]))
    return found, pair


def read_pair(paths: tuple[Path, Path], voxel_size: float | None) -> tuple[Pair, Map]:
    """Read two half maps; also give their average, with the first one's header.

    Raises
    ------
    InputError
        They lie on different grids or places, or are copies of one map.
    """
    first, second = (read_map(path, voxel_size=voxel_size) for path in paths)
    same_grid(first, second, paths)
    other = replace(second.density, grid=first.density.grid)
    common = check(first.density, other)
    density = Density(average(first.density.values, second.density.values), first.density.grid)
    warnings = [*first.warnings, *(said for said in second.warnings if said not in first.warnings)]
    low, high = sorted(float(one.density.values.std()) for one in (first, second))
    if high > UNEQUAL * low:
        warnings.append(
            f"the half maps' scales differ by a factor of {high / low:.3g}: their average is more the one than the "
            "other; pass the final map too"
        )
    return Pair(paths, first.density, other, common), Map(density, first.header, tuple(warnings))


def same_grid(one: Map, other: Map, paths: tuple[Path, Path]) -> None:
    """Refuse two maps whose voxels do not lie on each other.

    Raises
    ------
    InputError
        Their boxes, voxel sizes, axes, origins or starts differ.
    """
    what = f"{paths[1].name} is not on the grid of {paths[0].name}"
    try_ = "pass maps of one reconstruction, neither cropped, binned nor moved"
    a, b = one.density.grid, other.density.grid
    if a.shape != b.shape or not np.allclose(a.voxel_size, b.voxel_size, rtol=SAME_SIZE):
        found, expected = (
            f"{' x '.join(map(str, g.shape))} voxels of {float(np.mean(g.voxel_size)):.4g} Å" for g in (b, a)
        )
        raise InputError(what, found=found, expected=expected, try_=try_)
    x, y = one.header, other.header
    if (x.axes, x.nstart) != (y.axes, y.nstart) or not np.allclose(x.origin, y.origin, atol=SAME_PLACE):
        found, expected = (f"origin {h.origin}, start {h.nstart}, axes {h.axes}" for h in (y, x))
        raise InputError(what, found=found, expected=expected, try_=try_)


def compare(pair: Pair, result: LocalResolution, threads: int = 1) -> Compared:
    """Local resolution from half maps inside the mask of an answer, the whole maps' FSC, and how both agree."""
    values = local_fsc(pair.first, pair.second, threads=threads).values
    np.copyto(values, 0, where=~result.mask)
    curves = whole_curves(pair, result.mask, threads)
    said = []
    if pair.likeness > ALIKE:
        said.append(
            f"the half maps correlate by {pair.likeness:.2f} or more at every detail that they hold, even in solvent: "
            "they are not independent, and their FSC is too good"
        )
    inside = (values > 0) & result.mask
    if inside.any() and np.median(values[inside]) >= COARSEST:
        said.append(
            "the half maps have nothing in common in most of the molecule: are they of one reconstruction, unmoved, "
            "neither turned nor inverted?"
        )
    theirs, ours = values[inside].astype(float), result.values[inside].astype(float)
    varies = bool(theirs.size) and theirs.std() > 0 and ours.std() > 0
    edges, counts = scatter(theirs, ours)
    named = {"unmasked": curves.unmasked, "masked": curves.masked, "randomised": curves.randomised}
    named["corrected"] = curves.corrected
    return Compared(
        pair.paths,
        values,
        rounded(curves.frequencies, 6),
        {name: rounded(curve, 4) for name, curve in named.items() if curve is not None},
        curves.resolution(),
        curves.resolution(HALF_CUT),
        float(np.median(theirs)) if theirs.size else math.nan,
        float(np.corrcoef(theirs, ours)[0, 1]) if varies else math.nan,
        float(np.sqrt(np.mean((ours - theirs) ** 2))) if theirs.size else math.nan,
        float(np.mean(ours - theirs)) if theirs.size else math.nan,
        edges,
        counts,
        tuple(said),
    )


def difference(result: LocalResolution, compared: Compared) -> Volume:
    """Answer minus local resolution from half maps, in Å; 0 outside the mask."""
    apart: Volume = np.where(compared.values > 0, result.values - compared.values, 0).astype(np.float32)
    return apart


def rounded(values: Curve, digits: int) -> list[float]:
    """Numbers for JSON."""
    return [round(float(value), digits) for value in values]


def scatter(theirs: Curve, ours: Curve) -> tuple[list[float], list[list[int]]]:
    """Edges in Å, and counts of voxels by local resolution from half maps (rows) and from the answer (columns)."""
    if not theirs.size:
        return [], []
    low = min(float(np.percentile(v, SHOWN[0])) for v in (theirs, ours))
    high = max(float(np.percentile(v, SHOWN[1])) for v in (theirs, ours))
    edges: Curve = np.linspace(low, max(high, low * 1.01), BINS + 1)
    rows, columns = (np.searchsorted(edges[1:-1], v) for v in (theirs, ours))
    counts = np.bincount(rows * BINS + columns, minlength=BINS**2).reshape(BINS, BINS)
    return rounded(edges, 4), counts.tolist()


def whole_curves(pair: Pair, mask: Mask, threads: int = 1) -> Shells:
    """FSC of the two half maps in the box around the molecule, with its mask and without."""
    grid = pair.first.grid
    found = ndimage.find_objects(mask.astype(np.int8))
    if not found:
        return shell_fsc(pair.first.values, pair.second.values, grid.voxel_size, None, threads)
    room = [int(np.ceil(ROOM / v)) for v in grid.voxel_size]
    low = [max(0, side.start - r) for side, r in zip(found[0], room, strict=True)]
    high = [min(n, side.stop + r) for side, r, n in zip(found[0], room, grid.shape, strict=True)]
    z, y, x = (b - a for a, b in zip(low, high, strict=True))
    box = Box((low[0], low[1], low[2]), (z, y, x))
    halves = cut(pair.first.values, box), cut(pair.second.values, box)
    return shell_fsc(*halves, grid.voxel_size, soft_edge(mask[box.slices], grid.voxel_size), threads)
