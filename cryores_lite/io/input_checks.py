"""What a map may be that is no final density, told from its values and its name. Cheap, and quiet when in doubt.

Averages over blocks of a few Å are skewed: a little molecule stands out of much solvent. Over the final maps that we
have (experimental and simulated, masked or not) their skewness is 2.1 to 6.9; it is about 0 for noise and for the
difference of two maps, and negative where the contrast is inverted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cryores_lite.errors import InputError
from cryores_lite.io.half_map_names import HALF
from cryores_lite.io.mrc import Map
from cryores_lite.types import Volume

BLOCK = 5.0  # Å
ENOUGH = 500  # blocks, from which on their distribution is judged
PLATEAU = 0.1  # share of a mask's voxels above its lowest that hold its highest value
HOT = 10.0  # by this factor a hot voxel exceeds all but FEW others
FEW = 8
CONSTANT = 0.05  # share of voxels with one value, at least, outside the molecule of a local-resolution map
RESOLUTIONS = (1.5, 100.0)  # of a local-resolution map: voxels, Å
SPREAD = 0.5  # standard deviation of local resolution over its mean, at most


@dataclass(frozen=True)
class Traits:
    """What tells kinds of maps apart.

    Attributes
    ----------
    lowest, highest : values
    plateau : share of the voxels above the lowest value that hold the highest
    skewness, excess : of block averages, 0 for noise; None where there are too few blocks
    extreme : voxels that come near the value farthest from the typical one
    """

    lowest: float
    highest: float
    plateau: float
    skewness: float | None
    excess: float | None
    extreme: int


def check_input(map_path: Path, found: Map, by_name: bool = True) -> Map:
    """Add hints to the warnings of a map, or refuse a mask.

    Parameters
    ----------
    map_path : to be named
    by_name : does its name say what it is? Not where half maps were asked for: there they are no mistake

    Raises
    ------
    InputError
        The map is a mask: it holds no density at all.
    """
    values, voxel_size = found.density.values, min(found.density.grid.voxel_size)
    looks = traits(values, voxel_size)
    if looks.plateau >= PLATEAU:
        raise InputError(
            f"{map_path.name}, values",
            found=f"a mask ({looks.plateau:.0%} of what is above its lowest value is one plateau)",
            expected="a density",
            try_="pass the map that the mask was made for",
        )
    if looks.lowest >= 0 and is_local_resolution(values, voxel_size):
        said: tuple[str, ...] = (
            f"Its values (up to {looks.highest:.3g}) look like a local-resolution map in Å: pass the density.",
        )
    else:
        said = hints(map_path.name if by_name else "", looks)
    return replace(found, warnings=(*found.warnings, *said))


def hints(name: str, looks: Traits) -> tuple[str, ...]:
    """Sentences for the user about a map that is, by its name or its values, something else than a final density."""
    said = []
    if HALF.search(name):
        said.append("By its name this is a half map. Its noise is stronger than the final map's: pass the final one.")
    if looks.skewness is not None and looks.excess is not None:
        if looks.skewness < -1:
            said.append("The molecule is darker than the solvent: the contrast looks inverted; if so, multiply by -1.")
        elif abs(looks.skewness) < 0.25 and looks.excess > -0.25:
            said.append("No molecule stands out: it looks like noise or a difference of two maps. Pass the final map.")
    if looks.extreme < FEW:
        said.append(f"Very few voxels ({looks.extreme}) exceed all others {HOT:g} times: replace such artefacts.")
    return tuple(said)


def is_local_resolution(values: Volume, voxel_size: float) -> bool:
    """One value outside, and inside lengths: none near 0, not far apart, and the lowest are not the commonest."""
    inside = values[values != values[0, 0, 0]]
    if inside.size > (1 - CONSTANT) * values.size:
        return False
    shortest, longest = RESOLUTIONS[0] * voxel_size, RESOLUTIONS[1]
    low, high = float(inside.min()), float(inside.max())
    spread, mean = (float(f(inside, dtype=np.float64)) for f in (np.std, np.mean))
    bottom = np.count_nonzero(inside < low + 0.1 * (high - low)) / inside.size
    return shortest <= low < high <= longest and spread < SPREAD * mean and bottom < 0.5


def traits(values: Volume, voxel_size: float) -> Traits:
    """Measure what tells kinds of maps apart, in passes that take the memory of a few planes.

    Parameters
    ----------
    values : (z, y, x), finite, not constant
    voxel_size : Å
    """
    lowest, highest = (float(end) for end in (values.min(), values.max()))
    blocks = block_means(values, max(1, round(BLOCK / voxel_size)))
    typical = float(np.median(blocks)) if blocks.size else 0.0
    near = max(highest - typical, typical - lowest) / HOT
    above = top = extreme = 0
    for plane in values:
        above += int(np.count_nonzero(plane > lowest))
        top += int(np.count_nonzero(plane == highest))
        extreme += int(np.count_nonzero(plane > typical + near)) + int(np.count_nonzero(plane < typical - near))
    return Traits(lowest, highest, top / above, *_shape_of(blocks), extreme)


def block_means(values: Volume, edge: int) -> Volume:
    """Averages over whole cubes of `edge` voxels, as one list."""
    z, y, x = (n // edge for n in values.shape)
    layers = []
    for start in range(0, z * edge, edge):
        plane = values[start : start + edge, : y * edge, : x * edge].sum(0)
        layers.append(plane.reshape(y, edge, x * edge).sum(1).reshape(y, x, edge).sum(2))
    return np.array(layers, np.float32).ravel() / np.float32(edge**3)


def _shape_of(blocks: Volume) -> tuple[float | None, float | None]:
    """Skewness and excess kurtosis of at least `ENOUGH` numbers that differ."""
    if blocks.size < ENOUGH:
        return None, None
    away = blocks - blocks.mean(dtype=np.float64)
    spread = float(np.sqrt(np.mean(away**2)))
    if spread == 0:
        return None, None
    return float(np.mean((away / spread) ** 3)), float(np.mean((away / spread) ** 4)) - 3
