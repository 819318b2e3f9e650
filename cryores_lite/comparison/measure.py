"""The difference of two local resolutions on one grid, B − A: negative where B is finer, in voxels, numbers, chains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cryores_lite.outputs.residues import FittedModel, Residue, measure_residues
from cryores_lite.types import PERCENTILES, Grid, LocalResolution, Mask, Volume

CLEAR_Z = 2.0  # |z-score| from which a difference is called clear


@dataclass(frozen=True, eq=False, kw_only=True)
class Difference:
    """Two local resolutions on the grid of A, inside the molecule of both.

    Attributes
    ----------
    a, b : (z, y, x) float32, local resolution in Å, 0 outside the mask of each
    common : (z, y, x) bool, inside both masks
    values : (z, y, x) float32, B − A in Å, negative where B is finer; 0 outside `common`
    error : (z, y, x) float32, standard deviation of the error of `values` in Å, 0 outside `common`; None if unknown
    z : (z, y, x) float32, `values` / `error`; None if the error is unknown
    grid : grid of the arrays
    """

    a: Volume
    b: Volume
    common: Mask
    values: Volume
    error: Volume | None
    z: Volume | None
    grid: Grid


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """The difference in numbers, over the voxels of the common molecule. Lengths are Å.

    Attributes
    ----------
    median_a, median_b : median local resolution of each
    percentiles : by name: percentile of A, of B, and of the difference B − A of the voxels
    mean, rms : of the difference
    negative : share of the voxels in which B is finer, by however little
    b_finer, a_finer : share of the voxels with a z-score below −2, above 2; None if the error is unknown
    error : median standard deviation of the error of the difference; None if it is unknown
    volume : of the common molecule, Å³
    only_a, only_b : volume that only one of the masks has, Å³
    """

    median_a: float
    median_b: float
    percentiles: dict[str, tuple[float, float, float]]
    mean: float
    rms: float
    negative: float
    b_finer: float | None
    a_finer: float | None
    error: float | None
    volume: float
    only_a: float
    only_b: float


@dataclass(frozen=True, kw_only=True)
class Part:
    """A chain or residue of a fitted model: number of measured atoms, and means over them in Å; None without atoms."""

    name: str
    atoms: int
    a: float | None
    b: float | None
    difference: float | None
    error: float | None

    @property
    def z(self) -> float | None:
        """Difference over its error."""
        return self.difference / self.error if self.difference is not None and self.error else None


def difference(
    a: Volume, b: Volume, errors: tuple[Volume | None, Volume | None], grid: Grid, inside: Mask | None = None
) -> Difference:
    """Subtract A from B, voxel by voxel.

    Parameters
    ----------
    a, b : (z, y, x) float32 on `grid`, local resolution in Å, 0 outside the mask of each
    errors : standard deviations of A and B in Å, of the same shape; None if unknown. The error of the difference is
        their root sum of squares, or the known one alone.
    inside : voxels to compare; None: all inside both masks
    """
    common = (a > 0) & (b > 0)
    if inside is not None:
        common &= inside
    values = np.where(common, b - a, np.float32(0))
    known = [error for error in errors if error is not None]
    if not known:
        return Difference(a=a, b=b, common=common, values=values, error=None, z=None, grid=grid)
    error = np.where(common, np.sqrt(sum((np.square(part) for part in known), np.zeros((), np.float32))), np.float32(0))
    z = np.divide(values, error, out=np.zeros_like(values), where=error > 0)
    return Difference(a=a, b=b, common=common, values=values, error=error, z=z, grid=grid)


def numbers(result: Difference) -> Numbers:
    """Summarise a difference over its common voxels, of which there must be one."""
    common, volume = result.common, result.grid.voxel_volume
    a, b, values = (field[common].astype(np.float64) for field in (result.a, result.b, result.values))
    of_each = [np.percentile(field, PERCENTILES) for field in (a, b, values)]
    z = None if result.z is None else result.z[common]
    return Numbers(
        median_a=float(np.median(a)),
        median_b=float(np.median(b)),
        percentiles={
            f"{p:g}": (float(first), float(second), float(third))
            for p, first, second, third in zip(PERCENTILES, *of_each, strict=True)
        },
        mean=float(values.mean()),
        rms=float(np.sqrt(np.mean(values**2))),
        negative=float(np.mean(values < 0)),
        b_finer=None if z is None else float(np.mean(z < -CLEAR_Z)),
        a_finer=None if z is None else float(np.mean(z > CLEAR_Z)),
        error=None if result.error is None else float(np.median(result.error[common])),
        volume=float(common.sum()) * volume,
        only_a=float(np.count_nonzero((result.a > 0) & ~common)) * volume,
        only_b=float(np.count_nonzero((result.b > 0) & ~common)) * volume,
    )


def chains(fitted: FittedModel, result: Difference) -> list[Part]:
    """Average both local resolutions and their difference over the atoms of each chain, in the order of the model."""
    parts: dict[str, list[int]] = {}
    residues = _residues(fitted, result)
    for number, residue in enumerate(residues[0]):
        parts.setdefault(residue.chain, []).append(number)
    return [_part(name, [[of_all[n] for n in members] for of_all in residues]) for name, members in parts.items()]


def _residues(fitted: FittedModel, result: Difference) -> list[tuple[Residue, ...]]:
    """Measure the residues in A, in B and in the error of the difference, from voxels of the common molecule."""
    fields = [result.a, result.b, *([] if result.error is None else [result.error])]
    measured = LocalResolution(
        values=result.values,
        mask=result.common,
        uncertainty=result.values,
        grid=result.grid,
        global_resolution=math.nan,
        working_voxel_size=math.nan,
        provider="",
    )
    inside = (np.where(result.common, field, np.float32(0)) for field in fields)
    return [measure_residues(fitted, replace(measured, values=values)).residues for values in inside]


def _part(name: str, residues: Sequence[Sequence[Residue]]) -> Part:
    a, b, *error = (_mean(of_field) for of_field in residues)
    return Part(
        name=name,
        atoms=sum(residue.atoms for residue in residues[0]),
        a=a,
        b=b,
        difference=None if a is None or b is None else b - a,
        error=error[0] if error else None,
    )


def _mean(residues: Sequence[Residue]) -> float | None:
    measured: list[tuple[float, int]] = [(r.locres, r.atoms) for r in residues if r.locres is not None]
    if not measured:
        return None
    values: npt.NDArray[np.float64] = np.array(measured)
    return float(np.average(values[:, 0], weights=values[:, 1]))
