"""Arrangements of molecules other than one particle in a box: filaments, lattices, membranes, capsids, rings, groups.

All lengths are in Å. The box is a cube centred on 0, and all atoms outside it are left out.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from cryores_lite.fourier.local_power import smooth
from cryores_lite.types import Lengths, Mask, Volume
from training.maps.recipe import draw_log
from training.maps.structures import Atoms, Points, cut_ball, joined, merged, rotated

LEAVES_THE_BOX = ("filament", "lattice", "bilayer", "capsid")
MERGED_EDGE = 0.2  # edge of the cells whose atoms are merged, in units of the resolution
MAX_ATOMS = 120_000  # of an arrangement; the cells become larger until so many are left
SMALLEST_COPY = 0.2  # extent of a copy in units of the box's edge
TOUCHING = 0.85  # distance of neighbours, in units of their extent; proteins are not boxes
UPRIGHT_SHARE = 0.6  # probability that the axis of an arrangement is the z axis of the box
LIPIDS = ((2.0, 10, 2.5), (7.0, 32, 1.2))  # heads, tails: spread along the normal in Å, atoms, scattering factor
AREA_PER_LIPID = 65.0  # Å²
MAX_LIPID_ATOMS = 200_000


def arrange(kind: str, atoms: Atoms, edge: float, resolution: float, rng: np.random.Generator) -> Atoms:
    """Arrange copies of a molecule in a box.

    Parameters
    ----------
    kind : "filament", "lattice", "bilayer", "capsid", "ring" or "several"
    atoms : the molecule, centred
    edge : of the box, Å
    resolution : Å; atoms much closer to each other than this are merged
    """
    atoms = merged(atoms, MERGED_EDGE * resolution)
    while np.ptp(atoms.positions, axis=0).max() < SMALLEST_COPY * edge:  # a complex of small molecules
        atoms = merged(ring(atoms, edge, rng), MERGED_EDGE * resolution)
    arranged = {
        "filament": filament,
        "lattice": lattice,
        "bilayer": bilayer,
        "capsid": capsid,
        "ring": ring,
        "several": several,
    }[kind](atoms, edge, rng)
    if kind in LEAVES_THE_BOX and rng.random() >= UPRIGHT_SHARE:
        arranged = arranged.at(Rotation.random(random_state=rng).apply(arranged.positions))
    arranged = arranged.where(np.abs(arranged.positions).max(1) < edge / 2)
    cell = MERGED_EDGE * resolution
    while len(arranged.weights) > MAX_ATOMS:
        arranged, cell = merged(arranged, cell), 1.3 * cell
    return arranged


def placed(unit: Atoms, rotations: Rotation, shifts: Points) -> Atoms:
    """Copies of a molecule, each rotated about the origin and then shifted."""
    return joined(
        [unit.at(rotation.apply(unit.positions) + shift) for rotation, shift in zip(rotations, shifts, strict=True)]
    )


def about_z(degrees: Points) -> Rotation:
    """Rotations about the first axis."""
    return Rotation.from_rotvec(np.radians(degrees)[:, None] * np.array([1.0, 0, 0]))


def filament(atoms: Atoms, edge: float, rng: np.random.Generator) -> Atoms:
    """A helix of copies along z, longer than the box, with turns that touch."""
    unit = rotated(cut_ball(atoms, edge * rng.uniform(0.2, 0.4), rng), rng)
    height, width = extents(unit)
    radius = min(width * rng.uniform(0, 1.5), max(0.7 * edge - width, 0) / 2)
    per_turn = max(2 * np.pi * radius / width, 1.0)
    twist = 360 / per_turn + rng.uniform(-15, 15) if per_turn > 1 else rng.uniform(20, 180)
    rise = height / per_turn
    steps = np.arange(np.ceil(1.8 * edge / rise))
    steps -= steps.mean()
    off_axis = unit.moved(0, radius, 0)
    return placed(off_axis, about_z(np.asarray(twist * steps, np.float64)), steps[:, None] * [rise, 0, 0])


def lattice(atoms: Atoms, edge: float, rng: np.random.Generator) -> Atoms:
    """A sheet of copies across the box, sometimes of two layers, sometimes a crystal that fills the box."""
    layers = int(rng.choice([1, 2, 20], p=[0.6, 0.25, 0.15]))
    unit = rotated(cut_ball(atoms, edge * rng.uniform(0.25, 0.5), rng), rng)
    return layer(unit, edge, layers, rng)


def layer(unit: Atoms, edge: float, layers: int, rng: np.random.Generator) -> Atoms:
    """Layers of copies on a square, oblique or hexagonal lattice normal to z, wider than the box's diagonal."""
    height, width = extents(unit)
    angle = np.radians(rng.choice([60, 90, rng.uniform(70, 110)]))
    turn = rng.uniform(0, 2 * np.pi)
    first, second = ([0, np.sin(turn + a), np.cos(turn + a)] for a in (0, angle))
    count = int(np.ceil(edge / width)) + 1
    layers = min(layers, int(np.ceil(1.8 * edge / height)))
    heights = (np.arange(layers) - (layers - 1) / 2) * height
    steps = np.arange(-count, count + 1) * width
    shifts = [[h, 0, 0] + u * np.array(first) + v * np.array(second) for h in heights for u in steps for v in steps]
    inside = np.array([s for s in shifts if np.abs(s).max() < 0.9 * edge + width])
    turned = about_z(np.where(rng.random(len(inside)) < 0.5, 180.0, 0.0) * rng.integers(2))
    return placed(unit, turned, inside)


def capsid(atoms: Atoms, edge: float, rng: np.random.Generator) -> Atoms:
    """A patch of a curved layer of copies."""
    unit = rotated(cut_ball(atoms, edge * rng.uniform(0.2, 0.4), rng), rng)
    return bent(layer(unit, edge, 1, rng), edge * draw_log((0.7, 3.0), rng))


def bilayer(atoms: Atoms, edge: float, rng: np.random.Generator) -> Atoms:
    """A lipid bilayer from face to face, flat or curved, without protein or with one or a layer of copies."""
    lipids = lipid_layer(edge, rng)
    kind = rng.choice(["lipids", "one", "layer"], p=[0.3, 0.45, 0.25])
    if kind != "lipids":
        unit = rotated(cut_ball(atoms, 0.6 * edge, rng), rng)
        unit = unit.moved(rng.uniform(-20, 20), 0, 0)
        protein = unit if kind == "one" else layer(unit, edge, 1, rng)
        away = cKDTree(protein.positions).query(lipids.positions, distance_upper_bound=4.0)[0] > 3.0
        lipids = joined([protein, lipids.where(away)])
    return bent(lipids, edge * draw_log((0.6, 4.0), rng)) if rng.random() < 0.4 else lipids


def lipid_layer(edge: float, rng: np.random.Generator) -> Atoms:
    """Disordered lipids in two leaflets normal to z, wider than the box's diagonal."""
    width, thickness = 1.8 * edge, rng.uniform(34, 46)
    parts = []
    for number, (spread, per_lipid, weight) in enumerate(LIPIDS):
        wanted = 2 * width**2 / AREA_PER_LIPID * per_lipid
        across = evenly_random(int(min(wanted, MAX_LIPID_ATOMS / len(LIPIDS))), width, rng)
        count = len(across)
        centre = thickness / 2 if number == 0 else thickness / 4 - 1
        z = rng.choice([-1, 1], count) * (centre + rng.normal(0, 1, count) * spread / 2)
        parts.append(Atoms(np.column_stack([z, across]), np.full(count, weight * wanted / count), np.ones(count)))
    lipids = joined(parts)
    return Atoms(lipids.positions, lipids.weights, lipids.disorder * draw_log((1.0, 6.0), rng))


def evenly_random(count: int, width: float, rng: np.random.Generator) -> Points:
    """About `count` points in a square about 0, each at random in a square cell of its own, (n, 2)."""
    side = max(int(np.sqrt(count)), 1)
    cells = np.indices((side, side)).reshape(2, -1).T
    points: Points = ((cells + rng.random(cells.shape)) / side - 0.5) * width
    return points


def bent(atoms: Atoms, radius: float) -> Atoms:
    """Atoms about the plane z = 0 bent to a sphere of a radius in Å that touches this plane at the origin."""
    z, across = atoms.positions[:, 0], atoms.positions[:, 1:]
    distance = np.maximum(np.sqrt((across**2).sum(1)), 1e-9)
    angle = np.minimum(distance / radius, np.pi / 2)
    height = (radius + z) * np.cos(angle) - radius
    return atoms.at(np.column_stack([height, across * ((radius + z) * np.sin(angle) / distance)[:, None]]))


def ring(atoms: Atoms, edge: float, rng: np.random.Generator) -> Atoms:
    """Three to eight copies about z that touch, or two such rings, head to head."""
    count = int(rng.integers(3, 9))
    diameters = 1 / np.sin(np.pi / count) + 1  # of the ring, in extents of a copy
    unit = rotated(cut_ball(atoms, 0.75 * edge / diameters, rng), rng)
    height, width = extents(unit)
    off_axis = unit.moved(0, width / 2 / np.sin(np.pi / count), 0)
    turns = about_z(np.arange(count) * 360 / count)
    one = placed(off_axis, turns, np.zeros((count, 3)))
    if rng.random() < 0.5 or 2 * height > 0.75 * edge:
        return one
    up = one.moved(height / 2, 0, 0)
    return joined([up, up.at(up.positions * [-1, -1, 1])])


def several(atoms: Atoms, edge: float, rng: np.random.Generator) -> Atoms:
    """Two to four copies in random orientations that do not overlap."""
    unit = cut_ball(atoms, edge * rng.uniform(0.3, 0.45), rng)
    extent = float(np.ptp(unit.positions, axis=0).max())
    reach = max(edge - 1.1 * extent, 0) / 2
    centres = [rng.uniform(-reach, reach, 3)]
    wanted = rng.integers(2, 5)
    for _ in range(60):
        centre = rng.uniform(-reach, reach, 3)
        if len(centres) < wanted and min(np.linalg.norm(centre - c) for c in centres) > extent:
            centres.append(centre)
    return placed(unit, Rotation.random(len(centres), random_state=rng), np.array(centres))


def extents(atoms: Atoms) -> tuple[float, float]:
    """Distances of touching neighbours along z and across it."""
    z, y, x = (max(TOUCHING * float(n), 1.0) for n in np.ptp(atoms.positions, axis=0))
    return z, max(y, x)


def stained(density: Volume, mask: Mask, lengths: Lengths, resolution: float, rng: np.random.Generator) -> Volume:
    """Negative stain: the molecule's hull filled evenly, with stain piled up around it.

    The hull is that of the density smoothed by a quarter of the resolution (Å). It is positive, as in maps of negative
    stain whose contrast was inverted.
    """
    sigma = resolution * rng.uniform(0.15, 0.35)
    smoothed = smooth(np.maximum(density, 0), lengths, sigma, density.shape)
    level = rng.uniform(0.2, 0.5) * float(np.percentile(smoothed[mask], 75))
    hull = np.minimum(smoothed / level, 1)
    pile = np.maximum(smooth(hull, lengths, resolution * rng.uniform(0.4, 1.0), density.shape) - hull, 0)
    inner = rng.uniform(0, 0.3) * density / max(float(density.max()), 1e-20)
    return (hull * (1 + inner) - rng.uniform(0, 1.5) * pile).astype(np.float32)
