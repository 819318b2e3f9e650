"""Small synthetic maps for the tests of the method."""

import numpy as np

from cryores_lite.types import Density, Grid


def blob(shape, centre, sigma):
    """A Gaussian density, all in voxels."""
    squares = [(np.arange(n) - c) ** 2 for n, c in zip(shape, centre, strict=True)]
    total = squares[0][:, None, None] + squares[1][:, None] + squares[2]
    return np.exp(-total / (2 * sigma**2)).astype(np.float32)


def white_noise(seed, shape):
    """Gaussian noise of unit variance."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def density_of(values, voxel_size=1.5):
    """Values as a density on cubic voxels."""
    return Density(values, Grid(values.shape, (voxel_size,) * 3))
