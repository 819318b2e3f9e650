"""What can be written of an answer: one function per kind of file, each whole or not at all where it is staged."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cryores_lite import __version__
from cryores_lite.mrc import Map, write_map
from cryores_lite.types import LocalResolution, Mask, Volume

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
    voxel_size : Å, where the user gave one instead of the header's
    threads : CPU threads
    """

    map_path: Path
    found: Map
    result: LocalResolution
    files: dict[str, Path]
    voxel_size: float | None
    threads: int


def write(what: str, path: Path, answer: Answer) -> None:
    """Write one kind of file, a key of `Answer.files`, at `path`."""
    if what == "chimerax":
        path.write_text(_script(answer), encoding="utf-8")
        return
    label = f"cryores_lite {__version__}: {LABELS[what]}"
    write_map(path, _volume(what, answer), answer.found.header, label=label, voxel_size=answer.voxel_size)


def _volume(what: str, answer: Answer) -> Volume | Mask:
    from cryores_lite import chimerax
    from cryores_lite.steps.filter import locally_filtered

    result, density = answer.result, answer.found.density
    if what == "filtered":
        return locally_filtered(density.values, result.values, density.grid.voxel_size, answer.threads)
    if what == "display":
        return chimerax.extended(result.values, density.grid.voxel_size)
    return {"locres": result.values, "mask": result.mask, "uncertainty": result.uncertainty}[what]


def _script(answer: Answer) -> str:
    from cryores_lite import chimerax
    from cryores_lite.palette import colour_range

    folder, coloured = answer.files["chimerax"].parent, answer.files.get("display", answer.files["locres"])
    names = tuple(os.path.relpath(path, folder) for path in (answer.map_path, coloured))
    suffixes = [suffix.lower() for suffix in answer.map_path.suffixes]
    as_ccp4 = bool({".map", ".ccp4"} & set(suffixes)) and any(answer.found.header.origin)
    level = chimerax.contour(answer.found.density.values, answer.result.mask)
    return chimerax.script((names[0], names[1]), level, colour_range(answer.result.values), as_ccp4)
