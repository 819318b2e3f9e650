"""Notes for the reader of the HTML report, from a map and its local resolution. Pure functions."""

from __future__ import annotations

import numpy as np

from cryores_lite.types import LocalResolution, Mask, Volume

PROTEIN_DENSITY = 0.81  # Da/Å³, that is 1.35 g/cm³
TRAINING_RANGE = (1.3, 20.0)  # Å, local resolution in the training data
MAX_CONSTANT_FRACTION = 0.2  # of voxels with the value of the first voxel; more: the map was masked or padded
MIN_MASK_FRACTION = 0.01  # of the mask that must be affected for a note


def protein_mass(volume: float) -> float:
    """Return the mass (kDa) of protein that fills a volume (Å³)."""
    return PROTEIN_DENSITY * volume / 1000


def map_notes(
    density: Volume, result: LocalResolution, training_range: tuple[float, float] | None = TRAINING_RANGE
) -> list[str]:
    """Return sentences about what limits the local resolution of this map.

    Parameters
    ----------
    density : (z, y, x), on the grid of `result`
    training_range : Å, of the network's training data; None for the statistical method
    """
    notes = []
    constant = np.count_nonzero(density == density[0, 0, 0]) / density.size
    if constant > MAX_CONSTANT_FRACTION:
        notes.append(f"The map is masked or padded: {constant:.0%} of its voxels have the same value.")
    if _touches_edge(result.mask):
        notes.append("The molecule reaches the edge of the box: local resolution is less reliable there.")
    return notes + _range_notes(result, training_range)


def _touches_edge(mask: Mask) -> bool:
    return any(bool(np.take(mask, end, axis).any()) for axis in range(3) for end in (0, -1))


def _range_notes(result: LocalResolution, training_range: tuple[float, float] | None) -> list[str]:
    inside, nyquist = result.values[result.mask], 2 * max(result.grid.voxel_size)
    if not inside.size:
        return []
    notes = []
    at_nyquist = float(np.mean(inside <= nyquist * 1.001))
    if at_nyquist > MIN_MASK_FRACTION:
        notes.append(
            f"{at_nyquist:.0%} of the mask is at {nyquist:.2f} Å, the Nyquist limit of this grid (two voxels): the map "
            "cannot show finer detail."
        )
    if training_range is None:
        return notes
    low, high = training_range
    outside_range = float(np.mean((inside < low) | (inside > high)))
    if outside_range > MIN_MASK_FRACTION:
        notes.append(
            f"{outside_range:.0%} of the mask is outside {low:.3g} to {high:.3g} Å, the range of the training data."
        )
    return notes
