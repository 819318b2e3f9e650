"""From a folder of atomic structures to the mean density of a moving molecule.

The folder holds mmCIF files and a `manifest.csv` with the columns id, file, kind and split.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.cluster.vq import kmeans2
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from cryores_lite.fourier.spectrum import radius
from cryores_lite.types import Mask, Shape, Volume

Points = npt.NDArray[np.float64]

B_CLASSES = np.geomspace(8.0, 600.0, 9)  # Å², atoms are rendered in classes of mobility
SOLVENT_B = 200.0  # Å², softness of the solvent that a molecule displaces
MASK_RADIUS = 3.0  # Å, "a non-hydrogen atom lies within this distance …
MASK_SHARE = 0.3  # … in at least this share of the conformers"


@dataclass(frozen=True)
class Structure:
    """One row of the manifest."""

    id: str
    path: Path
    kind: str
    split: str


@dataclass(frozen=True, eq=False)
class Atoms:
    """Positions (n, 3) in Å, (z, y, x), centred; and scattering at zero angle (n,)."""

    positions: Points
    weights: Points


@dataclass(frozen=True, eq=False)
class Ensemble:
    """A molecule that moves: positions (conformers, n, 3), mobility B (n,) in Å², occupancy per conformer (c, n)."""

    positions: Points
    weights: Points
    mobility: Points
    present: Points


def read_manifest(folder: Path, split: str) -> list[Structure]:
    """The structures of one split, `train` or `validation`, in the manifest's order."""
    if split not in ("train", "validation"):
        raise ValueError(f"split is {split!r}, not train or validation")
    with (folder / "manifest.csv").open(newline="") as rows:
        return [
            Structure(row["id"], folder / row["file"], row["kind"], split)
            for row in csv.DictReader(rows)
            if row["split"] == split
        ]


def read_atoms(path: Path) -> Atoms:
    """Read the non-hydrogen atoms of a structure's first model, with electron scattering factors f(0)."""
    model = gemmi.read_structure(str(path))[0]
    found = [(a.pos.z, a.pos.y, a.pos.x, a.element) for chain in model for residue in chain for a in residue]
    positions = np.array([(z, y, x) for z, y, x, element in found if element.name != "H"])
    weights = np.array([sum(e.c4322.a) if e.c4322 else 2.5 for *_, e in found if e.name != "H"])
    return Atoms(positions - (positions.min(0) + positions.max(0)) / 2, np.maximum(weights, 0.5))


def cut_ball(atoms: Atoms, largest: float, rng: np.random.Generator) -> Atoms:
    """Keep a ball of the molecule around one of its atoms if it is larger than `largest` Å across."""
    if np.ptp(atoms.positions, axis=0).max() <= largest:
        return atoms
    centre = atoms.positions[rng.integers(len(atoms.positions))]
    keep = ((atoms.positions - centre) ** 2).sum(1) < (largest / 2) ** 2
    positions = atoms.positions[keep]
    return Atoms(positions - (positions.min(0) + positions.max(0)) / 2, atoms.weights[keep])


def turned(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """The molecule in a random orientation."""
    positions = Rotation.random(random_state=rng).apply(atoms.positions)
    return Atoms(positions - (positions.min(0) + positions.max(0)) / 2, atoms.weights)


def with_membrane(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Add a belt of disordered lipid or detergent around the molecule's waist."""
    centre = atoms.positions.mean(0)
    across = np.sqrt(((atoms.positions - centre)[:, 1:] ** 2).sum(1))
    inner, thick, high = np.quantile(across, 0.8), rng.uniform(12, 25), rng.uniform(25, 38)
    count = int(np.pi * ((inner + thick) ** 2 - inner**2) * high / 25)
    angle, r = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.uniform(inner**2, (inner + thick) ** 2, count))
    belt = centre + np.stack([rng.uniform(-high / 2, high / 2, count), r * np.sin(angle), r * np.cos(angle)], 1)
    near = cKDTree(atoms.positions).query(belt)[0] < 3.0
    return Atoms(np.concatenate([atoms.positions, belt[~near]]), np.append(atoms.weights, np.full((~near).sum(), 2.5)))


def smooth_field(positions: Points, scale: float, rng: np.random.Generator) -> Points:
    """A random field at the atoms, mean 0 and variance about 1, that changes over `scale` Å."""
    waves = rng.normal(0, 1 / scale, (24, 3))
    phases = rng.uniform(0, 2 * np.pi, 24)
    field: Points = np.sqrt(2 / 24) * np.cos(positions @ waves.T + phases).sum(1)
    return field


def mobility_field(positions: Points, unevenness: float, rng: np.random.Generator) -> Points:
    """B per atom, in Å²: a random field, growth outward and exposure, in shares that are drawn for each molecule.

    The logarithm of B varies by about `unevenness`.
    The shares are independent, so that "surface" and "far from the centre" do not always mean "mobile".
    """
    size = max(np.ptp(positions, axis=0).max(), 20.0)
    far = np.sqrt((positions**2).sum(1)) / (size / 2)
    neighbours = np.array(cKDTree(positions).query_ball_point(positions, 8.0, return_length=True), float)
    exposed = 1 - neighbours / np.quantile(neighbours, 0.95)
    field = (
        rng.uniform(0.4, 1.2) * smooth_field(positions, rng.uniform(8, 0.5 * size), rng)
        + rng.choice([0.0, 1.0]) * rng.uniform(0.3, 1.8) * (far - far.mean())
        + rng.choice([0.0, 1.0]) * rng.uniform(0.3, 1.8) * (exposed - exposed.mean())
    )
    level = np.exp(rng.uniform(np.log(25), np.log(110)))
    field_b: Points = np.clip(level * np.exp(unevenness * field), 8, 600)
    return field_b


def ensemble(atoms: Atoms, scale: float, conformers: int, unevenness: float, rng: np.random.Generator) -> Ensemble:
    """Let rigid domains swing and shift, one of them sometimes missing, and give every atom a mobility.

    Parameters
    ----------
    atoms : the molecule
    scale : Å, resolution that the map is meant to have; motions and mobilities grow with it
    conformers : how many
    unevenness : of the mobility over the molecule, in log units; domains of an evenly mobile one hardly move
    """
    n = len(atoms.positions)
    domains = int(rng.choice([1, 2, 3, 4], p=[0.25, 0.25, 0.3, 0.2]))
    _, label = kmeans2(atoms.positions, domains, minit="++", seed=rng) if domains > 1 else (None, np.zeros(n, int))
    positions = np.repeat(atoms.positions[None], conformers, 0)
    present = np.ones((conformers, n))
    stretch = max(scale / 3, 0.6) * min(unevenness, 1.0)
    for domain in range(1, domains):
        inside = label == domain
        if not inside.any():
            continue
        hinge = atoms.positions[inside][((atoms.positions[inside]) ** 2).sum(1).argmin()]
        shift, turn = stretch * rng.uniform(0, 2.5), stretch * rng.uniform(0, 6.0)
        axis = rng.normal(size=3)
        axis /= np.linalg.norm(axis)
        for c in range(conformers):
            swing = Rotation.from_rotvec(np.radians(rng.normal(0, turn)) * axis)
            positions[c, inside] = swing.apply(positions[c, inside] - hinge) + hinge + rng.normal(0, shift / 2, 3)
    if domains > 1 and rng.random() < 0.25:
        there = np.arange(conformers) < rng.uniform(0.35, 0.8) * conformers
        present[np.ix_(~there, label == domains - 1)] = 0.0
    mobility = mobility_field(atoms.positions, unevenness, rng) * max(scale / 3, 0.5) ** 2
    return Ensemble(positions, atoms.weights, np.clip(mobility, 8, 2500), present)


def mean_density(molecule: Ensemble, shape: Shape, voxel_size: float) -> Volume:
    """The average density of the conformers, in solvent, on a cubic grid centred on the molecule.

    Every atom has carbon's electron scattering factor (International Tables C, 4.3.2.2), scaled to its
    own f(0), times exp(-B k²/4); the solvent that it displaces is a Gaussian of B = 200 Å².
    """
    lengths = (shape[0] * voxel_size, shape[1] * voxel_size, shape[2] * voxel_size)
    k2 = radius(shape, lengths) ** 2
    carbon = gemmi.Element("C").c4322
    factor = sum(a * np.exp(-b * k2 / 4) for a, b in zip(carbon.a, carbon.b, strict=True)) / sum(carbon.a)
    scaled = B_CLASSES * (molecule.mobility.max() / B_CLASSES[-1]) if molecule.mobility.max() > 600 else B_CLASSES
    kind = np.abs(np.log(molecule.mobility[:, None] / scaled)).argmin(1)
    waves = np.zeros(k2.shape, np.complex64)
    for index in np.unique(kind):
        inside = kind == index
        points = np.zeros(shape, np.float32)
        for positions, present in zip(molecule.positions, molecule.present, strict=True):
            splat(points, positions[inside] / voxel_size, molecule.weights[inside] * present[inside])
        b = np.float32(scaled[index])
        solvent = 0.7 * np.exp(-np.maximum(SOLVENT_B, b) * k2 / 4)
        waves += fft.rfftn(points / len(molecule.positions)) * (factor * np.exp(-b * k2 / 4) - solvent)
    density: Volume = fft.irfftn(waves, s=shape)
    return density


def splat(grid: Volume, positions: Points, weights: Points) -> None:
    """Add weights to a grid at positions in voxels from its centre, shared among the eight nearest voxels."""
    place = positions + np.array(grid.shape) / 2
    corner = np.floor(place).astype(int)
    share = place - corner
    total = np.zeros(grid.size)
    for offset in np.ndindex(2, 2, 2):
        at = corner + offset
        inside = ((at >= 0) & (at < grid.shape)).all(1)
        part = np.prod(np.where(np.array(offset) == 1, share, 1 - share), axis=1) * weights
        total += np.bincount(np.ravel_multi_index(tuple(at[inside].T), grid.shape), part[inside], grid.size)
    grid += total.reshape(grid.shape).astype(np.float32)


def molecule_mask(molecule: Ensemble, shape: Shape, voxel_size: float) -> Mask:
    """Voxels within 3 Å of a non-hydrogen atom in at least 30 % of the conformers."""
    from scipy.ndimage import distance_transform_edt

    chosen = molecule.positions[:: max(1, len(molecule.positions) // 6)]
    there = molecule.present[:: max(1, len(molecule.positions) // 6)]
    near = np.zeros(shape, np.float32)
    for positions, present in zip(chosen, there, strict=True):
        at = np.round(positions[present > 0] / voxel_size + np.array(shape) / 2).astype(int)
        at = at[((at >= 0) & (at < shape)).all(1)]
        empty = np.ones(shape, bool)
        empty[tuple(at.T)] = False
        near += distance_transform_edt(empty) * voxel_size <= MASK_RADIUS
    mask: Mask = near / len(chosen) >= MASK_SHARE
    return mask
