"""Cones of directions about a symmetric set of axes, which divide Fourier space among them.

An axis a has the weight w_a(u) = (u·a)^p / Σ_b (u·b)^p for a wave in the direction u. So the weights of every wave sum
to one, the cones about a and −a are one cone, and sums over all cones are those of the complete shell.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from cryores_lite.fourier.fsc import Curve

GOLDEN = (1 + 5**0.5) / 2


def icosahedral_axes() -> Curve:
    """Return the 31 rotation axes of an icosahedron as unit vectors (31, 3), z, y, x.

    The first 6 axes are fivefold, the next 10 threefold, the last 15 twofold. Neighbours are 21° to 37° apart.
    """
    corners = [np.roll((0, s, t * GOLDEN), shift) for s in (1, -1) for t in (1, -1) for shift in range(3)]
    vertices = np.array(corners) / np.linalg.norm(corners[0])
    adjacent = np.isclose(vertices @ vertices.T, 5**-0.5)
    pairs = [pair for pair in combinations(range(12), 2) if adjacent[pair]]
    triples = [
        (a, b, c) for a, b, c in combinations(range(12), 3) if adjacent[a, b] and adjacent[b, c] and adjacent[a, c]
    ]
    edges, faces = (np.array([vertices[list(corner)].sum(0) for corner in parts]) for parts in (pairs, triples))
    return np.concatenate([_halved(vectors) for vectors in (vertices, faces, edges)])


def _halved(vectors: Curve) -> Curve:
    """Scale vectors to length one, and keep one of two opposite ones."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    kept = [n for n, unit in enumerate(units) if all(unit @ other > -1 + 1e-9 for other in units[:n])]
    out: Curve = units[kept]
    return out


def _power(values: npt.NDArray[Any], power: int) -> npt.NDArray[Any]:
    """Raise values to a power by repeated squaring, ten times as fast as numpy's power."""
    if power == 1:
        return values
    out: npt.NDArray[Any] = _power(values, power // 2) ** 2
    return out * values if power % 2 else out


def cone_weights(directions: npt.NDArray[np.floating], axes: Curve, power: int) -> npt.NDArray[Any]:
    """Return the weight of every direction in the cone of every axis.

    Parameters
    ----------
    directions : (…, 3) unit vectors
    axes : (n, 3) unit vectors
    power : even; the higher it is, the narrower are the cones

    Returns
    -------
    (…, n), sums to one over the axes
    """
    weights = _power(directions @ axes.T.astype(directions.dtype), power)
    weights /= weights.sum(-1, keepdims=True)
    return weights


def quadratic_terms(axes: Curve) -> Curve:
    """Return the terms (n, 6) of a quadratic form along unit vectors (n, 3): uᵀ M u is their product with M's elements.

    The elements of the symmetric M are those of its upper triangle, row by row.
    """
    rows, columns = np.triu_indices(3)
    out: Curve = axes[:, rows] * axes[:, columns] * np.where(rows == columns, 1, 2)
    return out


def quadratic_form(elements: npt.NDArray[np.floating]) -> npt.NDArray[Any]:
    """Return the symmetric matrix (3, 3, …) with these elements (6, …) in its upper triangle, row by row."""
    rows, columns = np.triu_indices(3)
    out = np.zeros((3, 3, *elements.shape[1:]), elements.dtype)
    out[rows, columns] = out[columns, rows] = elements
    return out
