"""Small synthetic maps, and the files that hold them."""

import struct

import mrcfile
import numpy as np
from scipy import fft, ndimage

from cryores_lite.types import Density, Grid

PLACEMENT = (slice(16, 76), slice(196, 208))  # header bytes: NSTART to MAPS, and ORIGIN


def save(path, values, *, voxel_size=1.5, fields=(), patches=(), pack=bytes):
    """Write an MRC file, in a folder that is made if it is missing, and return its path.

    Parameters
    ----------
    values : (z, y, x) in a type that MRC has a mode for; float64 is written as float32
    voxel_size : Å
    fields : header fields by name, set after the voxel size
    patches : (offset, format of `struct`, value), changes of the finished file
    pack : bytes to bytes, for example gzip.compress
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(values.astype(np.float32) if values.dtype == np.float64 else values)
        file.voxel_size = voxel_size
        for name, value in dict(fields).items():
            file.header[name] = value
    raw = bytearray(path.read_bytes())
    for offset, format_, value in patches:
        struct.pack_into(format_, raw, offset, value)
    path.write_bytes(pack(bytes(raw)))
    return path


def density_of(values, voxel_size=1.5):
    """Values as a density on cubic voxels."""
    return Density(np.ascontiguousarray(values), Grid(values.shape, (voxel_size,) * 3))


def ball(shape, radius):
    """A ball around the middle of a box, as booleans; radius in voxels."""
    return sum((np.indices(shape)[n] - size / 2) ** 2 for n, size in enumerate(shape)) < radius**2


def blob(shape, centre, sigma):
    """A Gaussian density, all in voxels."""
    squares = [(np.arange(n) - c) ** 2 for n, c in zip(shape, centre, strict=True)]
    total = squares[0][:, None, None] + squares[1][:, None] + squares[2]
    return np.exp(-total / (2 * sigma**2)).astype(np.float32)


def white_noise(seed, shape):
    """Gaussian noise of unit variance."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def lumps(shape=(44, 48, 52)):
    """A ball of random lumps in quiet solvent."""
    rng = np.random.default_rng(0)
    values = ball(shape, min(shape) / 3.5) * rng.random(shape) ** 4
    return (ndimage.gaussian_filter(values, 1.2) + 0.01 * rng.normal(size=shape)).astype(np.float32)


def wave_numbers(shape, voxel_size):
    """|k| in 1/Å of the waves of `rfftn`; the voxel size is one for all axes, or (z, y, x)."""
    steps = np.broadcast_to(voxel_size, 3)
    z, y = (fft.fftfreq(n, step) for n, step in zip(shape[:2], steps[:2], strict=True))
    return np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + fft.rfftfreq(shape[2], steps[2]) ** 2)


def filtered(values, gain):
    """The map with each wave times its gain, as float32."""
    return fft.irfftn(fft.rfftn(values) * gain, s=values.shape).astype(np.float32)


HALF_MAP_SHAPE, HALF_MAP_VOXEL_SIZE = (64, 64, 64), 2.0


def molecule_half_maps():
    """Half maps of a ball with smooth random density, independent noise in each; finer at large x than at small x."""
    shape, k = HALF_MAP_SHAPE, wave_numbers(HALF_MAP_SHAPE, HALF_MAP_VOXEL_SIZE)
    envelope = ndimage.gaussian_filter(ball(shape, 20).astype(np.float32), 1)
    details = [filtered(white_noise(9, shape), np.exp(-((k * d) ** 2))) for d in (12.0, 24.0)]
    is_fine = np.arange(shape[2]) > shape[2] / 2
    signal = envelope * np.where(is_fine, *(6 * v / v.std() for v in details)) + 6 * envelope
    return [density_of((signal + 4 * white_noise(n, shape)).astype(np.float32), HALF_MAP_VOXEL_SIZE) for n in (1, 2)]
