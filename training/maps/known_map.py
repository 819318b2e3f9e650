"""A map with known local resolution, from the simulator or from half maps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cryores_lite.fourier.interpolation import interpolate
from cryores_lite.method.coarse_voxels import scaled_down
from cryores_lite.types import Density, Mask, Shape, Volume

EDITINGS = ("none", "locally sharpened", "clipped", "enhanced", "low precision")  # of finished maps; "none" first


@dataclass(frozen=True)
class Placement:
    """Position of a map's voxels in the box that its truth covers.

    Voxel n of the map lies at voxel ``start + stride * n`` of a box of `box_shape` voxels, along each axis.
    """

    box_shape: Shape
    start: tuple[float, float, float] = (0.0, 0.0, 0.0)
    stride: float = 1.0


@dataclass(frozen=True)
class MapKind:
    """How a map was made: its processing, its masking, the kind of its molecule, and one of `EDITINGS`."""

    processing: str
    masking: str
    molecule: str
    editing: str

    def labels(self) -> list[str]:
        """Processing, masking, molecule and editing, as training files keep them."""
        return [self.processing, self.masking, self.molecule, self.editing]


@dataclass(frozen=True, eq=False, kw_only=True)
class KnownMap:
    """A map and its known local resolution.

    Attributes
    ----------
    density : the processed map
    mask : (z, y, x) bool, the molecule, on the map's grid
    truth : (z, y, x) float32, local resolution in Å, at any sampling of the box of `placement`
    placement : position of the map's voxels in that box
    global_resolution : Å, where the FSC over the molecule falls below 0.143
    low_pass_limit : Å, resolution at which the map was low-passed, or 0
    kind : how the map was made
    """

    density: Density
    mask: Mask
    truth: Volume
    placement: Placement
    global_resolution: float
    low_pass_limit: float
    kind: MapKind

    @property
    def visible_global_resolution(self) -> float:
        """Å, the global resolution, not finer than the low-pass filter."""
        return max(self.global_resolution, self.low_pass_limit)

    def truth_at(self, voxels: list[npt.NDArray[np.float64]]) -> Volume:
        """Interpolate the truth at positions along each axis, in voxels of the map."""
        positions = [
            (axis * self.placement.stride + start) * (points / box)
            for axis, start, points, box in zip(
                voxels, self.placement.start, self.truth.shape, self.placement.box_shape, strict=True
            )
        ]
        values: Volume = interpolate(self.truth[None], tuple(positions))[0]
        return values

    def local_resolution(self) -> Volume:
        """The truth at the map's own voxels, in Å, 0 outside the molecule."""
        local = self.truth_at([np.arange(n, dtype=np.float64) for n in self.mask.shape])
        return np.where(self.mask, local, 0).astype(np.float32)

    def scaled_down(self) -> KnownMap:
        """The map at the scale at which the runtime measures it, all lengths included: its voxels are at most 4 Å."""
        density, factor = scaled_down(self.density)
        return replace(
            self,
            density=density,
            truth=self.truth / np.float32(factor),
            global_resolution=self.global_resolution / factor,
            low_pass_limit=self.low_pass_limit / factor,
        )
