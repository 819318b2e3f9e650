"""Data that the modules exchange. Arrays and triples are (z, y, x); lengths are Å."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cryores_lite.errors import InputError

Volume: TypeAlias = npt.NDArray[np.float32]
Float16Volume: TypeAlias = npt.NDArray[np.float16]  # for storage, not for arithmetic
Mask: TypeAlias = npt.NDArray[np.bool_]
Shape: TypeAlias = tuple[int, int, int]
Lengths: TypeAlias = tuple[float, float, float]
Progress: TypeAlias = Callable[[Sequence[Any]], Iterable[Any]]

SPREAD_LIMITS = (1e-8, 1e12)  # highest minus lowest value of a map; outside, float32 squares over- or underflow
EDITINGS = ("none", "locally sharpened", "clipped", "enhanced", "low precision")  # of finished maps; "none" first
VOXEL_SIZE_RANGE = (0.1, 50.0)  # Å; others have a wrong unit, or are not of a cryo-EM map
VOXEL_SIZE_RTOL = 1e-6  # headers hold 32-bit numbers
MAX_OFFSET = 10.0  # distance from 0, in units of the range of the values
OFFSET_STEP = 4  # voxels between those whose median is the offset
PERCENTILES = (2.5, 25.0, 50.0, 75.0, 97.5)


@dataclass(frozen=True)
class Grid:
    """Voxel (k, j, i) sits at ``origin + (k, j, i) * voxel_size``."""

    shape: Shape  # voxels
    voxel_size: Lengths  # Å
    origin: Lengths = (0.0, 0.0, 0.0)  # Å

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel, in Å³."""
        return float(np.prod(self.voxel_size))


@dataclass(frozen=True, eq=False)
class Density:
    """A cryo-EM density map: values of any unit on a grid.

    Attributes
    ----------
    values : (z, y, x) float32
    grid : grid of the values
    memory_mapped : whether the values are a read-only view of a file (a memory map)
    """

    values: Volume
    grid: Grid
    memory_mapped: bool = False

    def release_pages(self) -> None:
        """Free the memory of memory-mapped values. The next use reads them from the file again."""
        base: Any = self.values if self.memory_mapped else None
        while isinstance(base, np.ndarray):
            base = base.base
        if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            base.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class MapResolution:
    """Resolution of a map in single numbers.

    Attributes
    ----------
    global_ : global resolution, Å
    median : median local resolution, Å
    log_std : standard deviation of the median's logarithm
    editing : probability of each of `EDITINGS`; empty if it was not estimated
    """

    global_: float
    median: float
    log_std: float
    editing: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class LocalResolution:
    """Local resolution of a density, on the density's grid.

    Attributes
    ----------
    values : (z, y, x) float32, local resolution in Å, 0 outside the mask
    mask : (z, y, x) bool, the molecule
    uncertainty : (z, y, x) float32, standard deviation of the error in Å, 0 outside the mask
    grid : grid of the three arrays
    global_resolution : Å, one number for the map
    working_voxel_size : Å, of the network's grid
    provider : the onnxruntime provider that ran the network
    warnings : sentences for the user
    editing : probability of each of `EDITINGS`; empty if it was not estimated
    """

    values: Volume
    mask: Mask
    uncertainty: Volume
    grid: Grid
    global_resolution: float
    working_voxel_size: float
    provider: str
    warnings: tuple[str, ...] = ()
    editing: tuple[float, ...] = ()

    @property
    def edited(self) -> tuple[str, float] | None:
        """The kind of editing with its probability: the likeliest kind if the map is probably edited, else none."""
        if not self.editing:
            return None
        kinds = range(1, len(EDITINGS)) if self.editing[0] < 0.5 else (0,)
        likeliest = max(kinds, key=lambda n: self.editing[n])
        return EDITINGS[likeliest], self.editing[likeliest]

    @property
    def median(self) -> float:
        """Median local resolution inside the mask, in Å (NaN for an empty mask)."""
        return self.percentiles["50"]

    @cached_property
    def median_uncertainty(self) -> float:
        """Median standard deviation of the error inside the mask, in Å (NaN for an empty mask)."""
        inside = self.uncertainty[self.mask]
        return float(np.median(inside)) if inside.size else float("nan")

    @cached_property
    def percentiles(self) -> dict[str, float]:
        """Percentiles of the local resolution inside the mask, in Å."""
        inside = self.values[self.mask]
        values = np.percentile(inside, PERCENTILES) if inside.size else np.full(len(PERCENTILES), np.nan)
        return {f"{p:g}": float(v) for p, v in zip(PERCENTILES, values, strict=True)}

    @cached_property
    def mask_volume(self) -> float:
        """Volume of the molecule, in Å³."""
        return float(self.mask.sum()) * self.grid.voxel_volume

    def __repr__(self) -> str:
        z, y, x = self.grid.shape
        return (
            f"LocalResolution({z}×{y}×{x}, median {length_text(self.median)}, "
            f"global {length_text(self.global_resolution)}, mask {self.mask_volume:.0f} Å³)"
        )

    def _repr_html_(self) -> str:
        """Return slices and numbers as HTML, for a notebook. Figures belong to a higher layer: imported by name."""
        view: str = import_module("cryores_lite.figures.notebook_view").html(self)
        return view


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """An ellipsoid that is fitted to a resolution by direction.

    Attributes
    ----------
    resolutions : (3,) Å along its axes, the best first
    axes : (3, 3) unit vectors (z, y, x) of its axes, one per row
    """

    resolutions: npt.NDArray[np.float64]
    axes: npt.NDArray[np.float64]

    @property
    def ratio(self) -> float:
        """The worst over the best resolution."""
        return float(self.resolutions[2] / self.resolutions[0])


@dataclass(frozen=True, eq=False, kw_only=True)
class Directions:
    """Resolution of two half maps by direction of Fourier space. Unit vectors are (z, y, x).

    Attributes
    ----------
    significant : whether views are missing
    chance : probability that noise of one power in all directions differs as much between directions
    sentence : the result for the user
    axes : (axes, 3) unit vectors of the cones
    shares : (axes,), share of all directions that belongs to each cone
    noise : (axes,), power of the noise in each cone / that in all directions
    resolutions : (axes,) Å, where the FSC in each cone falls below 0.143
    measured : ellipsoid of `resolutions`, which depend on the views and on the molecule
    views : ellipsoid of the resolution of a signal with the same power in all directions, which depends on the views
    ratio_range : 5th and 95th percentile of the worst / the best resolution of `views`; NaN if `views` is `measured`
    frequencies : (bands,) 1/Å
    fsc : (bands, axes), corrected for the mask
    occupancy : (bands,), share of directions whose FSC is at least 0.143
    """

    significant: bool
    chance: float
    sentence: str
    axes: npt.NDArray[np.float64]
    shares: npt.NDArray[np.float64]
    noise: npt.NDArray[np.float64]
    resolutions: npt.NDArray[np.float64]
    measured: Ellipsoid
    views: Ellipsoid
    ratio_range: tuple[float, float]
    frequencies: npt.NDArray[np.float64]
    fsc: npt.NDArray[np.float64]
    occupancy: npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """How the second half map lies relative to the first.

    Attributes
    ----------
    shift : Å, (z, y, x), at the middle of the molecule
    rotation : degrees about (z, y, x), right-handed in x, y, z, for small angles
    scale : size of the molecule in the second half map over that in the first
    shift_error, rotation_error, scale_error : standard deviations, per axis
    radius : Å, root mean square distance of the compared windows from their middle
    voxel_size : Å
    """

    shift: Lengths
    rotation: Lengths
    scale: float
    shift_error: float
    rotation_error: float
    scale_error: float
    radius: float
    voxel_size: float

    @property
    def angle(self) -> float:
        """Angle of the rotation, in degrees."""
        return math.hypot(*self.rotation)

    @property
    def shift_voxels(self) -> float:
        """Length of the shift, in voxels."""
        return math.hypot(*self.shift) / self.voxel_size

    @property
    def rotation_voxels(self) -> float:
        """Displacement by the rotation at the radius, in voxels."""
        return math.radians(self.angle) * self.radius / self.voxel_size

    @property
    def scale_voxels(self) -> float:
        """Displacement by the scale at the radius, in voxels."""
        return abs(self.scale - 1) * self.radius / self.voxel_size


@dataclass(frozen=True)
class Masking:
    """How two half maps were masked.

    Attributes
    ----------
    outside : share of the box that is constant in the first and in the second half map
    unequal : share of the box that is constant in one half map only
    mask_fsc : FSC of the mask alone at the resolution, measured with random phases
    """

    outside: tuple[float, float]
    unequal: float
    mask_fsc: float


@dataclass(frozen=True, eq=False, kw_only=True)
class HalfMapComparison:
    """Two half maps compared with each other and with the local resolution from the full map.

    Attributes
    ----------
    paths : files of the half maps
    criterion : of the local FSC, as the option `--criterion` names it
    values : (z, y, x) float32, Å, local resolution from the half maps by that criterion; 0 outside the mask
    frequencies : (shells,) 1/Å
    curves : global FSC by name: unmasked, masked, randomised (masked, random phases), corrected; (shells,)
    resolution, resolution_half : Å, where the corrected (without a mask: unmasked) FSC falls below 0.143 and 0.5
    median : Å, of `values` inside the mask
    r : correlation of `values` and the full map's local resolution, inside the mask
    rmse, bias : Å, root mean square and mean of the full map's local resolution minus `values`, inside the mask
    edges : Å, edges of the bins of `counts`
    counts : voxels of the mask by local resolution from the half maps (rows) and from the full map (columns)
    directions : resolution by direction; None if not measured
    worst : (z, y, x) float32, Å, local resolution in the worst direction, 0 outside the mask; None if not requested
    anisotropy : (z, y, x) float32, local resolution in the worst / the best direction; None if not requested
    finer, coarser : share of the mask in which the full map's local resolution is finer or coarser by more than twice
        the error of both; NaN if the estimate has no error, or the criteria differ
    alignment : how the second half map lies relative to the first; None if it cannot be measured
    masking : how the half maps were masked; None if they were not
    warnings : sentences for the user
    """

    paths: tuple[Path, Path]
    values: Volume
    frequencies: list[float]
    curves: dict[str, list[float]]
    resolution: float
    resolution_half: float
    median: float
    r: float
    rmse: float
    bias: float
    edges: list[float]
    counts: list[list[int]]
    directions: Directions | None = None
    worst: Volume | None = None
    anisotropy: Volume | None = None
    criterion: str = "0.143"
    finer: float = math.nan
    coarser: float = math.nan
    alignment: Alignment | None = None
    masking: Masking | None = None
    warnings: tuple[str, ...] = ()


def is_voxel_size(size: float) -> bool:
    """Return whether a number is the size of a cryo-EM map's voxel in Å: in `VOXEL_SIZE_RANGE`, and not NaN."""
    low, high = VOXEL_SIZE_RANGE
    return low * (1 - VOXEL_SIZE_RTOL) <= size <= high * (1 + VOXEL_SIZE_RTOL)


def length_text(length: float, digits: int = 2) -> str:
    """Write a length in Å for people: ``4.20 Å``, or ``none`` for one that is unknown (NaN)."""
    return f"{length:.{digits}f} Å" if math.isfinite(length) else "none"


def without_offset(values: Volume) -> Volume:
    """Subtract a constant from values that are far from 0 compared with their range; return others as they are.

    32-bit sums of such values would lose the density. An offset has no meaning in a density map.
    """
    lowest, highest = float(values.min()), float(values.max())
    if max(abs(lowest), abs(highest)) <= MAX_OFFSET * (highest - lowest):
        return values
    shifted: Volume = values - np.float32(np.median(values[::OFFSET_STEP, ::OFFSET_STEP, ::OFFSET_STEP]))
    return shifted


def check_spread(lowest: float, highest: float, name: str) -> None:
    """Refuse values whose squares and sums overflow or underflow as 32-bit floats.

    Raises
    ------
    InputError
        Their range is outside `SPREAD_LIMITS`.
    """
    low, high = SPREAD_LIMITS
    if not low <= highest - lowest <= high:
        raise InputError(
            f"{name}, values",
            found=f"{lowest:.4g} to {highest:.4g}",
            expected=f"a range of {low:g} to {high:g} between lowest and highest",
            try_="multiply the map by a constant, or replace artefacts",
        )
