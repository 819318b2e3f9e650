"""The surface is a closed mesh with the colours of its voxels, and the page's encoding keeps it."""

import base64
import zlib

import numpy as np
import pytest
from scipy import ndimage

from cryores_lite.figures import surface
from cryores_lite.figures.palette import OUTSIDE_COLOUR, rgb, rgb_colours
from tests.runtime.maps import ball


def decode(text, kind):
    """Decode an array as viewer.js does."""
    byte_planes = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)
    width = np.dtype(kind).itemsize
    differences = np.ascontiguousarray(byte_planes.reshape(width, -1).T).view(np.dtype(kind).newbyteorder("<")).ravel()
    return np.cumsum(differences, dtype=kind)


def test_a_surface_is_closed_faces_outwards_and_has_the_colours_of_its_voxels():
    shape = (50, 60, 70)
    distance = np.sqrt(sum((np.indices(shape)[n] - c) ** 2 for n, c in enumerate((22, 30, 40))))
    density, mask = (20 - distance).astype(np.float32), distance < 18
    local_resolution = np.where(mask, np.float32(4), np.float32(0))
    mesh = surface.surface(density, local_resolution, mask, (1.5, 1.5, 1.5), 4.0, (3.0, 5.0))
    a, b, c = (mesh.positions[mesh.triangles[:, n]] * (mesh.span / surface.MAX_POSITION) for n in range(3))
    volume = np.einsum("ni,ni->n", a, np.cross(b, c)).sum() / 6
    assert volume == pytest.approx(4 / 3 * np.pi * 16**3 * 1.5**3, rel=0.006)
    assert mesh.span == pytest.approx(2 * 16 * 1.5, rel=0.02)
    edges = np.sort(np.concatenate([mesh.triangles[:, [m, n]] for m, n in ((0, 1), (1, 2), (2, 0))]), axis=1)
    assert set(np.unique(edges, axis=0, return_counts=True)[1]) == {2}
    expected = rgb_colours(np.array(4.0), 3.0, 5.0).astype(int)
    assert np.abs(mesh.colours.astype(int) - expected).max() <= 1
    assert not (mesh.colours == rgb(OUTSIDE_COLOUR)).all(axis=1).any()


def test_the_encoding_of_a_mesh_keeps_every_number():
    rng = np.random.default_rng(2)
    density = ndimage.gaussian_filter(rng.normal(size=(30, 34, 38)), 2).astype(np.float32)
    mask = ball(density.shape, 13.5)
    local_resolution = np.where(mask, 3 + rng.random(density.shape, np.float32), np.float32(0))
    mesh = surface.surface(density, local_resolution, mask, (1.0, 1.0, 1.0), 0.02, (3.0, 4.0))
    encoded = surface.to_json(mesh)
    np.testing.assert_array_equal(decode(encoded["positions"], np.uint16).reshape(3, -1).T, mesh.positions)
    np.testing.assert_array_equal(decode(encoded["colours"], np.uint8).reshape(3, -1).T, mesh.colours)
    np.testing.assert_array_equal(decode(encoded["corners"], np.uint32).reshape(-1, 3), mesh.triangles)
