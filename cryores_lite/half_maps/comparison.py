"""Half maps beside a map: found by their names, read and checked, and set against what was found from the map alone."""

from __future__ import annotations

import math

import numpy as np

from cryores_lite.fourier.fsc import COARSEST_BAND, Curve
from cryores_lite.fourier.grids import bounding_slices
from cryores_lite.half_maps.fsc_curves import Shells, shell_fsc, soft_edge
from cryores_lite.half_maps.independence import ALIKE
from cryores_lite.half_maps.local_fsc import local_fsc
from cryores_lite.half_maps.pair import Pair
from cryores_lite.method.crop import Box, cut
from cryores_lite.types import HalfMapComparison, LocalResolution, Mask, Volume

ROOM = 20.0  # Å around the mask in which the whole maps' FSC is taken
HALF_CUT = 0.5
BINS = 32  # of the scatter, along each axis
SHOWN = (0.5, 99.5)  # percentiles between which it runs


def compare(pair: Pair, result: LocalResolution, threads: int = 1) -> HalfMapComparison:
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
    if inside.any() and np.median(values[inside]) >= COARSEST_BAND:
        said.append(
            "the half maps have nothing in common in most of the molecule: are they of one reconstruction, unmoved, "
            "neither turned nor inverted?"
        )
    theirs, ours = values[inside].astype(float), result.values[inside].astype(float)
    varies = bool(theirs.size) and theirs.std() > 0 and ours.std() > 0
    edges, counts = scatter(theirs, ours)
    named = {"unmasked": curves.unmasked, "masked": curves.masked, "randomised": curves.phase_randomised}
    named["corrected"] = curves.corrected
    return HalfMapComparison(
        paths=pair.paths,
        values=values,
        frequencies=rounded(curves.frequencies, 6),
        curves={name: rounded(curve, 4) for name, curve in named.items() if curve is not None},
        resolution=curves.resolution(),
        resolution_half=curves.resolution(HALF_CUT),
        median=float(np.median(theirs)) if theirs.size else math.nan,
        r=float(np.corrcoef(theirs, ours)[0, 1]) if varies else math.nan,
        rmse=float(np.sqrt(np.mean((ours - theirs) ** 2))) if theirs.size else math.nan,
        bias=float(np.mean(ours - theirs)) if theirs.size else math.nan,
        edges=edges,
        counts=counts,
        warnings=tuple(said),
    )


def difference(result: LocalResolution, compared: HalfMapComparison) -> Volume:
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
    bounds = bounding_slices(mask)
    if bounds is None:
        return shell_fsc(pair.first.values, pair.second.values, grid.voxel_size, None, threads)
    room = [int(np.ceil(ROOM / v)) for v in grid.voxel_size]
    low = [max(0, side.start - r) for side, r in zip(bounds, room, strict=True)]
    high = [min(n, side.stop + r) for side, r, n in zip(bounds, room, grid.shape, strict=True)]
    z, y, x = (b - a for a, b in zip(low, high, strict=True))
    box = Box((low[0], low[1], low[2]), (z, y, x))
    halves = cut(pair.first.values, box), cut(pair.second.values, box)
    return shell_fsc(*halves, grid.voxel_size, soft_edge(mask[box.slices], grid.voxel_size), threads)
