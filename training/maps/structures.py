"""The mean density of a moving molecule, from an atomic structure.

A folder of structures contains mmCIF files and a `manifest.csv` with the columns id, file, kind and split.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import gemmi
import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage
from scipy.cluster.vq import kmeans2
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from cryores_lite.fourier.spectrum import radius
from cryores_lite.types import Mask, Shape, Volume

Points = npt.NDArray[np.float64]

B_CLASSES = np.geomspace(8.0, 600.0, 9)  # Å²; the density is computed for one B factor after another
SOLVENT_B = 200.0  # Å², B factor of the displaced solvent
MAX_BELT_DISORDER = 4.0  # largest factor of the B factors of a belt's lipids
MIN_MERGED_EDGE = 1.5  # Å; atoms in smaller cells are not merged
MASK_RADIUS = 3.0  # Å, largest distance of a voxel of the mask from a non-hydrogen atom
MASK_MIN_SHARE = 0.3  # smallest share of the conformers in which a voxel of the mask is that near
DOMAIN_COUNTS = {1: 0.25, 2: 0.25, 3: 0.3, 4: 0.2}  # probabilities of the numbers of rigid domains
MISSING_DOMAIN_PROBABILITY = 0.25  # probability that a domain is missing from some of the conformers


@dataclass(frozen=True)
class Structure:
    """One row of the manifest."""

    id: str
    path: Path
    kind: str
    split: str


@dataclass(frozen=True, eq=False)
class Atoms:
    """Non-hydrogen atoms.

    Attributes
    ----------
    positions : (n, 3) in Å, (z, y, x), centred
    weights : (n,), electron scattering factors at zero angle
    disorder : (n,), factor of the B factors: 1, or more in lipids
    """

    positions: Points
    weights: Points
    disorder: Points

    def at(self, positions: Points) -> Atoms:
        """The atoms at other positions."""
        return replace(self, positions=positions)

    def moved(self, z: float, y: float, x: float) -> Atoms:
        """The atoms shifted by lengths in Å."""
        return self.at(self.positions + np.array([z, y, x]))

    def where(self, chosen: npt.NDArray[np.bool_]) -> Atoms:
        """Some of the atoms."""
        return Atoms(self.positions[chosen], self.weights[chosen], self.disorder[chosen])


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Conformers of a moving molecule.

    Attributes
    ----------
    positions : (conformers, n, 3) in Å, (z, y, x)
    weights : (n,), electron scattering factors at zero angle
    mobility : (n,), B factors in Å²
    present : (conformers, n), 1 where the atom is in the conformer, else 0
    """

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
    """Read the non-hydrogen atoms of a structure's first model, with their electron scattering factors f(0)."""
    model = gemmi.read_structure(str(path))[0]
    atoms = [atom for chain in model for residue in chain for atom in residue if atom.element.name != "H"]
    positions = np.array([(atom.pos.z, atom.pos.y, atom.pos.x) for atom in atoms])
    weights = np.array([sum(a.element.c4322.a) if a.element.c4322 else 2.5 for a in atoms])
    return centred(Atoms(positions, np.maximum(weights, 0.5), np.ones(len(weights))))


def centred(atoms: Atoms) -> Atoms:
    """The atoms with the middle of their extent at 0."""
    return atoms.at(atoms.positions - (atoms.positions.min(0) + atoms.positions.max(0)) / 2)


def joined(parts: Sequence[Atoms]) -> Atoms:
    """All atoms of several molecules."""
    columns = zip(*((p.positions, p.weights, p.disorder) for p in parts), strict=True)
    return Atoms(*(np.concatenate(column) for column in columns))


def merged(atoms: Atoms, edge: float) -> Atoms:
    """Replace the atoms in each cell of `edge` Å, if larger than 1.5 Å, by one at their centre of scattering."""
    if edge <= MIN_MERGED_EDGE:
        return atoms
    cells = np.floor((atoms.positions - atoms.positions.min(0)) / edge).astype(int)
    index = np.unique(np.ravel_multi_index(tuple(cells.T), tuple(cells.max(0) + 1)), return_inverse=True)[1]
    weights = np.asarray(np.bincount(index, atoms.weights), np.float64)
    means = [np.bincount(index, atoms.weights * c) / weights for c in (*atoms.positions.T, atoms.disorder)]
    return Atoms(np.column_stack(means[:3]), weights, means[3])


def cut_ball(atoms: Atoms, max_extent: float, rng: np.random.Generator) -> Atoms:
    """Cut a molecule that is larger than `max_extent` Å to a ball around one of its atoms."""
    if np.ptp(atoms.positions, axis=0).max() <= max_extent:
        return atoms
    centre = atoms.positions[rng.integers(len(atoms.positions))]
    inside = ((atoms.positions - centre) ** 2).sum(1) < (max_extent / 2) ** 2
    return centred(atoms.where(inside))


def rotated(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """The molecule in a random orientation."""
    return centred(atoms.at(Rotation.random(random_state=rng).apply(atoms.positions)))


def with_membrane(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Add a belt of disordered lipid or detergent around the molecule's waist."""
    centre = atoms.positions.mean(0)
    axis_distance = np.sqrt(((atoms.positions - centre)[:, 1:] ** 2).sum(1))
    inner, thickness, height = np.quantile(axis_distance, 0.8), rng.uniform(12, 25), rng.uniform(25, 38)
    outer = inner + thickness
    count = int(np.pi * (outer**2 - inner**2) * height / 25)
    angle, r = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.uniform(inner**2, outer**2, count))
    belt = centre + np.stack([rng.uniform(-height / 2, height / 2, count), r * np.sin(angle), r * np.cos(angle)], 1)
    belt = belt[cKDTree(atoms.positions).query(belt)[0] >= 3.0]
    disorder = np.full(len(belt), np.exp(rng.uniform(0, np.log(MAX_BELT_DISORDER))))
    return joined([atoms, Atoms(belt, np.full(len(belt), 2.5), disorder)])


def smooth_field(positions: Points, scale: float, rng: np.random.Generator) -> Points:
    """A random field at the atoms, of mean 0 and variance about 1, with a correlation length of `scale` Å."""
    waves = rng.normal(0, 1 / scale, (24, 3))
    phases = rng.uniform(0, 2 * np.pi, 24)
    field: Points = np.sqrt(2 / 24) * np.cos(positions @ waves.T + phases).sum(1)
    return field


def mobility_field(positions: Points, log_spread: float, rng: np.random.Generator) -> Points:
    """B factors in Å²: a random field, growth outward and exposure, with weights that are drawn for each molecule.

    The logarithm of B varies by about `log_spread`. The weights are independent, so that atoms at the surface or far
    from the centre are not always mobile.
    """
    size = max(np.ptp(positions, axis=0).max(), 20.0)
    radius_share = np.sqrt((positions**2).sum(1)) / (size / 2)
    neighbours = np.array(cKDTree(positions).query_ball_point(positions, 8.0, return_length=True), float)
    exposure = 1 - neighbours / np.quantile(neighbours, 0.95)
    field = (
        rng.uniform(0.4, 1.2) * smooth_field(positions, rng.uniform(8, 0.5 * size), rng)
        + rng.choice([0.0, 1.0]) * rng.uniform(0.3, 1.8) * (radius_share - radius_share.mean())
        + rng.choice([0.0, 1.0]) * rng.uniform(0.3, 1.8) * (exposure - exposure.mean())
    )
    typical_b = np.exp(rng.uniform(np.log(25), np.log(110)))
    b_factors: Points = np.clip(typical_b * np.exp(log_spread * field), 8, 600)
    return b_factors


def ensemble(atoms: Atoms, scale: float, conformers: int, log_spread: float, rng: np.random.Generator) -> Ensemble:
    """Rotate and shift rigid domains, leave one out of some conformers, and give every atom a mobility.

    Parameters
    ----------
    atoms : the molecule
    scale : Å, intended resolution of the map; motions and mobilities grow with it
    conformers : number of conformers
    log_spread : spread of the log mobility over the molecule; if it is small, the domains hardly move
    """
    n = len(atoms.positions)
    domains = int(rng.choice(list(DOMAIN_COUNTS), p=list(DOMAIN_COUNTS.values())))
    _, label = kmeans2(atoms.positions, domains, minit="++", seed=rng) if domains > 1 else (None, np.zeros(n, int))
    positions = np.repeat(atoms.positions[None], conformers, 0)
    present = np.ones((conformers, n))
    stretch = max(scale / 3, 0.6) * min(log_spread, 1.0)
    for domain in range(1, domains):
        inside = label == domain
        if not inside.any():
            continue
        hinge = atoms.positions[inside][((atoms.positions[inside]) ** 2).sum(1).argmin()]
        shift, angle = stretch * rng.uniform(0, 2.5), stretch * rng.uniform(0, 6.0)
        axis = rng.normal(size=3)
        axis /= np.linalg.norm(axis)
        for c in range(conformers):
            rotation = Rotation.from_rotvec(np.radians(rng.normal(0, angle)) * axis)
            positions[c, inside] = rotation.apply(positions[c, inside] - hinge) + hinge + rng.normal(0, shift / 2, 3)
    if domains > 1 and rng.random() < MISSING_DOMAIN_PROBABILITY:
        complete = np.arange(conformers) < rng.uniform(0.35, 0.8) * conformers
        present[np.ix_(~complete, label == domains - 1)] = 0.0
    mobility = mobility_field(atoms.positions, log_spread, rng) * atoms.disorder * max(scale / 3, 0.5) ** 2
    return Ensemble(positions, atoms.weights, np.clip(mobility, 8, 2500), present)


def mean_density(molecule: Ensemble, shape: Shape, voxel_size: float, scale: float = 1.0) -> Volume:
    """The average density of the conformers, in solvent, on a cubic grid centred on the molecule.

    Every atom has the electron scattering factor of carbon (International Tables C, 4.3.2.2), scaled to its own f(0),
    times exp(-B k²/4); the displaced solvent is a Gaussian of B = 200 Å². All lengths are those of a molecule that was
    scaled down by `scale`.
    """
    lengths = (shape[0] * voxel_size, shape[1] * voxel_size, shape[2] * voxel_size)
    k2 = radius(shape, lengths) ** 2
    carbon = gemmi.Element("C").c4322
    factor = sum(a * np.exp(-b * k2 / 4) for a, b in zip(carbon.a, carbon.b, strict=True)) / sum(carbon.a)
    b_classes = B_CLASSES * (molecule.mobility.max() / B_CLASSES[-1]) if molecule.mobility.max() > 600 else B_CLASSES
    b_class = np.abs(np.log(molecule.mobility[:, None] / b_classes)).argmin(1)
    waves = np.zeros(k2.shape, np.complex64)
    for index in np.unique(b_class):
        inside = b_class == index
        points = np.zeros(shape, np.float32)
        for positions, present in zip(molecule.positions, molecule.present, strict=True):
            splat(points, positions[inside] / voxel_size, molecule.weights[inside] * present[inside])
        b = np.float32(b_classes[index])
        solvent = 0.7 * np.exp(-np.maximum(SOLVENT_B / scale**2, b) * k2 / 4)
        waves += fft.rfftn(points / len(molecule.positions)) * (factor * np.exp(-b * k2 / 4) - solvent)
    density: Volume = fft.irfftn(waves, s=shape)
    return density


def splat(grid: Volume, positions: Points, weights: Points) -> None:
    """Add weights to a grid at positions in voxels from its centre, divided among the eight nearest voxels."""
    voxel = positions + np.array(grid.shape) / 2
    corner = np.floor(voxel).astype(int)
    share = voxel - corner
    total = np.zeros(grid.size)
    for offset in np.ndindex(2, 2, 2):
        indices = corner + offset
        inside = ((indices >= 0) & (indices < grid.shape)).all(1)
        parts = np.prod(np.where(np.array(offset) == 1, share, 1 - share), axis=1) * weights
        total += np.bincount(np.ravel_multi_index(tuple(indices[inside].T), grid.shape), parts[inside], grid.size)
    grid += total.reshape(grid.shape).astype(np.float32)


def molecule_mask(molecule: Ensemble, shape: Shape, voxel_size: float, scale: float = 1.0) -> Mask:
    """Voxels within 3 Å of a non-hydrogen atom in at least 30 % of the conformers.

    The lengths are those of a molecule that was scaled down by `scale`.
    """
    stride = max(1, len(molecule.positions) // 6)
    conformers, occupancies = molecule.positions[::stride], molecule.present[::stride]
    near = np.zeros(shape, np.float32)
    for positions, present in zip(conformers, occupancies, strict=True):
        indices = np.round(positions[present > 0] / voxel_size + np.array(shape) / 2).astype(int)
        indices = indices[((indices >= 0) & (indices < shape)).all(1)]
        empty = np.ones(shape, bool)
        empty[tuple(indices.T)] = False
        near += ndimage.distance_transform_edt(empty) * voxel_size <= MASK_RADIUS / scale
    mask: Mask = near / len(conformers) >= MASK_MIN_SHARE
    return mask


def closed(mask: Mask, radius: float) -> Mask:
    """Fill the gaps of a mask that no ball of a radius in voxels fits into."""
    wide = ndimage.distance_transform_edt(~mask) <= radius
    out: Mask = mask | (ndimage.distance_transform_edt(wide) > radius)
    return out
