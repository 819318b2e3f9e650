"""Comparison of the local resolution from one map with the FSC of its half maps."""

from __future__ import annotations

import math

import numpy as np
from scipy import fft

from cryores_lite.fourier.criterion import Criterion
from cryores_lite.fourier.fsc import COARSEST_BAND, Curve
from cryores_lite.fourier.grids import bounding_slices
from cryores_lite.half_maps.alignment import alignment_warnings, measure_alignment
from cryores_lite.half_maps.directions import directions_of_waves
from cryores_lite.half_maps.fsc_curves import FscCurves, curves_and_waves, fsc_curves, soft_mask
from cryores_lite.half_maps.independence import DEPENDENT_FSC
from cryores_lite.half_maps.local_directions import measure_local_directions
from cryores_lite.half_maps.local_fsc import LocalFsc, checked_local_fsc, threshold_of
from cryores_lite.half_maps.masking import masking_warnings, measure_masking
from cryores_lite.half_maps.pair import HalfMapPair
from cryores_lite.method.coarse_voxels import scale_factor, scaled_down
from cryores_lite.method.crop import Box, cut
from cryores_lite.types import Alignment, HalfMapComparison, Lengths, LocalResolution, Mask, Masking, Volume

GLOBAL_FSC_MARGIN = 20.0  # Å around the mask: the box of the global FSC
FACE_FADE = 6  # voxels in which a mask that reaches a face of the box falls to 0
AT_COARSEST_BAND = 0.9999  # share of the first band's resolution: medians from here on are at that band
FSC_HALF = 0.5  # second threshold of the global FSC
FSC_RELATIVE_ERROR = 0.05  # of local resolution by FSC 0.143: median over the simulated pairs of docs/FILTER.md
CLEAR_Z = 2.0  # difference over the error of both, from which it is clear
SCATTER_BINS = 32  # along each axis
SCATTER_PERCENTILES = (0.5, 99.5)  # of local resolution: the range of the bins


def compare(
    pair: HalfMapPair,
    result: LocalResolution,
    threads: int = 1,
    local: LocalFsc | None = None,
    criterion: Criterion = Criterion.fsc_0143,
    *,
    local_directions: bool = False,
) -> HalfMapComparison:
    """Measure local and global FSC of half maps and their agreement with the local resolution from one map.

    Parameters
    ----------
    pair : half maps on the grid of `result`
    result : local resolution from the map; its mask limits the comparison
    threads : CPU threads
    local : local FSC of the half maps, if it is measured already; its values outside the mask are set to 0
    criterion : of the local FSC
    local_directions : also measure the local resolution by direction
    """
    if local is None:
        threshold = threshold_of(criterion)
        local = checked_local_fsc(pair.first, pair.second, threshold=threshold, threads=threads)
    values = local.values
    np.copyto(values, 0, where=~result.mask)
    curves, waves = curves_and_waves(*molecule_region(pair, result.mask), threads, pair.release_pages)
    directions = directions_of_waves(waves, curves)
    del waves
    by_direction = (
        measure_local_directions(pair.first, pair.second, result.mask, directions, local, threads)
        if local_directions
        else None
    )
    inside = (values > 0) & result.mask
    half_maps, estimate = values[inside].astype(float), result.values[inside].astype(float)
    varies = bool(half_maps.size) and np.ptp(half_maps) > 0 and np.ptp(estimate) > 0
    edges, counts = scatter(half_maps, estimate)
    alignment, masking = comparability(pair, values[inside], threads)
    pair.release_pages()
    by_name = {
        "unmasked": curves.unmasked,
        "masked": curves.masked,
        "randomised": curves.phase_randomised,
        "corrected": curves.corrected,
    }
    error = result.uncertainty[inside] if criterion is Criterion.fsc_0143 else np.full(half_maps.size, np.nan)
    finer, coarser = clear_shares(estimate, half_maps, error)
    return HalfMapComparison(
        paths=pair.paths,
        criterion=criterion.value,
        values=values,
        frequencies=rounded(curves.frequencies, 6),
        curves={name: rounded(curve, 4) for name, curve in by_name.items() if curve is not None},
        resolution=curves.resolution(),
        resolution_half=curves.resolution(FSC_HALF),
        median=float(np.median(half_maps)) if half_maps.size else math.nan,
        r=float(np.corrcoef(half_maps, estimate)[0, 1]) if varies else math.nan,
        rmse=float(np.sqrt(np.mean((estimate - half_maps) ** 2))) if half_maps.size else math.nan,
        bias=float(np.mean(estimate - half_maps)) if half_maps.size else math.nan,
        finer=finer,
        coarser=coarser,
        edges=edges,
        counts=counts,
        directions=directions,
        worst=by_direction.worst if by_direction else None,
        anisotropy=by_direction.anisotropy if by_direction else None,
        alignment=alignment,
        masking=masking,
        warnings=(
            *half_map_warnings(pair.lowest_shell_fsc, values[inside], scale_factor(result.grid.voxel_size)),
            *criterion_warnings(criterion),
            *alignment_warnings(alignment),
            *masking_warnings(masking),
        ),
    )


def comparability(
    pair: HalfMapPair, local_resolution: Volume, threads: int = 1
) -> tuple[Alignment | None, Masking | None]:
    """Measure how the half maps lie relative to each other, and how they were masked.

    Parameters
    ----------
    local_resolution : (n,) Å, from the half maps inside the molecule
    """
    first, second, voxel_size = pair.first.values, pair.second.values, pair.first.grid.voxel_size
    resolution = float(np.median(local_resolution)) if local_resolution.size else math.nan
    masking = measure_masking(first, second, voxel_size, resolution, threads)
    return measure_alignment(first, second, voxel_size), masking


def half_map_warnings(lowest_shell_fsc: float, local_resolution: Volume, scale: float = 1.0) -> tuple[str, ...]:
    """Return warnings for half maps that share noise, or share no signal.

    Parameters
    ----------
    lowest_shell_fsc : lowest FSC of the half maps in any shell (see `independence`)
    local_resolution : (n,) Å, from the half maps inside the mask
    scale : `scale_factor` of the maps
    """
    warnings = []
    if lowest_shell_fsc > DEPENDENT_FSC:
        warnings.append(
            f"The half maps are not independent: their FSC is {lowest_shell_fsc:.2f} or more in every shell, also in "
            "solvent. Local and global FSC resolution are too optimistic."
        )
    if local_resolution.size and np.median(local_resolution) >= AT_COARSEST_BAND * scale * COARSEST_BAND:
        warnings.append(
            "The half maps do not correlate in most of the molecule. Check that they come from one reconstruction and "
            "that neither was moved, rotated or inverted."
        )
    return tuple(warnings)


def clear_shares(estimate: Curve, half_maps: Curve, error: Volume) -> tuple[float, float]:
    """Return the shares of voxels whose estimate is finer, and coarser, by more than twice the error of both.

    Parameters
    ----------
    estimate, half_maps : (n,) local resolution in Å
    error : (n,) standard deviation of the estimate's error in Å; NaN if it is unknown
    """
    if not estimate.size or not np.isfinite(error).all():
        return math.nan, math.nan
    limit = clear_limit(half_maps, error)
    return float(np.mean(estimate < half_maps - limit)), float(np.mean(estimate > half_maps + limit))


def clear_limit(half_maps: Curve, error: Volume) -> Curve:
    """Return twice the error of both, in Å: larger differences are clear. Parameters as in `clear_shares`."""
    out: Curve = CLEAR_Z * np.hypot(error, FSC_RELATIVE_ERROR * half_maps)
    return out


def clear_differences(result: LocalResolution, comparison: HalfMapComparison) -> Mask | None:
    """Return the voxels where the estimate and half-map FSC differ by more than twice the error of both.

    None if the estimate has no error, or the criteria differ.
    """
    if math.isnan(comparison.finer):
        return None
    inside = (comparison.values > 0) & result.mask
    half_maps, error = comparison.values[inside].astype(float), result.uncertainty[inside]
    out = np.zeros_like(inside)
    out[inside] = np.abs(result.values[inside] - half_maps) > clear_limit(half_maps, error)
    return out


def criterion_warnings(criterion: Criterion) -> tuple[str, ...]:
    """Return a warning for a criterion other than that of the estimate."""
    if criterion is Criterion.fsc_0143:
        return ()
    return (
        f"The local resolution from half maps is that of the criterion {criterion.text}, and the estimate from the map "
        "is that of FSC 0.143: their difference includes that of the criteria.",
    )


def difference(result: LocalResolution, comparison: HalfMapComparison) -> Volume:
    """Subtract local resolution by half-map FSC from the estimate: (z, y, x) float32, Å, 0 outside the mask."""
    out: Volume = result.values - comparison.values
    out[comparison.values <= 0] = 0
    return out


def rounded(values: Curve, digits: int) -> list[float]:
    """Round numbers for JSON."""
    return [round(float(value), digits) for value in values]


def scatter(half_maps: Curve, estimate: Curve) -> tuple[list[float], list[list[int]]]:
    """Count voxels by local resolution from half maps and from the estimate.

    Parameters
    ----------
    half_maps, estimate : (n,) Å

    Returns
    -------
    edges : (bins + 1,) Å, of the bins along both axes
    counts : (bins, bins), rows by `half_maps`, columns by `estimate`; outliers count in the outermost bins
    """
    if not half_maps.size:
        return [], []
    low = min(float(np.percentile(values, SCATTER_PERCENTILES[0])) for values in (half_maps, estimate))
    high = max(float(np.percentile(values, SCATTER_PERCENTILES[1])) for values in (half_maps, estimate))
    edges: Curve = np.linspace(low, max(high, low * 1.01), SCATTER_BINS + 1)
    rows, columns = (np.searchsorted(edges[1:-1], values) for values in (half_maps, estimate))
    counts = np.bincount(rows * SCATTER_BINS + columns, minlength=SCATTER_BINS**2).reshape(SCATTER_BINS, SCATTER_BINS)
    return rounded(edges, 4), counts.tolist()


def global_fsc_curves(pair: HalfMapPair, mask: Mask, threads: int = 1) -> FscCurves:
    """Measure the global FSC of half maps in the box around the molecule, with and without its mask.

    Parameters
    ----------
    mask : (z, y, x) bool, the molecule; if it is empty, the complete maps are compared without a mask
    """
    return fsc_curves(*molecule_region(pair, mask), threads)


def molecule_region(pair: HalfMapPair, mask: Mask) -> tuple[Volume, Volume, Lengths, Volume | None]:
    """Cut half maps to the box around the molecule, for the global FSC.

    Parameters
    ----------
    mask : (z, y, x) bool, the molecule; if it is empty, the complete maps are compared without a mask

    Returns
    -------
    first, second : (z, y, x) float32
    voxel_size : Å
    soft : (z, y, x) float32, the mask with a soft edge, or None
    """
    grid = pair.first.grid
    molecule = bounding_slices(mask)
    if molecule is None:
        return pair.first.values, pair.second.values, grid.voxel_size, None
    scaled = scaled_down(pair.first)[0].grid.voxel_size
    margin = [int(np.ceil(GLOBAL_FSC_MARGIN / v)) for v in scaled]
    low = [max(0, side.start - m) for side, m in zip(molecule, margin, strict=True)]
    high = [min(n, side.stop + m) for side, m, n in zip(molecule, margin, grid.shape, strict=True)]
    (a, d), (b, h), (c, w) = (quick_side(*side) for side in zip(low, high, grid.shape, strict=True))
    box = Box((a, b, c), (d, h, w))
    first, second = cut(pair.first.values, box), cut(pair.second.values, box)
    return first, second, grid.voxel_size, faded_at_faces(soft_mask(mask[box.slices], scaled))


def quick_side(low: int, high: int, n: int) -> tuple[int, int]:
    """Extend the side of a box to a length that is quick to transform, where the grid of `n` voxels holds it.

    Returns
    -------
    first voxel and number of voxels
    """
    length = int(fft.next_fast_len(high - low, real=True))
    if length > n:
        return low, high - low
    return min(max(0, low - (length - (high - low)) // 2), n - length), length


def faded_at_faces(mask: Volume) -> Volume:
    """Let a mask fall to 0 towards the faces of its box: density that is cut off there correlates in all shells."""
    faded = mask
    for axis, n in enumerate(mask.shape):
        distance = np.minimum(np.arange(n), np.arange(n)[::-1])
        profile = np.sin(0.5 * np.pi * np.clip((distance + 0.5) / FACE_FADE, 0, 1)) ** 2
        faded = faded * profile.reshape([-1 if a == axis else 1 for a in range(3)]).astype(np.float32)
    return faded
