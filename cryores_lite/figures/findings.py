"""What a reader of the page should know about an answer, in plain words. Pure functions; lengths are Å."""

from __future__ import annotations

import numpy as np

from cryores_lite.types import LocalResolution, Volume

PROTEIN = 0.81  # Da/Å³, at the usual 1.35 g/cm³
TRAINED = (1.3, 20.0)  # Å that the model was trained on
SAME = 0.2  # share of voxels with one value from which a map is called masked
SOME = 0.01  # share of the mask that is worth a sentence


def mass(mask_volume: float) -> float:
    """Mass in kDa of protein that fills a volume in Å³."""
    return PROTEIN * mask_volume / 1000


def notes(density: Volume, result: LocalResolution, trained: tuple[float, float] | None = TRAINED) -> list[str]:
    """What can be told from the map and its answer alone, as sentences.

    Parameters
    ----------
    density : (z, y, x), on the grid of `result`
    trained : Å that the model was trained on; None where there was no model
    """
    said = []
    same = np.count_nonzero(density == density[0, 0, 0]) / density.size
    if same > SAME:
        said.append(f"The map was masked or padded: {same:.0%} of its voxels hold one and the same value.")
    if _touches_edge(result.mask):
        said.append("The molecule reaches the edge of the box; voxels there are judged by less of their surroundings.")
    return said + _about_range(result, trained)


def _touches_edge(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> bool:
    return any(bool(np.take(mask, end, axis).any()) for axis in range(3) for end in (0, -1))


def _about_range(result: LocalResolution, trained: tuple[float, float] | None) -> list[str]:
    inside, finest = result.values[result.mask], 2 * max(result.grid.voxel_size)
    if not inside.size:
        return []
    said = []
    limited = float(np.mean(inside <= finest * 1.001))
    if limited > SOME:
        said.append(
            f"{limited:.0%} of the mask stands at {finest:.2f} Å, two voxels: nothing finer can be seen on this grid."
        )
    if trained is None:
        return said
    low, high = trained
    beyond = float(np.mean((inside < low) | (inside > high)))
    if beyond > SOME:
        said.append(f"{beyond:.0%} of the mask lies outside the {low:g} to {high:g} Å that the model was trained on.")
    return said
