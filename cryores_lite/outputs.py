"""What can be written of an answer: one function per kind of file, each whole or not at all where it is staged."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from cryores_lite import __version__
from cryores_lite.mrc import Map, write_map
from cryores_lite.report import ModelName, Outcome, row
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
    elif what == "report":
        path.write_text(_page(answer), encoding="utf-8")
    elif what == "png":
        path.write_bytes(_picture(answer))


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


def _page(answer: Answer) -> str:
    from cryores_lite import findings, page
    from cryores_lite.upright import upright

    told, density = _row(answer), answer.found.density.values
    notes = (*told["warnings"], *findings.notes(answer.map_path.name, density, answer.result))
    shown = upright(density, answer.result, answer.found.header.axes)
    return page.page(told, answer.map_path.name, shown, notes, _settings(told, answer))


def _picture(answer: Answer) -> bytes:
    from cryores_lite import picture
    from cryores_lite.upright import upright

    shown = upright(answer.found.density.values, answer.result, answer.found.header.axes)
    return picture.picture(_row(answer), answer.map_path.name, shown)


def _row(answer: Answer) -> dict[str, Any]:
    """What the command prints as JSON, without the time, which is not over yet."""
    warnings = (*answer.found.warnings, *answer.result.warnings)
    outcome = Outcome(answer.map_path, 0.0, answer.model, None, answer.result, answer.files, warnings)
    return {name: value for name, value in row(outcome).items() if name != "seconds"}


def _settings(told: dict[str, Any], answer: Answer) -> dict[str, str]:
    from cryores_lite.upright import order

    z, y, x = (answer.result.grid.shape[n] for n in order(answer.found.header.axes))
    source = "the header" if answer.voxel_size is None else "the command line"
    return {
        "Map": str(answer.map_path),
        "Box": f"{x} × {y} × {z} voxels (x, y, z)",
        "Voxel size": f"{told['voxel_size']:.4g} Å, from {source}; the network saw {told['working_voxel_size']:.4g} Å",
        "Program": f"cryores_lite {__version__}",
        "Model": f"{answer.model.name} {answer.model.version}, sha256 {answer.model.sha256}",
        "Ran on": f"{answer.result.provider}, CPU threads: {answer.threads}",
    }
