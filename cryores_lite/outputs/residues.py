"""Local resolution at a fitted model: of its residues, its chains and the whole. Needs gemmi, the extra `atoms`."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryores_lite.errors import InputError
from cryores_lite.io.mrc import Map
from cryores_lite.io.mrc_header import in_voxels, placement_warning
from cryores_lite.types import LocalResolution, Volume

INSIDE = 0.5  # share of an atom's surroundings that the mask must hold, else it is not measured
FEW = 0.5  # share of the atoms below which the user is told that many lie outside
DIGITS = 3  # decimals of Å in every file, so that they agree


@dataclass(frozen=True, eq=False)
class Fitted:
    """A model beside a map.

    Attributes
    ----------
    name : of its file
    structure : gemmi's, with one model
    places : (n, 3) voxels, of its non-hydrogen atoms in their order, along the axes of the map as stored
    notes : sentences for the user
    """

    name: str
    structure: Any
    places: npt.NDArray[np.float64]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Residue:
    """A residue by its author's names, and the mean local resolution in Å of its measured atoms (None: of none).

    `atoms` counts those: non-hydrogen, and inside the mask.
    """

    chain: str
    seq: int
    icode: str
    name: str
    atoms: int
    locres: float | None


@dataclass(frozen=True, eq=False)
class Measured:
    """A model, and the local resolution of its residues in their order."""

    fitted: Fitted
    residues: tuple[Residue, ...]

    @property
    def average(self) -> float | None:
        """Mean over all measured atoms, in Å."""
        return _mean(self.residues)

    @property
    def chains(self) -> dict[str, float | None]:
        """Mean over the measured atoms of each chain, in Å."""
        ordered = sorted(self.residues, key=lambda residue: residue.chain)
        return {name: _mean(group) for name, group in itertools.groupby(ordered, lambda residue: residue.chain)}

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the user."""
        total, inside = len(self.fitted.places), sum(residue.atoms for residue in self.residues)
        if inside >= FEW * total:
            return self.fitted.notes
        few = f"{inside} of {total} atoms of {self.fitted.name} lie in the molecule; is it fitted to this map?"
        return (*self.fitted.notes, few)


def read_fitted(path: Path, found: Map, map_path: Path) -> Fitted:
    """Read a model and place it in a map, as ChimeraX does.

    Parameters
    ----------
    path : PDB, mmCIF or mmJSON, told by content, plain or .gz; the first of several models is taken
    found, map_path : the map, and its file, whose suffix matters

    Raises
    ------
    InputError
        gemmi is missing, the file holds no model, or it lies outside the map's box.
    """
    structure = _read(path)
    notes = [placement_warning(found.header, found.density.grid.voxel_size, map_path)]
    if len(structure) > 1:
        notes.append(f"{path.name} holds {len(structure)} models; the first was taken.")
        del structure[1:]
    positions = np.array([atom.pos.tolist() for _, residue in _residues(structure) for atom in _heavy(residue)])
    if not positions.size:
        raise _refusal(path, "no atoms", "a model", "check the file given to --atoms")
    grid = found.density.grid
    places = in_voxels(positions, found.header, grid.voxel_size, map_path)
    if not np.all((places >= -0.5) & (places <= np.array(grid.shape) - 0.5), axis=1).any():
        where = "its middle at {:.1f}, {:.1f}, {:.1f} Å, outside the map's box".format(*positions.mean(0))
        raise _refusal(path, where, "a model fitted to this map", "look at both in ChimeraX")
    return Fitted(path.name, structure, places, tuple(note for note in notes if note))


def measure_residues(fitted: Fitted, result: LocalResolution) -> Measured:
    """Read the local resolution off at a model's atoms, and average it over residues."""
    values, residues = iter(interpolate_at_atoms(result.values, fitted.places)), []
    for chain, residue in _residues(fitted.structure):
        here = np.array(list(itertools.islice(values, len(_heavy(residue)))))
        known = here[np.isfinite(here)]
        mean = round(float(known.mean()), DIGITS) if known.size else None
        number = residue.seqid
        residues.append(Residue(chain, number.num, number.icode.strip(), residue.name, len(known), mean))
    return Measured(fitted, tuple(residues))


def interpolate_at_atoms(values: Volume, places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Local resolution at atoms: the mean of the eight voxels around each, the nearer the more, without those of 0.

    Parameters
    ----------
    values : (z, y, x) Å, 0 outside the mask
    places : (n, 3) voxels

    Returns
    -------
    (n,) Å; NaN where the mask holds less than half of the surroundings
    """
    below = np.floor(places).astype(int)
    share, total = np.zeros(len(places)), np.zeros(len(places))
    for corner in itertools.product((0, 1), repeat=3):
        voxel = below + corner
        weight = np.abs(1 - np.array(corner) - (places - below)).prod(1)
        inside = np.all((voxel >= 0) & (voxel < values.shape), axis=1, keepdims=True)
        here = values[tuple(np.where(inside, voxel, 0).T)] * inside[:, 0]
        share += weight * (here > 0)
        total += weight * here
    out = np.full(len(places), np.nan)
    np.divide(total, share, out=out, where=share >= INSIDE)
    return out


def with_values(measured: Measured) -> Any:
    """Copy the model, with its residues' values in the B-factor column (Å; 0 where nothing was measured)."""
    import gemmi

    structure = measured.fitted.structure.clone()
    for (_, residue), found in zip(_residues(structure), measured.residues, strict=True):
        for atom in residue:
            atom.b_iso = found.locres or 0.0
            atom.aniso = gemmi.SMat33f(0, 0, 0, 0, 0, 0)  # it would contradict the new value
    return structure


def _read(path: Path) -> Any:
    try:
        import gemmi
    except ImportError as error:
        raise InputError(
            "--atoms needs gemmi",
            found="no such package",
            expected="it beside cryores_lite",
            try_="pip install 'cryores-lite[atoms]'",
        ) from error
    try:
        structure = gemmi.read_structure(os.fspath(path), format=gemmi.CoorFormat.Detect)
    except (OSError, RuntimeError, ValueError) as error:
        found = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise _refusal(path, found, "a PDB or mmCIF file", "check the file given to --atoms") from error
    structure.setup_entities()
    return structure


def _residues(structure: Any) -> Iterable[tuple[str, Any]]:
    return ((chain.name, residue) for model in structure for chain in model for residue in chain)


def _heavy(residue: Any) -> Sequence[Any]:
    return [atom for atom in residue if not atom.element.is_hydrogen]


def _mean(residues: Iterable[Residue]) -> float | None:
    """Over their measured atoms."""
    known = [(residue.locres, residue.atoms) for residue in residues if residue.locres is not None]
    if not known:
        return None
    values, atoms = zip(*known, strict=True)
    return round(float(np.average(values, weights=atoms)), DIGITS)


def _refusal(path: Path, found: object, expected: object, try_: str) -> InputError:
    return InputError(f"model {path.name}", found=found, expected=expected, try_=try_)
