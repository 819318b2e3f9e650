"""Maps with a known local resolution to score on: kept from training, and processed as people process maps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import fft, ndimage

from cryores_lite.fourier.spectrum import radius
from cryores_lite.io.mrc import read_map
from cryores_lite.types import Density, Grid, Volume
from training.maps.labels import labelled, read_labels
from training.maps.processing import low_pass
from training.maps.simulate import AVERAGES, Recipe, draw_map, draw_signal, truth_of
from training.maps.structures import read_manifest

SIMULATED_SEED = 2026
FEWEST = 500  # voxels of molecule that are worth scoring


@dataclass(frozen=True, eq=False)
class Case:
    """A map with its truth (Å, 0 outside the molecule), the low-pass that it went through (Å, or 0), and what it is."""

    name: str
    density: Density
    truth: Volume
    limit: float
    masking: str = ""
    kind: str = ""

    @property
    def median(self) -> float:
        """Å, of the truth, no finer than the low-pass."""
        return max(float(np.median(self.truth[self.truth > 0])), self.limit)


def bench_cases(folder: Path) -> Iterator[Case]:
    """The cases of a bench folder, as shipped."""
    for case in sorted(p for p in folder.iterdir() if (p / "case.json").exists()):
        told = json.loads((case / "case.json").read_text())
        density = read_map(case / "map.mrc.gz").density
        truth = read_map(case / "truth.mrc.gz").density.values
        yield Case(case.name, density, truth, told.get("visible_limit_A") or 0.0)


def labelled_cases(path: Path) -> Iterator[Case]:
    """Real maps whose local resolution is known from their half maps or otherwise (`labels.py`)."""
    for row in read_labels(path):
        found = labelled(row, path.parent)
        truth = np.where(found.inside, found.local, 0).astype(np.float32)
        yield Case(found.name, found.density, truth, found.limit, "real", "real")


def simulated_cases(structures: Path, count: int, seed: int = SIMULATED_SEED) -> Iterator[Case]:
    """Simulated maps of validation structures, one of each masking in turn; the same ones for the same seed."""
    rows = read_manifest(structures, "validation")
    recipe = Recipe()
    for n in range(count):
        rng = np.random.default_rng([seed, n])
        structure = rows[n % len(rows)]
        signal = draw_signal(structure, recipe, rng)
        masking = list(recipe.masking)[n % len(recipe.masking)]
        simulated = draw_map(signal, replace(recipe, masking={masking: 1.0}), rng)
        truth = truth_of(simulated)
        if (truth > 0).sum() > FEWEST:
            density = Density(simulated.density, Grid(simulated.density.shape, (simulated.voxel_size,) * 3))
            yield Case(structure.id, density, truth, simulated.limit, masking, structure.kind)


def ends_of_the_range(structures: Path, count: int = 3) -> Iterator[Case]:
    """Plain simulated averages of validation structures: 1.8 Å on 0.5 Å voxels, and 14 Å on 3.5 Å voxels."""
    rows = read_manifest(structures, "validation")
    for resolution, voxel_size in ((1.8, 0.5), (14.0, 3.5)):
        recipe = replace(
            AVERAGES,
            resolution=(resolution, resolution),
            usual=(0.0, (resolution, resolution)),
            details=(1.0, 1.0),
            oversampling=(resolution / voxel_size,) * 2,
        )
        for n in range(count):
            rng = np.random.default_rng([SIMULATED_SEED, n])
            structure = rows[n * len(rows) // count]
            simulated = draw_map(draw_signal(structure, recipe, rng), recipe, rng)
            density = Density(simulated.density, Grid(simulated.density.shape, (simulated.voxel_size,) * 3))
            name = f"{structure.id}, {resolution:g} Å on {voxel_size:g} Å voxels"
            yield Case(name, density, truth_of(simulated), 0.0)


def masked(case: Case, extend: float, edge: float) -> Case:
    """The same map multiplied by a mask of its molecule: `extend` Å out, then a cosine edge of `edge` Å to zero."""
    distance = ndimage.distance_transform_edt(case.truth == 0, sampling=case.density.grid.voxel_size)
    soft = 0.5 + 0.5 * np.cos(np.pi * np.clip((distance - extend) / edge, 0, 1))
    return _with(case, case.density.values * soft)


def zone(case: Case) -> Case:
    """The half of the molecule on one side of its middle along x, within 1 Å, cut out of everything with a knife."""
    where = np.argwhere(case.truth > 0)
    middle = int(np.median(where[:, 2]))
    truth = np.where(np.arange(case.truth.shape[2]) <= middle, case.truth, 0).astype(np.float32)
    kept = masked(replace(case, truth=truth), 1.0, 0.1)
    low, high = np.maximum(where.min(0) - 4, 0), where.max(0) + 5
    inner = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], middle + 6))
    values = np.ascontiguousarray(kept.density.values[inner])
    z, y, x = values.shape
    grid = replace(case.density.grid, shape=(z, y, x))
    return replace(case, density=Density(values, grid), truth=np.ascontiguousarray(truth[inner]))


def low_passed(case: Case) -> Case:
    """The map low-passed at its true median resolution: nothing finer is left to see."""
    cut = case.median
    return replace(_low_passed(case, cut), limit=cut)


def locally_filtered(case: Case) -> Case:
    """The map low-passed at its true local resolution, in steps of 10 %, each blended into the next."""
    nearest = ndimage.distance_transform_edt(case.truth == 0, return_distances=False, return_indices=True)
    local = ndimage.gaussian_filter(np.log(case.truth[tuple(nearest)]), 2)
    values = np.zeros_like(case.truth)
    for step in np.arange(local.min(), local.max() + 0.1, 0.1):
        share = np.clip(1 - np.abs(local - step) / 0.1, 0, 1)
        values += share.astype(np.float32) * _low_passed(case, float(np.exp(step))).density.values
    return _with(case, values)


def sharpened(case: Case, b: float) -> Case:
    """The map with its amplitudes times exp(-b k²/4), `b` in Å²."""
    return _filtered(case, lambda k: np.exp(-b * k**2 / 4))


def resampled(case: Case, ratio: float) -> Case:
    """The map and its truth on voxels `ratio` times as large, by Fourier cropping and linear interpolation."""
    grid = case.density.grid
    shape = tuple(2 * round(n / ratio / 2) for n in grid.shape)
    sizes = tuple(n * v / m for n, m, v in zip(grid.shape, shape, grid.voxel_size, strict=True))
    half = [min(a, b) // 2 for a, b in zip(grid.shape, shape, strict=True)]
    waves = np.fft.fftshift(fft.fftn(case.density.values))
    inner = tuple(slice(n // 2 - h, n // 2 + h) for n, h in zip(grid.shape, half, strict=True))
    values = fft.ifftn(np.fft.ifftshift(waves[inner])).real
    places = np.meshgrid(*(np.arange(m) * (n / m) for n, m in zip(grid.shape, shape, strict=True)), indexing="ij")
    truth = ndimage.map_coordinates(case.truth, places, order=0)
    density = Density(values.astype(np.float32), Grid((shape[0], shape[1], shape[2]), (sizes[0], sizes[1], sizes[2])))
    return replace(case, density=density, truth=truth)


def _low_passed(case: Case, cut: float) -> Case:
    return _filtered(case, lambda k: low_pass(k, 1 / cut, 2 * k[0, 0, 1]))


def _filtered(case: Case, gain: Callable[[Volume], Volume]) -> Case:
    values, voxel_size = case.density.values, case.density.grid.voxel_size
    k = radius(values.shape, tuple(n * v for n, v in zip(values.shape, voxel_size, strict=True)))
    return _with(case, fft.irfftn(fft.rfftn(values) * gain(k), s=values.shape))


def _with(case: Case, values: Volume) -> Case:
    return replace(case, density=replace(case.density, values=values.astype(np.float32)))


Change = Callable[[Case], Case]

PROCESSINGS: dict[str, Change] = {
    "as shipped": lambda case: case,
    "soft-masked to zero (6 Å out, 8 Å edge)": lambda case: masked(case, 6.0, 8.0),
    "tightly masked to zero (0 Å out, 3 Å edge)": lambda case: masked(case, 0.0, 3.0),
    "zone crop (half of the molecule)": zone,
    "low-passed at the true median": low_passed,
    "locally filtered": locally_filtered,
}
SAME: dict[str, Change] = {  # what must not move the answer
    "sharpened by B -100": lambda case: sharpened(case, -100.0),
    "blurred by B 100": lambda case: sharpened(case, 100.0),
    "soft-masked to zero": lambda case: masked(case, 6.0, 8.0),
    "low-passed at its resolution": low_passed,
    "resampled x 1.37": lambda case: resampled(case, 1.37),
}
