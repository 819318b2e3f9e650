"""Check the arguments of the Python functions as strictly as the command checks its files and options."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from cryores_lite.errors import InputError
from cryores_lite.types import VOXEL_SIZE_RANGE, Density, Grid, Lengths, check_spread, is_voxel_size

DEVICES = ("auto", "cpu", "cuda")


def density_argument(density: Any, voxel_size: Any) -> Density:
    """Return the density of an array and its voxel size; refuse what `estimate` cannot use.

    Raises
    ------
    InputError
        The array is not a three-dimensional map with finite, varying values, or the voxel size is not one of a map.
    """
    if isinstance(density, (str, os.PathLike)) or hasattr(density, "density"):
        raise InputError(
            "the density",
            found=f"a {type(density).__name__}",
            expected="a (z, y, x) array",
            try_="pass read_map(path).density.values, and density.grid.voxel_size",
        )
    values = _numbers(density)
    if values.ndim != 3 or min(values.shape, default=0) < 2:
        raise InputError(
            "not a density map", found=f"an array of shape {values.shape}", expected="(z, y, x)", try_="pass one map"
        )
    if not np.isfinite(values).all() or values.min() == values.max():
        raise InputError(
            "the density cannot be used",
            found="constant or non-finite values",
            expected="finite values, not all equal",
            try_="check the map",
        )
    check_spread(float(values.min()), float(values.max()), "the density")
    a, b, c = values.shape
    return Density(values, Grid((a, b, c), voxel_size_argument(voxel_size)))


def _numbers(density: Any) -> npt.NDArray[np.float32]:
    try:
        return np.asarray(density, np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(
            "the density", found=f"{type(density).__name__} that is not numbers", expected="an array", try_="check it"
        ) from error


def voxel_size_argument(voxel_size: Any) -> Lengths:
    """Return voxel sizes along z, y, x in Å: from one number, three, or the record that mrcfile gives.

    Raises
    ------
    InputError
        They are not lengths, or not those of a cryo-EM map.
    """
    names = getattr(getattr(voxel_size, "dtype", None), "names", None) or ()
    if {"x", "y", "z"} <= set(names):
        voxel_size = [float(voxel_size[axis]) for axis in "zyx"]
    try:
        sizes = np.asarray(voxel_size)
        is_text = sizes.dtype.kind in "US"
        z, y, x = (np.nan,) * 3 if is_text or sizes.size not in (1, 3) else map(float, np.broadcast_to(sizes, 3))
    except (TypeError, ValueError):
        z = y = x = np.nan
    if not all(map(is_voxel_size, (z, y, x))):
        low, high = VOXEL_SIZE_RANGE
        raise InputError(
            "the voxel size",
            found=voxel_size,
            expected=f"one or three lengths of {low:g} to {high:g} Å",
            try_="pass the voxel size in Å, in the order z, y, x",
        )
    return z, y, x


def threads_argument(threads: Any) -> int | None:
    """Return a number of threads, or None; refuse others.

    Raises
    ------
    InputError
        It is not a whole number of at least 1.
    """
    if threads is not None and (isinstance(threads, bool) or not hasattr(threads, "__index__") or int(threads) < 1):
        raise InputError("threads", found=threads, expected="a whole number of at least 1, or None", try_="omit it")
    return None if threads is None else int(threads)


def widths_argument(widths: Any) -> tuple[float, float]:
    """Return the extension and the edge of a soft mask in Å; refuse others than two lengths.

    Raises
    ------
    InputError
        They are not two finite numbers of at least 0.
    """
    try:
        extend, edge = map(float, widths)
    except (TypeError, ValueError):
        extend = edge = math.nan
    if not all(0 <= width < math.inf for width in (extend, edge)):
        raise InputError(
            "soft_mask_widths", found=widths, expected="two lengths of at least 0 Å", try_="pass (extend, edge)"
        )
    return extend, edge


def check_device(device: Any) -> None:
    """Refuse a device that is none of `DEVICES`.

    Raises
    ------
    InputError
        The device is unknown.
    """
    if device not in DEVICES:
        raise InputError("device", found=device, expected=", ".join(DEVICES), try_="use device='cuda' for a GPU")
