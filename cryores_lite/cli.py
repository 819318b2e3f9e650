"""The command: words in, one call per map, words out. Whatever is heavy is imported when there is work."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryores_lite import __version__
from cryores_lite.errors import CryoresError, OutputError

if TYPE_CHECKING:
    from cryores_lite.model import Model
    from cryores_lite.report import ModelName, Outcome
    from cryores_lite.types import LocalResolution

ENDINGS = {  # of the files that can be written, by what they hold
    "locres": "_locres.mrc",
    "mask": "_mask.mrc",
    "uncertainty": "_locres_uncertainty.mrc",
    "filtered": "_locres_filtered.mrc",
    "display": "_locres_display.mrc",
    "chimerax": "_locres.cxc",
    "report": "_locres.html",
    "png": "_locres.png",
    "atoms_json": "_locres_residues.json",
    "atoms_csv": "_locres_residues.csv",
    "atoms_defattr": "_locres.defattr",
    "atoms_model": "_locres_model.cif",
}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


class Device(str, Enum):
    """Where the network runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


@dataclass(frozen=True)
class Job:
    """One map and the files to make of it, by what they hold (the keys of `ENDINGS`)."""

    map_path: Path
    voxel_size: float | None  # Å, instead of the header's
    outputs: dict[str, Path]
    overwrite: bool
    label: str  # beside the progress bar
    atoms: Path | None = None  # a model of the molecule


def _version(wanted: bool) -> None:
    if not wanted:
        return
    import onnxruntime  # noqa: TID251

    from cryores_lite.model import Model

    try:
        model = Model.open(None, device="cpu", threads=1)
        shipped = f"model {model.spec.name} {model.spec.version} (sha256 {model.sha256[:12]})"
    except CryoresError as error:
        shipped = f"no model: {error}"
    typer.echo(f"cryores-lite {__version__}\n{shipped}\nonnxruntime {onnxruntime.__version__}")
    raise typer.Exit


def _positive(value: float | None) -> float | None:
    if value is not None and not value > 0:
        raise typer.BadParameter(f"{value:g} is not a length in Å.")
    return value


@app.command()
def estimate(
    maps: Annotated[list[Path], typer.Argument(metavar="MAP", help="MRC/CCP4 maps, plain, .gz or .bz2.")],
    output_dir: Annotated[
        Path | None,
        typer.Option("-o", "--output-dir", "--o", metavar="DIR", file_okay=False, help="Default: beside each map."),
    ] = None,
    voxel_size: Annotated[
        float | None,
        typer.Option("--voxel-size", "--angpix", "--apix", metavar="Å", callback=_positive, help="Default: the map's."),
    ] = None,
    device: Annotated[Device, typer.Option("-d", "--device", help="Where the network runs.")] = Device.auto,
    threads: Annotated[
        int | None,
        typer.Option("-j", "--threads", "--j", metavar="N", min=1, help="Default: the cores this process may use."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", metavar="FILE", help="An ONNX network. Default: the one shipped.")
    ] = None,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Also write NAME_locres_uncertainty.mrc: 1 standard deviation, Å.")
    ] = False,
    filtered: Annotated[
        bool, typer.Option("--filtered", help="Also write NAME_locres_filtered.mrc: the map at its local resolution.")
    ] = False,
    display: Annotated[
        bool, typer.Option("--display", help="Also write NAME_locres_display.mrc: carried outwards, to colour by.")
    ] = False,
    chimerax: Annotated[
        bool, typer.Option("--chimerax", help="Also write NAME_locres.cxc, which shows the map coloured in ChimeraX.")
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Also write NAME_locres.html: slices, histogram, surface, numbers.")
    ] = False,
    png: Annotated[bool, typer.Option("--png", help="Also write NAME_locres.png: one picture for a slide.")] = False,
    atoms: Annotated[
        Path | None,
        typer.Option(
            "--atoms", metavar="MODEL", help="PDB or mmCIF: also write residues' values as JSON, CSV and .defattr."
        ),
    ] = None,
    atoms_model: Annotated[
        bool, typer.Option("--atoms-model", help="Also write that model with the values in its B-factor column.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per map and line.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace maps that are there already.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print errors only (and --json).")] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the versions and exit.")
    ] = False,
) -> None:
    """Estimate the local resolution of cryo-EM maps, in Å per voxel.

    Writes NAME_locres.mrc (0 outside the molecule) and NAME_mask.mrc for each map.
    Exits with 0 if all went well, 1 if a map failed (the others are done), 2 if the command is wrong.
    """
    for library in ("OPENBLAS", "MKL"):  # read when numpy is imported; the steps have threads of their own
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    if atoms_model and not atoms:
        raise typer.BadParameter("--atoms-model needs --atoms MODEL.")
    per_residue = atoms is not None
    wanted = {
        "uncertainty": uncertainty,
        "filtered": filtered,
        "display": display,
        "chimerax": chimerax,
        "report": report,
        "png": png,
        "atoms_json": per_residue,
        "atoms_csv": per_residue,
        "atoms_defattr": per_residue,
        "atoms_model": atoms_model,
    }
    endings = {what: ending for what, ending in ENDINGS.items() if wanted.get(what, True)}
    jobs = [replace(job, atoms=atoms) for job in _plan(maps, output_dir, endings, voxel_size, overwrite)]
    from cryores_lite.model import Model  # whatever is heavy waits until there is work

    network = cache(lambda: Model.open(model, device=device.value, threads=threads))
    show_bar, failed = sys.stderr.isatty() and not quiet, False
    for job in jobs:
        with contextlib.redirect_stdout(sys.stderr):  # libraries print; stdout is for answers
            outcome = _attempt(job, network, threads, show_bar)
        failed |= outcome.error is not None
        _tell(outcome, as_json, quiet)
    raise typer.Exit(int(failed))


def main() -> None:
    """Run the command, and be interrupted politely: nothing half-written stays."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may know no Å, a file name may be no text
    app()


def _plan(
    maps: Sequence[Path],
    output_dir: Path | None,
    endings: dict[str, str],
    voxel_size: float | None,
    overwrite: bool,
) -> list[Job]:
    """Name the files to be made; refuse names that would collide, before any work."""
    from cryores_lite.mrc import map_stem

    jobs = []
    for number, path in enumerate(maps, 1):
        folder, stem = output_dir or path.parent, map_stem(path)
        outputs = {what: folder / f"{stem}{ending}" for what, ending in endings.items()}
        label = f"{number}/{len(maps)} {path.name}" if len(maps) > 1 else path.name
        jobs.append(Job(path, voxel_size, outputs, overwrite, label))
    taken = Counter(path.resolve() for job in jobs for path in job.outputs.values())
    taken.update({path.resolve() for path in maps})
    for path in (path for job in jobs for path in job.outputs.values()):
        if taken[path.resolve()] > 1:
            raise typer.BadParameter(f"Two of these maps would write {path}, or it is one of them. Run them apart.")
    return jobs


def _attempt(job: Job, network: Callable[[], Model], threads: int | None, show_bar: bool) -> Outcome:
    """Do one map; whatever goes wrong becomes an outcome, so that the next map has its turn."""
    from cryores_lite.report import ModelName, Outcome

    start, name = time.perf_counter(), None
    try:
        model = network()
        name = ModelName(model.spec.name, model.spec.version, model.sha256)
        result, warnings = _estimate(job, model, name, threads, show_bar)
    except CryoresError as error:
        return Outcome(job.map_path, time.perf_counter() - start, name, " ".join(str(error).split()))
    except Exception as error:  # a bug of ours, or no memory left: say where
        traceback.print_exc()
        return Outcome(job.map_path, time.perf_counter() - start, name, f"internal error, {error!r}")
    return Outcome(job.map_path, time.perf_counter() - start, name, None, result, job.outputs, warnings)


def _estimate(
    job: Job, model: Model, name: ModelName, threads: int | None, show_bar: bool
) -> tuple[LocalResolution, tuple[str, ...]]:
    """Read, estimate and write one map: all files, or none."""
    from cryores_lite import outputs, pipeline
    from cryores_lite.atoms import read_fitted
    from cryores_lite.model import available_threads
    from cryores_lite.mrc import read_map

    _refuse_to_clobber(job)
    outputs.check(job.map_path, job.outputs)
    threads = threads or available_threads()
    found = read_map(job.map_path, voxel_size=job.voxel_size)
    fitted = read_fitted(job.atoms, found, job.map_path) if job.atoms else None
    progress = partial(_bar, label=job.label) if show_bar else iter
    with _staging(job.outputs["locres"].parent) as staging:  # before the long work: can we write there?
        result = pipeline.estimate_local_resolution(found.density, model, threads, progress)
        answer = outputs.Answer(job.map_path, found, result, job.outputs, name, job.voxel_size, threads, fitted)
        for what, path in job.outputs.items():
            outputs.write(what, staging / path.name, answer)
        _refuse_to_clobber(job)
        for path in job.outputs.values():
            (staging / path.name).replace(path)
    return result, (*found.warnings, *result.warnings, *outputs.notes(answer))


def _refuse_to_clobber(job: Job) -> None:
    for path in job.outputs.values():
        if path.is_dir() or (not job.overwrite and os.path.lexists(path)):
            raise OutputError(str(path), found="a file", expected="a free name", try_="pass --overwrite or -o DIR")


@contextlib.contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """Open a hidden folder inside `folder`, on the same disk, that is gone afterwards whatever happens."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staging = tempfile.TemporaryDirectory(prefix=".cryores_lite-", dir=folder, ignore_cleanup_errors=True)
    except OSError as error:
        found, try_ = error.strerror or error, "name a folder of yours with -o"
        raise OutputError(str(folder), found=found, expected="to write there", try_=try_) from error
    with staging as name:
        yield Path(name)


def _bar(tiles: Sequence[Any], label: str) -> Iterator[Any]:
    with typer.progressbar(tiles, label=label, file=sys.stderr) as shown:
        yield from shown


def _tell(outcome: Outcome, as_json: bool, quiet: bool) -> None:
    from cryores_lite import report

    if outcome.error is not None:
        typer.echo(f"error: {outcome.error}", err=True)
    for warning in () if quiet else outcome.warnings:
        typer.echo(f"warning: {outcome.map_path.name}: {warning}", err=True)
    if as_json:
        typer.echo(json.dumps(report.row(outcome), allow_nan=False))
    elif outcome.result is not None and not quiet:
        typer.echo(report.summary(outcome))
