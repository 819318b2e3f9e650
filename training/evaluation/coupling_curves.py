"""Measure the phase coupling of noise-free densities: proteins, nucleic acids, lipids and glycans.

    python -m training.evaluation.coupling_curves --structures FOLDER

The atoms of one kind are taken out of structures of the training split, all with a B factor of 30 Å². Prints for every
band the median coupling near the atoms, its mean over the structures and its standard deviation between them. The curve
of proteins is `PROTEIN_COUPLING` of `cryores_lite.method.coupling_estimate`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import gemmi
import numpy as np
import numpy.typing as npt

from cryores_lite.fourier.local_power import POWER_STEP
from cryores_lite.fourier.spectrum import grid_for
from cryores_lite.method.phase_coupling import measure_powers_and_coupling
from training.maps.processing import resample_wrapped
from training.maps.simulate import periodic
from training.maps.structures import (
    Atoms,
    Ensemble,
    Structure,
    cut_ball,
    mean_density,
    molecule_mask,
    read_atoms,
    read_manifest,
    rotated,
    with_membrane,
)

Curve = npt.NDArray[np.float64]

B_FACTOR = 30.0  # Å²
VOXEL_SIZE = 0.8  # Å
MARGIN = 40.0  # Å, of the box over the size of the molecule
MAX_EXTENT = 100.0  # Å; larger molecules are cut to a ball
MIN_ATOMS = 300
MAX_STRUCTURES = 6  # of a kind
SUGARS = frozenset({"BGC", "BMA", "FUC", "GAL", "GLC", "MAN", "NAG", "NDG", "SIA"})
LIPIDS = frozenset({"CDL", "LHG", "LMG", "PC1", "PCW", "PEE", "PGV", "PLM", "POP", "PTY"})
KINDS = ("protein", "nucleic acid", "lipid", "disordered lipid", "glycan")
SEED = 3


def residue_atoms(path: Path, names: frozenset[str]) -> Atoms:
    """Read the non-hydrogen atoms of residues with one of the names; all have the weight of carbon."""
    model = gemmi.read_structure(str(path))[0]
    residues = (residue for chain in model for residue in chain if residue.name in names)
    atoms = [atom for residue in residues for atom in residue if atom.element.name != "H"]
    positions = np.array([(atom.pos.z, atom.pos.y, atom.pos.x) for atom in atoms]).reshape(-1, 3)
    return Atoms(positions, np.full(len(atoms), 2.5), np.ones(len(atoms)))


def atoms_of_kind(structures: list[Structure], kind: str, rng: np.random.Generator) -> Iterator[Atoms]:
    """Yield the atoms of one kind of `KINDS` from structures in random order, in random orientations."""
    for index in rng.permutation(len(structures)):
        structure = structures[index]
        if kind in ("protein", "nucleic acid"):
            if structure.kind != kind.split(" ")[0]:
                continue
            atoms = read_atoms(structure.path)
        elif kind == "disordered lipid":
            if structure.kind != "membrane":
                continue
            protein = cut_ball(read_atoms(structure.path), MAX_EXTENT / 2, rng)
            both = with_membrane(protein, rng)
            atoms = Atoms(*(values[len(protein.positions) :] for values in (both.positions, both.weights)))
        else:
            atoms = residue_atoms(structure.path, SUGARS if kind == "glycan" else LIPIDS)
        if len(atoms.positions) >= MIN_ATOMS:
            yield rotated(cut_ball(atoms, MAX_EXTENT, rng), rng)


def coupling_curve(atoms: Atoms) -> tuple[Curve, Curve]:
    """Return the frequencies of the bands, and the median coupling near the atoms of a noise-free density."""
    count = len(atoms.positions)
    molecule = Ensemble(atoms.positions[None], atoms.weights, np.full(count, B_FACTOR), np.ones((1, count)))
    edge = int((np.ptp(atoms.positions, axis=0).max() + MARGIN) / VOXEL_SIZE) // 2 * 2
    shape = (edge, edge, edge)
    spectrum = periodic(mean_density(molecule, shape, VOXEL_SIZE), VOXEL_SIZE)
    coarse = grid_for(spectrum.lengths, POWER_STEP)
    _, coupling = measure_powers_and_coupling(spectrum, np.zeros(coarse, np.float32))
    near = resample_wrapped(molecule_mask(molecule, shape, VOXEL_SIZE).astype(np.float32), coarse) > 0.5
    return coupling.frequencies, np.median(coupling.values[:, near], axis=1).astype(np.float64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=Path, required=True, help="folder of structures (docs/training.md)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    args = parser.parse_args()
    structures = read_manifest(args.structures, "train")
    table: dict[str, list[str]] = {}
    for kind in args.kinds:
        rng, curves = np.random.default_rng(SEED), []
        for atoms in atoms_of_kind(structures, kind, rng):
            frequencies, curve = coupling_curve(atoms)
            curves.append(curve)
            if len(curves) == MAX_STRUCTURES:
                break
        if curves:
            mean, deviation = np.mean(curves, 0), np.std(curves, 0)
            rows = [f"{m:+.3f} ± {s:.3f}" for m, s in zip(mean, deviation, strict=True)]
            table[f"{kind} ({len(curves)})"] = rows
    print("| Å | " + " | ".join(table) + " |\n|---|" + "---|" * len(table))
    for n, f in enumerate(frequencies):
        print(f"| {1 / f:.2f} | " + " | ".join(rows[n] for rows in table.values()) + " |")


if __name__ == "__main__":
    main()
