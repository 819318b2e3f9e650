"""What can be written of an answer: one function per kind of file, each whole or not at all where it is staged."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryores_lite import __version__
from cryores_lite.errors import OutputError
from cryores_lite.figures.palette import colour_range
from cryores_lite.io.mrc import Map, write_map
from cryores_lite.io.mrc_header import is_placed_by_start
from cryores_lite.outputs.catalogue import KIND
from cryores_lite.outputs.outcome import ModelName, Outcome, row
from cryores_lite.outputs.residues import Fitted, Measured, measure_residues
from cryores_lite.types import HalfMapComparison, LocalResolution


@dataclass(frozen=True, eq=False)
class Answer:
    """An answer, the map that it is about, and where all its files will lie.

    Attributes
    ----------
    map_path, found : the map's file, and what was read from it
    result : the answer
    files : by what they hold
    model : what did the work, or None for the statistical method
    voxel_size : Å, where the user gave one instead of the header's
    threads : CPU threads
    atoms : a model of the molecule, if the user gave one
    compared : what the half maps say, if the user gave two
    """

    map_path: Path
    found: Map
    result: LocalResolution
    files: dict[str, Path]
    model: ModelName | None
    voxel_size: float | None
    threads: int
    atoms: Fitted | None = None
    compared: HalfMapComparison | None = None

    @cached_property
    def measured(self) -> Measured | None:
        """The model's residues with their local resolution, read off once for all files."""
        return None if self.atoms is None else measure_residues(self.atoms, self.result)


def check(map_path: Path, files: dict[str, Path]) -> None:
    """Refuse before the long work what could not be written after it.

    Raises
    ------
    OutputError
        A name cannot be written in a ChimeraX script.
    """
    if "chimerax" in files:
        _script_names(files.get("average", map_path), files)


def write(what: str, path: Path, answer: Answer) -> None:
    """Write one kind of file, a key of `Answer.files`, at `path`."""
    volume = _volume(what, answer)
    if volume is not None:
        label = f"cryores_lite {__version__}: {KIND[what].label}"
        write_map(path, volume, answer.found.header, label=label, voxel_size=answer.voxel_size)
    elif what == "chimerax":
        _write(path, _script(answer))
    elif what == "report":
        _write(path, _page(answer))
    elif what == "png":
        _write(path, _picture(answer))
    elif what.startswith("atoms_"):
        _write(path, _residues(what, answer))


def notes(answer: Answer) -> tuple[str, ...]:
    """Sentences for the user about what was written, and about half maps."""
    from cryores_lite.io.half_map_names import suggestion
    from cryores_lite.outputs.residue_files import left_out

    measured, compared = answer.measured, answer.compared
    about = (*measured.notes, *left_out(measured)) if measured else ()
    seen = None if compared else suggestion(answer.map_path)
    return (*about, *(compared.warnings if compared else ()), *([seen] if seen else ()))


def _write(path: Path, content: str | bytes) -> None:
    """Write a file; the names in a text may be no text themselves."""
    try:
        path.write_bytes(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)
    except OSError as error:
        found, try_ = error.strerror or error, "check the space left"
        raise OutputError(str(path), found=found, expected="to write it", try_=try_) from error


def _residues(what: str, answer: Answer) -> str:
    from cryores_lite.outputs import residue_files as residues

    measured = answer.measured
    assert measured, "files of residues are asked for with a model only"
    if what == "atoms_json":
        return residues.as_json(measured, colour_range(answer.result.values))
    texts = {"atoms_csv": residues.as_csv, "atoms_defattr": residues.as_defattr, "atoms_model": residues.as_cif}
    return texts[what](measured)


def _volume(what: str, answer: Answer) -> npt.NDArray[Any] | None:
    from cryores_lite.figures.display_map import extended
    from cryores_lite.half_maps.comparison import difference
    from cryores_lite.outputs.local_filter import locally_filtered

    result, density, compared = answer.result, answer.found.density, answer.compared
    if what == "difference" and compared:
        return difference(result, compared)
    if what == "filtered":
        return locally_filtered(density.values, result.values, density.grid.voxel_size, answer.threads)
    if what == "display":
        return extended(result.values, density.grid.voxel_size)
    ready: dict[str, npt.NDArray[Any]] = {
        "locres": result.values,
        "mask": result.mask,
        "uncertainty": result.uncertainty,
        "average": density.values,
        **({"locres_fsc": compared.values} if compared else {}),
    }
    return ready.get(what)


def _script(answer: Answer) -> str:
    from cryores_lite.figures.display_map import contour
    from cryores_lite.outputs import chimerax

    shown = answer.files.get("average", answer.map_path)
    names = _script_names(shown, answer.files)
    as_ccp4 = is_placed_by_start(shown) and any(answer.found.header.origin)
    level = contour(answer.found.density.values, answer.result.mask)
    values = answer.result.values
    finest = float(values.min(where=values > 0, initial=np.inf))
    return chimerax.script(names, level, finest, colour_range(values), as_ccp4)


def _script_names(map_path: Path, files: dict[str, Path]) -> tuple[str, str]:
    """The map and what colours it, quoted, as seen from the script's folder. ChimeraX follows links to folders."""
    from cryores_lite.outputs.chimerax import quoted

    folder, coloured = files["chimerax"].parent.resolve(), files.get("display", files["locres"])
    names = [os.path.relpath(path.parent.resolve() / path.name, folder) for path in (map_path, coloured)]
    return quoted(names[0]), quoted(names[1])


def _page(answer: Answer) -> str:
    from cryores_lite.figures import findings
    from cryores_lite.figures import html_report as page
    from cryores_lite.figures.display_map import upright

    told, density = _row(answer), answer.found.density.values
    trained = findings.TRAINED if answer.model else None
    notes = (*told["warnings"], *findings.notes(density, answer.result, trained))
    beside = answer.compared.values if answer.compared else None
    shown = upright(density, answer.result, answer.found.header.axes, beside)
    return page.page(told, _name(answer), shown, notes, _settings(told, answer))


def _picture(answer: Answer) -> bytes:
    from cryores_lite.figures import png_summary as picture
    from cryores_lite.figures.display_map import upright

    shown = upright(answer.found.density.values, answer.result, answer.found.header.axes)
    return picture.picture(_row(answer), _name(answer), shown)


def _name(answer: Answer) -> str:
    """What the map is called."""
    return answer.files.get("average", answer.map_path).name


def _row(answer: Answer) -> dict[str, Any]:
    """What the command prints as JSON, without the time, which is not over yet."""
    warnings = (*answer.found.warnings, *answer.result.warnings, *notes(answer))
    outcome = Outcome(answer.map_path, 0.0, answer.model, None, answer.result, answer.files, warnings, answer.compared)
    return {name: value for name, value in row(outcome).items() if name != "seconds"}


def _settings(told: dict[str, Any], answer: Answer) -> dict[str, str]:
    from cryores_lite.figures.display_map import order

    z, y, x = (answer.result.grid.shape[n] for n in order(answer.found.header.axes))
    source = "the header" if answer.voxel_size is None else "the command line"
    model, compared = answer.model, answer.compared
    named = f"{model.name} {model.version}, sha256 {model.sha256}" if model else "none: noise of the solvent"
    seen = f"; the network saw {told['working_voxel_size']:.4g} Å" if model else ""
    return {
        "Map": "the half maps' average" if "average" in answer.files else str(answer.map_path),
        **({"Half maps": " and ".join(map(str, compared.paths))} if compared else {}),
        "Box": f"{x} × {y} × {z} voxels (x, y, z)",
        "Voxel size": f"{told['voxel_size']:.4g} Å, from {source}{seen}",
        "Program": f"cryores_lite {__version__}",
        "Model": named,
        "Ran on": f"{answer.result.provider}, CPU threads: {answer.threads}",
    }
