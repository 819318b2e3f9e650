"""Refuse half maps whose local FSC is not the local resolution: a label from them would be wrong.

The checks are those of ``--half-maps``, which only warns. docs/training.md has the errors of the labels on both sides
of each limit, and the command that measures them.
"""

from __future__ import annotations

import numpy as np

from cryores_lite.errors import InputError
from cryores_lite.half_maps.alignment import displacement_texts, measure_alignment
from cryores_lite.half_maps.comparison import half_map_warnings, molecule_region
from cryores_lite.half_maps.directions import measure_directions
from cryores_lite.half_maps.fsc_curves import FscCurves, global_fsc, soft_mask
from cryores_lite.half_maps.independence import DEPENDENT_FSC
from cryores_lite.half_maps.masking import MAX_MASK_FSC, MAX_UNEQUAL, common_region, measure_masking
from cryores_lite.half_maps.pair import HalfMapPair
from cryores_lite.method.coarse_voxels import scale_factor
from cryores_lite.types import Lengths, Mask, Volume

MAX_SOLVENT_FSC = 0.05  # common noise of a tenth of the power makes a label 10 % too fine
MAX_DISPLACEMENT = 0.4  # voxels: a label from half maps that are 0.5 voxels apart is up to 3 % too coarse
MAX_RATIO = 1.3  # of the worst to the best resolution by direction
UNMASKED = "make the label from the half maps before masking"


def check_label(pair: HalfMapPair, mask: Mask, local: Volume, curves: FscCurves) -> None:
    """Refuse half maps that give a wrong label.

    Parameters
    ----------
    pair : half maps
    mask : (z, y, x) bool, the molecule
    local : (z, y, x) local resolution from the half maps, in Å
    curves : their global FSC in the mask

    Raises
    ------
    InputError
        They share noise or do not correlate, one is displaced, a mask raises their FSC, or views are missing.
    """
    inside = local[mask & (local > 0)]
    check_masking(pair, float(np.median(inside)) if inside.size else float("nan"))
    check_noise(pair, mask)
    check_correlation(pair, inside)
    check_alignment(pair)
    check_directions(pair, mask, curves)


def check_noise(pair: HalfMapPair, mask: Mask) -> None:
    """Refuse half maps that share noise: they correlate in solvent too. A mask leaves no solvent to compare."""
    first, second, voxel_size = pair.first.values, pair.second.values, pair.first.grid.voxel_size
    shared = pair.lowest_shell_fsc if pair.lowest_shell_fsc > DEPENDENT_FSC else 0.0
    if common_region(first, second) is None:
        shared = max(shared, solvent_fsc(first, second, mask, voxel_size))
    if shared > MAX_SOLVENT_FSC:
        raise _refused(
            f"an FSC of {shared:.2f} in solvent: common noise",
            f"at most {MAX_SOLVENT_FSC:g}",
            "pass half maps that were refined separately, as the reconstruction program wrote them",
        )


def solvent_fsc(first: Volume, second: Volume, mask: Mask, voxel_size: Lengths) -> float:
    """Return the mean FSC of two half maps outside a mask, over the waves of the finer half of the shells."""
    outside = 1 - soft_mask(mask, voxel_size)
    frequencies, fsc = global_fsc(first * outside, second * outside, voxel_size)
    fine = frequencies > frequencies[-1] / 2
    return float(np.average(fsc[fine], weights=frequencies[fine] ** 2))


def check_correlation(pair: HalfMapPair, inside: Volume) -> None:
    """Refuse half maps that do not correlate.

    Parameters
    ----------
    inside : (n,) Å, local resolution from the half maps in the molecule
    """
    if half_map_warnings(0.0, inside, scale_factor(pair.first.grid.voxel_size)):
        raise _refused(
            "half maps that do not correlate in most of the molecule",
            "two half maps of one reconstruction",
            "check that neither was moved, rotated or inverted",
        )


def check_alignment(pair: HalfMapPair) -> None:
    """Refuse half maps of which one is displaced."""
    grid = pair.first.grid
    alignment = measure_alignment(pair.first.values, pair.second.values, grid.voxel_size)
    if alignment is None:
        return
    largest = max(alignment.shift_voxels, alignment.rotation_voxels, alignment.scale_voxels)
    displaced = displacement_texts(alignment)
    if displaced and largest > MAX_DISPLACEMENT:
        raise _refused(
            f"a second half map that is {' and '.join(displaced)}",
            "the same place, orientation and size as in the first",
            "align the half maps in one program, or pass the originals",
        )


def check_masking(pair: HalfMapPair, resolution: float) -> None:
    """Refuse half maps whose mask raises their FSC; other masks are corrected for in the local FSC.

    Parameters
    ----------
    resolution : Å, median local resolution
    """
    masking = measure_masking(pair.first.values, pair.second.values, pair.first.grid.voxel_size, resolution)
    if masking and masking.unequal > MAX_UNEQUAL:
        raise _refused(
            f"half maps with different masks: {masking.unequal:.0%} of the box is constant in one of them only",
            "one mask, or none",
            UNMASKED,
        )
    if masking and masking.mask_fsc > MAX_MASK_FSC:
        raise _refused(
            f"a mask that alone gives an FSC of {masking.mask_fsc:.2f} at the resolution",
            f"at most {MAX_MASK_FSC:g}",
            UNMASKED,
        )


def check_directions(pair: HalfMapPair, mask: Mask, curves: FscCurves) -> None:
    """Refuse half maps with missing views, whose resolution depends much on direction."""
    directions = measure_directions(*molecule_region(pair, mask), curves)
    if directions.significant and directions.views.ratio > MAX_RATIO:
        raise _refused(
            f"a resolution that differs by a factor of {directions.views.ratio:.2f} between directions: "
            f"{directions.sentence}",
            f"a factor of at most {MAX_RATIO:g}",
            "leave this map out, or add particles of the missing views",
        )


def _refused(found: str, expected: str, try_: str) -> InputError:
    return InputError("half maps that give a wrong label", found=found, expected=expected, try_=try_)
