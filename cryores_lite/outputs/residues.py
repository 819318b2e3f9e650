"""Local resolution of the residues of a fitted atomic model. Needs gemmi, the extra `atoms`."""

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
from cryores_lite.io.mrc_header import placement_warning, to_voxel_coordinates
from cryores_lite.io.text import BYTE_ORDER_MARK, decode_text
from cryores_lite.types import LocalResolution, Volume

MIN_WEIGHT_IN_MASK = 0.5  # of the eight voxels around an atom; with less, the atom is not measured
MIN_ATOMS_IN_MASK = 0.5  # share of the atoms; with fewer, the user is warned
GEMMI_COLUMNS = tuple(f"_atom_site.{name}".encode() for name in ("label_alt_id", "label_comp_id", "Cartn_x"))
DECIMALS = 3  # of lengths in Å, the same in every file


@dataclass(frozen=True, eq=False)
class FittedModel:
    """An atomic model placed in a map.

    Attributes
    ----------
    name : name of its file
    structure : a gemmi.Structure with one model
    positions : (n, 3) voxels, of the non-hydrogen atoms in order, along the axes of the map as stored
    notes : sentences for the user
    """

    name: str
    structure: Any
    positions: npt.NDArray[np.float64]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Residue:
    """A residue and its local resolution.

    Attributes
    ----------
    chain, seq, icode, name : the author's chain, residue number, insertion code and residue name
    atoms : number of measured atoms, which are non-hydrogen and inside the mask
    locres : Å, mean over the measured atoms; None if there are none
    """

    chain: str
    seq: int
    icode: str
    name: str
    atoms: int
    locres: float | None


@dataclass(frozen=True, eq=False)
class MeasuredModel:
    """An atomic model, and the local resolution of its residues in order."""

    fitted: FittedModel
    residues: tuple[Residue, ...]

    @property
    def average(self) -> float | None:
        """Mean local resolution of all measured atoms, in Å."""
        return _mean(self.residues)

    @property
    def chains(self) -> dict[str, float | None]:
        """Mean local resolution of the measured atoms of each chain, in Å."""
        ordered = sorted(self.residues, key=lambda residue: residue.chain)
        return {name: _mean(group) for name, group in itertools.groupby(ordered, lambda residue: residue.chain)}

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the user."""
        total, inside = len(self.fitted.positions), sum(residue.atoms for residue in self.residues)
        if inside >= MIN_ATOMS_IN_MASK * total:
            return self.fitted.notes
        outside = (
            f"{inside} of {total} atoms of {self.fitted.name} are inside the mask: check that it is fitted to this map."
        )
        return (*self.fitted.notes, outside)


def read_fitted(path: Path, input_map: Map, map_path: Path) -> FittedModel:
    """Read an atomic model and place it in a map, as ChimeraX does.

    Parameters
    ----------
    path : PDB, mmCIF or mmJSON (recognised by content), plain or .gz; the first of several models is used
    input_map, map_path : the map and its file; the suffix of the file decides how ChimeraX places the map

    Raises
    ------
    InputError
        gemmi is missing, the file contains no model, or the model lies outside the map's box.
    """
    structure = _read(path)
    notes = [placement_warning(input_map.header, input_map.density.grid.voxel_size, map_path)]
    if len(structure) > 1:
        notes.append(f"{path.name} contains {len(structure)} models; the first was used.")
        del structure[1:]
    positions = np.array([atom.pos.tolist() for _, residue in _residues(structure) for atom in _heavy(residue)])
    if not positions.size:
        raise _refusal(path, _why_no_atoms(path), "a model", "check the file given to --atoms")
    without_position = int((~np.isfinite(positions).all(1)).sum())
    if without_position == len(positions):
        raise _refusal(path, "no atom with a position", "a model fitted to this map", "check the file given to --atoms")
    if without_position:
        notes.append(f"{without_position} of {len(positions)} atoms of {path.name} have no position and were left out.")
    grid = input_map.density.grid
    in_map = to_voxel_coordinates(positions, input_map.header, grid.voxel_size, map_path)
    if not np.all((in_map >= -0.5) & (in_map <= np.array(grid.shape) - 0.5), axis=1).any():
        position = "its centre at {:.1f}, {:.1f}, {:.1f} Å, outside the map's box".format(
            *positions[np.isfinite(positions).all(1)].mean(0)
        )
        raise _refusal(path, position, "a model fitted to this map", "check the fit in ChimeraX")
    return FittedModel(path.name, structure, in_map, tuple(note for note in notes if note))


def measure_residues(fitted: FittedModel, result: LocalResolution) -> MeasuredModel:
    """Interpolate the local resolution at a model's atoms, and average it over residues."""
    values, residues = iter(interpolate_at_atoms(result.values, fitted.positions)), []
    for chain, residue in _residues(fitted.structure):
        of_atoms = np.array(list(itertools.islice(values, len(_heavy(residue)))))
        measured = of_atoms[np.isfinite(of_atoms)]
        mean = round(float(measured.mean()), DECIMALS) if measured.size else None
        seqid = residue.seqid
        residues.append(Residue(chain, seqid.num, seqid.icode.strip(), residue.name, len(measured), mean))
    return MeasuredModel(fitted, tuple(residues))


def interpolate_at_atoms(values: Volume, positions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Interpolate the local resolution at atoms trilinearly, from voxels inside the mask only.

    Parameters
    ----------
    values : (z, y, x) Å, 0 outside the mask
    positions : (n, 3) voxels

    Returns
    -------
    (n,) Å; NaN for atoms with less than half of the weight inside the mask
    """
    # An atom without a position is put outside of the box.
    positions = np.where(np.isfinite(positions).all(1, keepdims=True), positions, -10.0)
    below = np.floor(positions).astype(int)
    weights, total = np.zeros(len(positions)), np.zeros(len(positions))
    for corner in itertools.product((0, 1), repeat=3):
        voxel = below + corner
        weight = np.abs(1 - np.array(corner) - (positions - below)).prod(1)
        in_box = np.all((voxel >= 0) & (voxel < values.shape), axis=1, keepdims=True)
        at_corner = values[tuple(np.where(in_box, voxel, 0).T)] * in_box[:, 0]
        weights += weight * (at_corner > 0)
        total += weight * at_corner
    out = np.full(len(positions), np.nan)
    np.divide(total, weights, out=out, where=weights >= MIN_WEIGHT_IN_MASK)
    return out


def with_values(measured: MeasuredModel) -> Any:
    """Copy the model, with the local resolution of residues (Å) in the B-factor column; 0 outside the mask."""
    import gemmi

    structure = measured.fitted.structure.clone()
    for (_, residue), measured_residue in zip(_residues(structure), measured.residues, strict=True):
        for atom in residue:
            atom.b_iso = measured_residue.locres or 0.0
            atom.aniso = gemmi.SMat33f(0, 0, 0, 0, 0, 0)  # an anisotropic B-factor would contradict the new value
    return structure


def _read(path: Path) -> Any:
    try:
        import gemmi
    except ImportError as error:
        raise InputError(
            "--atoms needs gemmi",
            found="no such package",
            expected="gemmi in the same environment",
            try_="pip install 'cryores-lite[atoms]'",
        ) from error
    try:
        structure = _with_gemmi(gemmi, path)
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise _refusal(path, reason, "a PDB or mmCIF file", "check the file given to --atoms") from error
    structure.setup_entities()
    return structure


def _with_gemmi(gemmi: Any, path: Path) -> Any:
    """Read a structure. gemmi would lose the first line of a text that begins with a byte-order mark."""
    with path.open("rb") as file:
        start = file.read(len(BYTE_ORDER_MARK))
    if not start:
        raise ValueError("an empty file")
    if start != BYTE_ORDER_MARK:
        return gemmi.read_structure(os.fspath(path), format=gemmi.CoorFormat.Detect)
    return gemmi.read_structure_string(decode_text(path.read_bytes()), format=gemmi.CoorFormat.Detect)


def _why_no_atoms(path: Path) -> str:
    """What a model without atoms holds: gemmi skips a loop of mmCIF atoms that lacks a column which it needs."""
    data = path.read_bytes()
    missing = [name for name in GEMMI_COLUMNS if name not in data] if b"_atom_site." in data else []
    return f"no {missing[0].decode()} column in _atom_site" if missing else "no atoms"


def _residues(structure: Any) -> Iterable[tuple[str, Any]]:
    return ((chain.name, residue) for model in structure for chain in model for residue in chain)


def _heavy(residue: Any) -> Sequence[Any]:
    return [atom for atom in residue if not atom.element.is_hydrogen]


def _mean(residues: Iterable[Residue]) -> float | None:
    """Return the mean local resolution of the measured atoms of residues, in Å."""
    measured = [(residue.locres, residue.atoms) for residue in residues if residue.locres is not None]
    if not measured:
        return None
    values, atoms = zip(*measured, strict=True)
    return round(float(np.average(values, weights=atoms)), DECIMALS)


def _refusal(path: Path, found: object, expected: object, try_: str) -> InputError:
    return InputError(f"model {path.name}", found=found, expected=expected, try_=try_)
