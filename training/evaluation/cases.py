"""Maps to score on, with known local resolution, not used in training: unprocessed and processed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import fft, ndimage

from cryores_lite.errors import CryoresError
from cryores_lite.fourier.spectrum import low_pass, radius
from cryores_lite.io.mrc import read_map
from cryores_lite.types import Density, Grid, Lengths, Volume
from training.maps.editing import as_float16, as_integers, clip_below, contour_level, even_bands, soft_contour
from training.maps.known_map import KnownMap
from training.maps.labels import read_known_map, read_labels
from training.maps.recipe import AVERAGES, Recipe
from training.maps.simulate import draw_map, draw_signal
from training.maps.structures import read_manifest

SIMULATED_SEED = 2026
MIN_MOLECULE_VOXELS = 500
LOCAL_WINDOW = 12.0  # Å, σ of the window of the local rms by which bands are divided
FILTER_STEP = 0.1  # log resolution, between the low-passed copies that make a locally filtered map


@dataclass(frozen=True, eq=False, kw_only=True)
class Case:
    """A map to score on.

    Attributes
    ----------
    name : of the map
    density : the map
    truth : (z, y, x) float32, local resolution in Å on the map's grid, 0 outside the molecule
    low_pass_limit : Å, resolution at which the map was low-passed, or 0
    masking, kind, editing : how the map was masked, the kind of its molecule, and how it was edited, if known
    """

    name: str
    density: Density
    truth: Volume
    low_pass_limit: float = 0.0
    masking: str = ""
    kind: str = ""
    editing: str = ""

    @property
    def median(self) -> float:
        """Median of the truth in Å, not finer than the low-pass filter."""
        return max(float(np.median(self.truth[self.truth > 0])), self.low_pass_limit)


def case_of(name: str, known: KnownMap) -> Case:
    """The case of a map with known local resolution."""
    return Case(
        name=name,
        density=known.density,
        truth=known.local_resolution(),
        low_pass_limit=known.low_pass_limit,
        masking=known.kind.masking,
        kind=known.kind.molecule,
        editing=known.kind.editing,
    )


def bench_cases(folder: Path) -> Iterator[Case]:
    """The unprocessed cases of a bench folder."""
    for case in sorted(p for p in folder.iterdir() if (p / "case.json").exists()):
        description = json.loads((case / "case.json").read_text())
        yield Case(
            name=case.name,
            density=read_map(case / "map.mrc.gz").density,
            truth=read_map(case / "truth.mrc.gz").density.values,
            low_pass_limit=description.get("visible_limit_A") or 0.0,
        )


def labelled_cases(path: Path) -> Iterator[Case]:
    """Real maps with known local resolution, from half maps or otherwise (`maps/labels.py`).

    Raises
    ------
    SystemExit
        The label of a map is refused.
    """
    for row in read_labels(path):
        try:
            known = read_known_map(row, path.parent)
        except CryoresError as error:
            raise SystemExit(f"error: {row['map']}: {error}") from None
        yield case_of(row["map"], known)


def simulated_cases(
    structures: Path, count: int, seed: int = SIMULATED_SEED, recipe: Recipe | None = None
) -> Iterator[Case]:
    """Simulated maps of validation structures, with each masking in turn; the same for the same seed."""
    rows = read_manifest(structures, "validation")
    recipe = recipe or Recipe()
    for n in range(count):
        rng = np.random.default_rng([seed, n])
        structure = rows[n % len(rows)]
        signal = draw_signal(structure, recipe, rng)
        masking = list(recipe.masking)[n % len(recipe.masking)]
        case = case_of(structure.id, draw_map(signal, replace(recipe, masking={masking: 1.0}), rng))
        if (case.truth > 0).sum() > MIN_MOLECULE_VOXELS:
            yield case


def cases_at_range_ends(structures: Path, count: int = 3) -> Iterator[Case]:
    """Unprocessed simulated maps of validation structures: 1.8 Å on 0.5 Å voxels, and 14 Å on 3.5 Å voxels."""
    rows = read_manifest(structures, "validation")
    for resolution, voxel_size in ((1.8, 0.5), (14.0, 3.5)):
        recipe = replace(
            AVERAGES,
            resolution=(resolution, resolution),
            usual_share=0.0,
            resolution_elements=(1.0, 1.0),
            oversampling=(resolution / voxel_size,) * 2,
        )
        for n in range(count):
            rng = np.random.default_rng([SIMULATED_SEED, n])
            structure = rows[n * len(rows) // count]
            known = draw_map(draw_signal(structure, recipe, rng), recipe, rng)
            name = f"{structure.id}, {resolution:g} Å on {voxel_size:g} Å voxels"
            yield replace(case_of(name, known), masking="", kind="", editing="")


def masked(case: Case, extend: float, edge: float) -> Case:
    """The map multiplied by a mask of its molecule: extended by `extend` Å, then a cosine edge of `edge` Å to zero."""
    distance = ndimage.distance_transform_edt(case.truth == 0, sampling=case.density.grid.voxel_size)
    soft = 0.5 + 0.5 * np.cos(np.pi * np.clip((distance - extend) / edge, 0, 1))
    return _with_values(case, case.density.values * soft)


def zone(case: Case) -> Case:
    """The molecule's half at low x, cut out within 1 Å and with a sharp edge."""
    molecule = np.argwhere(case.truth > 0)
    middle = int(np.median(molecule[:, 2]))
    truth = np.where(np.arange(case.truth.shape[2]) <= middle, case.truth, 0).astype(np.float32)
    cut = masked(replace(case, truth=truth), 1.0, 0.1)
    low, high = np.maximum(molecule.min(0) - 4, 0), molecule.max(0) + 5
    box = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], middle + 6))
    values = np.ascontiguousarray(cut.density.values[box])
    z, y, x = values.shape
    grid = replace(case.density.grid, shape=(z, y, x))
    return replace(case, density=Density(values, grid), truth=np.ascontiguousarray(truth[box]))


def low_passed(case: Case) -> Case:
    """The map low-passed at its true median resolution."""
    return replace(_low_passed_at(case, case.median), low_pass_limit=case.median)


def filtered_at_true_resolution(case: Case) -> Case:
    """The map low-passed at its true local resolution, in steps of 10 %, each blended into the next."""
    nearest = ndimage.distance_transform_edt(case.truth == 0, return_distances=False, return_indices=True)
    local = ndimage.gaussian_filter(np.log(case.truth[tuple(nearest)]), 2)
    values = np.zeros_like(case.truth)
    for step in np.arange(local.min(), local.max() + FILTER_STEP, FILTER_STEP):
        weight = np.clip(1 - np.abs(local - step) / FILTER_STEP, 0, 1)
        values += weight.astype(np.float32) * _low_passed_at(case, float(np.exp(step))).density.values
    return _with_values(case, values)


def locally_sharpened(case: Case) -> Case:
    """The map with each band divided by its own local rms over 12 Å, solvent included."""
    values = case.density.values
    return _with_values(case, even_bands(values, _lengths(case), LOCAL_WINDOW, 0.0, np.ones_like))


def enhanced(case: Case) -> Case:
    """The map sharpened locally, masked softly by its own contour, and without its negative values."""
    sharp = locally_sharpened(case).density.values
    molecule = int((case.truth > 0).sum())
    mask = soft_contour(case.density.values, _lengths(case), case.median, int(1.3 * molecule), case.median / 3)
    return _with_values(case, clip_below(sharp * mask, 0.0))


def contoured(case: Case) -> Case:
    """The map set to 0 below the contour level that encloses 60 % of the molecule's volume."""
    level = contour_level(case.density.values, int(0.6 * (case.truth > 0).sum()))
    return _with_values(case, clip_below(case.density.values, level))


def stored_in_bytes(case: Case) -> Case:
    """The map with 255 equal steps between its lowest and its highest value."""
    values = case.density.values
    return _with_values(case, as_integers(values, float(values.min()), float(values.max()), 255))


def on_voxels_of(case: Case, voxel_size: float) -> Case:
    """The map on voxels of about `voxel_size` Å, or as it is if its voxels are larger."""
    ratio = voxel_size / case.density.grid.voxel_size[0]
    return resampled(case, ratio) if ratio > 1 else case


def turned(case: Case) -> Case:
    """The map turned by 25° about z by cubic interpolation, as viewers write it; the corners of the box are lost."""
    values, truth = (
        ndimage.rotate(field, 25.0, (1, 2), reshape=False, order=order)
        for field, order in ((case.density.values, 3), (case.truth, 0))
    )
    return replace(_with_values(case, values), truth=truth)


def sharpened(case: Case, b: float) -> Case:
    """The map with its amplitudes multiplied by exp(-b k²/4), `b` in Å²."""
    return _filtered(case, lambda k: np.exp(-b * k**2 / 4))


def resampled(case: Case, ratio: float) -> Case:
    """The map on voxels `ratio` times as large, by cropping or padding its Fourier transform.

    The truth is that of the nearest voxel.
    """
    grid = case.density.grid
    z, y, x = (2 * round(n / ratio / 2) for n in grid.shape)
    shape = (z, y, x)
    sz, sy, sx = (n * v / m for n, m, v in zip(grid.shape, shape, grid.voxel_size, strict=True))
    half = [min(a, b) // 2 for a, b in zip(grid.shape, shape, strict=True)]
    waves = np.fft.fftshift(fft.fftn(case.density.values))
    inner, outer = (
        tuple(slice(n // 2 - h, n // 2 + h) for n, h in zip(points, half, strict=True))
        for points in (grid.shape, shape)
    )
    kept = np.zeros(shape, waves.dtype)
    kept[outer] = waves[inner]
    values = fft.ifftn(np.fft.ifftshift(kept)).real
    positions = np.meshgrid(*(np.arange(m) * (n / m) for n, m in zip(grid.shape, shape, strict=True)), indexing="ij")
    truth = ndimage.map_coordinates(case.truth, positions, order=0)
    return replace(case, density=Density(values.astype(np.float32), Grid(shape, (sz, sy, sx))), truth=truth)


def _low_passed_at(case: Case, resolution: float) -> Case:
    return _filtered(case, lambda k: low_pass(k, 1 / resolution, 2 * k[0, 0, 1]))


def _lengths(case: Case) -> Lengths:
    z, y, x = (n * v for n, v in zip(case.density.grid.shape, case.density.grid.voxel_size, strict=True))
    return z, y, x


def _filtered(case: Case, gain: Callable[[Volume], Volume]) -> Case:
    values = case.density.values
    gains = gain(radius(values.shape, _lengths(case)))
    return _with_values(case, fft.irfftn(fft.rfftn(values) * gains, s=values.shape))


def _with_values(case: Case, values: Volume) -> Case:
    return replace(case, density=replace(case.density, values=values.astype(np.float32)))


Change = Callable[[Case], Case]

PROCESSINGS: dict[str, Change] = {
    "as shipped": lambda case: case,
    "soft-masked to zero (6 Å out, 8 Å edge)": lambda case: masked(case, 6.0, 8.0),
    "tightly masked to zero (0 Å out, 3 Å edge)": lambda case: masked(case, 0.0, 3.0),
    "zone crop (half of the molecule)": zone,
    "low-passed at the true median": low_passed,
    "locally filtered": filtered_at_true_resolution,
    "locally sharpened": locally_sharpened,
    "enhanced": enhanced,
    "set to 0 below a contour": contoured,
    "negative values set to 0": lambda case: _with_values(case, clip_below(case.density.values, 0.0)),
    "stored as 16-bit floats": lambda case: _with_values(case, as_float16(case.density.values)),
    "stored as 8-bit integers": stored_in_bytes,
    "on voxels of 1 / 2.3 of the true median": lambda case: on_voxels_of(case, case.median / 2.3),
    "on voxels of two thirds": lambda case: resampled(case, 2 / 3),
    "turned by 25° by interpolation": turned,
}
NEUTRAL_PROCESSINGS: dict[str, Change] = {  # these must not change the estimate
    "sharpened by B -100": lambda case: sharpened(case, -100.0),
    "blurred by B 100": lambda case: sharpened(case, 100.0),
    "soft-masked to zero": lambda case: masked(case, 6.0, 8.0),
    "low-passed at its resolution": low_passed,
    "resampled x 1.37": lambda case: resampled(case, 1.37),
}
