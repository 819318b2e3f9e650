"""What can be written of an answer: one function per kind of file, each whole or not at all where it is staged."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from cryores_lite import __version__
from cryores_lite.mrc import Map, write_map
from cryores_lite.report import ModelName
from cryores_lite.types import LocalResolution

LABELS = {
    "locres": "local resolution (A); 0 = outside mask",
    "mask": "mask; 1 = molecule",
    "uncertainty": "local resolution, 1 standard deviation (A)",
    "filtered": "map low-passed at its local resolution",
    "display": "local resolution (A) carried outwards, to colour by",
}


@dataclass(frozen=True, eq=False)
class Answer:
    """An answer, the map that it is about, and where all its files will lie.

    Attributes
    ----------
    map_path, found : the map's file, and what was read from it
    result : the answer
    files : by what they hold
    model : what did the work
    voxel_size : Å, where the user gave one instead of the header's
    threads : CPU threads
    atoms : a model of the molecule, PDB or mmCIF, if the user gave one
    """

    map_path: Path
    found: Map
    result: LocalResolution
    files: dict[str, Path]
    model: ModelName
    voxel_size: float | None
    threads: int
    atoms: Path | None = None


def write(what: str, path: Path, answer: Answer) -> None:
    """Write one kind of file, a key of `Answer.files`, at `path`."""
    volume = _volume(what, answer)
    if volume is not None:
        label = f"cryores_lite {__version__}: {LABELS[what]}"
        write_map(path, volume, answer.found.header, label=label, voxel_size=answer.voxel_size)
    elif what == "chimerax":
        path.write_text(_script(answer), encoding="utf-8")


def _volume(what: str, answer: Answer) -> npt.NDArray[Any] | None:
    from cryores_lite import chimerax
    from cryores_lite.steps.filter import locally_filtered

    result, density = answer.result, answer.found.density
    if what == "filtered":
        return locally_filtered(density.values, result.values, density.grid.voxel_size, answer.threads)
    if what == "display":
        return chimerax.extended(result.values, density.grid.voxel_size)
    ready: dict[str, npt.NDArray[Any]] = {
        "locres": result.values,
        "mask": result.mask,
        "uncertainty": result.uncertainty,
    }
    return ready.get(what)


def _script(answer: Answer) -> str:
    from cryores_lite import chimerax
    from cryores_lite.palette import colour_range

    folder, coloured = answer.files["chimerax"].parent, answer.files.get("display", answer.files["locres"])
    names = tuple(os.path.relpath(path, folder) for path in (answer.map_path, coloured))
    suffixes = [suffix.lower() for suffix in answer.map_path.suffixes]
    as_ccp4 = bool({".map", ".ccp4"} & set(suffixes)) and any(answer.found.header.origin)
    level = chimerax.contour(answer.found.density.values, answer.result.mask)
    return chimerax.script((names[0], names[1]), level, colour_range(answer.result.values), as_ccp4)
