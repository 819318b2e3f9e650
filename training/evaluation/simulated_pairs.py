"""Simulated half maps with their truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cryores_lite.half_maps.independence import mean_map
from cryores_lite.types import Density, Grid, Mask, Volume
from training.evaluation.cases import Case
from training.maps.recipe import Recipe
from training.maps.simulate import draw_halves, draw_signal
from training.maps.structures import Structure, read_manifest


@dataclass(frozen=True, eq=False, kw_only=True)
class SimulatedPair:
    """Two simulated half maps.

    Attributes
    ----------
    name, kind : of the structure, and of the molecule
    first, second : the half maps
    truth : (z, y, x) local resolution in Å, 0 outside the molecule
    noise_free : (z, y, x)
    mask : (z, y, x) bool, the molecule
    """

    name: str
    kind: str
    first: Density
    second: Density
    truth: Volume
    noise_free: Volume
    mask: Mask

    @property
    def average(self) -> Case:
        """The average of the half maps."""
        values = mean_map(self.first.values, self.second.values)
        return Case(name=self.name, density=Density(values, self.first.grid), truth=self.truth)


def spread_structures(structures: Path, count: int) -> list[Structure]:
    """Choose structures of the validation split at equal distances in its list."""
    rows = read_manifest(structures, "validation")
    return [rows[n * len(rows) // count] for n in range(count)]


def simulated_pairs(structures: Sequence[Structure], recipe: Recipe, seed: int) -> Iterator[SimulatedPair]:
    """Draw half maps of one signal of each structure; the same for the same seed."""
    for n, structure in enumerate(structures):
        rng = np.random.default_rng([seed, n])
        signal = draw_signal(structure, recipe, rng)
        first, second, truth = draw_halves(signal, recipe, rng)
        grid = Grid(truth.shape, (signal.voxel_size * signal.scale,) * 3)
        yield SimulatedPair(
            name=structure.id,
            kind=signal.molecule_kind,
            first=Density(first, grid),
            second=Density(second, grid),
            truth=truth,
            noise_free=signal.density[signal.inner].astype(np.float32),
            mask=signal.mask[signal.inner],
        )
