"""Maps in, files out: what the commands share. Whatever is heavy is imported when there is work."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import typer

from cryores_lite.errors import CryoresError, OutputError, end_within, is_lack_of_memory, lack_of_memory

if TYPE_CHECKING:
    from cryores_lite.halves import Pair
    from cryores_lite.model import Model
    from cryores_lite.mrc import Map
    from cryores_lite.outputs import Answer
    from cryores_lite.report import ModelName, Outcome
    from cryores_lite.types import Progress

    Source: TypeAlias = tuple[Map, Pair | None]  # what a job is about: a map, and its half maps if there are any

ENDINGS = {  # of the files that can be written, by what they hold
    "locres": "_locres.mrc",
    "mask": "_mask.mrc",
    "locres_fsc": "_locres_fsc.mrc",
    "difference": "_locres_difference.mrc",
    "average": "_average.mrc",
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
SWITCHES = {  # what can be asked for, by what it makes
    "uncertainty": "NAME_locres_uncertainty.mrc: 1 standard deviation, in Å",
    "filtered": "NAME_locres_filtered.mrc: the map at its local resolution",
    "display": "NAME_locres_display.mrc: carried outwards, to colour by",
    "chimerax": "NAME_locres.cxc, which shows the map coloured in ChimeraX",
    "report": "NAME_locres.html: slices, histogram, surface, numbers",
    "png": "NAME_locres.png: one picture for a slide",
}
ALWAYS = ("locres", "mask")
INTERRUPTED = 130  # exit code
WITH_HALVES = ("locres_fsc", "difference")
WITH_ATOMS = ("atoms_json", "atoms_csv", "atoms_defattr")


class Method(str, Enum):
    """How local resolution is found."""

    network = "network"
    statistical = "statistical"


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
    atoms: Path | None = None  # a model of the molecule
    half_maps: tuple[Path, Path] | None = None  # to compare with; their average is the map if that is to be written
    method: Method = Method.network


@dataclass(frozen=True)
class Means:
    """What the work is done with."""

    model: Path | None  # an ONNX network, or None for the shipped one
    device: str
    threads: int | None  # or None for all that this process may use


def plan(
    map_path: Path | None,
    output_dir: Path | None,
    asked: Mapping[str, bool],
    *,
    atoms: Path | None = None,
    half_maps: tuple[Path, Path] | None = None,
    method: Method = Method.network,
    voxel_size: float | None = None,
    overwrite: bool = False,
) -> Job:
    """Name the files to make of a map: those always made, those `asked` for by what they hold, those of `atoms`.

    Without a map there are half maps: their average is the map, and is written too.
    """
    from cryores_lite.mrc import map_stem

    wanted = {*ALWAYS, *(what for what, yes in asked.items() if yes), *(WITH_ATOMS if atoms else ())}
    if half_maps:
        wanted |= set(WITH_HALVES)
    if map_path is None:
        from cryores_lite.halves import whole_stem

        assert half_maps, "there is a map, or there are half maps"
        map_path, stem = half_maps[0], whole_stem(half_maps[0])
        wanted.add("average")
    else:
        stem = map_stem(map_path)
    folder = output_dir or map_path.parent
    outputs = {what: folder / f"{stem}{ending}" for what, ending in ENDINGS.items() if what in wanted}
    return Job(map_path, voxel_size, outputs, overwrite, atoms, half_maps, method)


def settle() -> None:
    """Prepare the process for work, before numpy is imported."""
    for library in ("OPENBLAS", "MKL"):  # the steps have threads of their own
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    for name, code in (("SIGTERM", 143), ("SIGHUP", 129)):  # an exit cleans up
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) == signal.SIG_DFL:  # not what nohup has switched off
            signal.signal(number, partial(_leave, code))
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the caller: its number would go to the next file that is opened
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, errors="backslashreplace"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may know no Å, a file name may be no text


def _leave(code: int, *_: object) -> None:
    sys.exit(code)


@contextlib.contextmanager
def in_plain_words() -> Iterator[None]:
    """End the command with one line where a library cannot be loaded, memory or the place for words runs out, or where
    it is interrupted."""
    from cryores_lite.memory import require_libraries

    try:
        require_libraries()
        yield
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        end = end_within(error)
        if end is not None:
            sys.exit(end.code if isinstance(end, SystemExit) else INTERRUPTED)
        told = _told(error)
        if told is None:
            raise
        typer.echo(f"error: {' '.join(str(told).split())}", err=True)
        sys.exit(1)


def _told(error: Exception) -> CryoresError | None:
    """Say what a user can put right of an error that is none of ours, or None of a bug."""
    if isinstance(error, CryoresError):
        return error
    if is_lack_of_memory(error):
        return lack_of_memory("cryores-lite")
    if isinstance(error, ImportError):
        found, expected = str(error), "the packages that pip installs with cryores-lite"
        return CryoresError(
            "cryores-lite cannot begin", found=found, expected=expected, try_="see cryores-lite --check, and reinstall"
        )
    if isinstance(error, OSError):
        what = str(error.filename or "what the command prints")
        return OutputError(
            what, found=error.strerror or error, expected="to use it", try_="check where it is, and the space there"
        )
    return None


def run(jobs: Sequence[Job], means: Means, progress: Callable[[int, Job], Progress]) -> Iterator[Outcome]:
    """Do the jobs one after the other with one network, opened when the first needs it.

    `progress` gives what wraps the sequence of a job's tiles, by the job and its number, from 1.
    """
    network = opener(means)
    for number, job in enumerate(jobs, 1):
        yield attempt(job, network, means.threads, progress(number, job))


def opener(means: Means) -> Callable[[], Model]:
    """Give what opens the network when it is first called, and hands out the same one ever after."""
    from cryores_lite.model import Model

    return cache(lambda: Model.open(means.model, device=means.device, threads=means.threads))


def read(job: Job) -> Source:
    """Read a job's map, or average its half maps; with those, if there are any."""
    from cryores_lite.halves import gather

    return gather(job.map_path, job.half_maps, "average" in job.outputs, job.voxel_size)


def tell(outcome: Outcome, as_json: bool = False, quiet: bool = False) -> None:
    """Print an outcome: errors and warnings to stderr, the answer to stdout."""
    from cryores_lite import report

    if outcome.error is not None:
        typer.echo(f"error: {outcome.error}", err=True)
    for warning in () if quiet else outcome.warnings:
        typer.echo(f"warning: {outcome.map_path.name}: {warning}", err=True)
    if as_json:
        typer.echo(json.dumps(report.row(outcome), allow_nan=False))
    elif outcome.result is not None and not quiet:
        typer.echo(report.summary(outcome))


def attempt(
    job: Job,
    network: Callable[[], Model],
    threads: int | None,
    progress: Progress,
    read: Callable[[Job], Source] = read,
) -> Outcome:
    """Do one map; whatever goes wrong becomes an outcome, so that the next map has its turn."""
    with contextlib.redirect_stdout(sys.stderr):  # libraries print; stdout is for answers
        return _attempt(job, network, threads, progress, read)


def _attempt(
    job: Job, network: Callable[[], Model], threads: int | None, progress: Progress, read: Callable[[Job], Source]
) -> Outcome:
    from cryores_lite.report import ModelName, Outcome

    start, name = time.perf_counter(), None
    try:
        model = network() if job.method is Method.network else None
        name = ModelName(model.spec.name, model.spec.version, model.sha256) if model else None
        answer, warnings = _estimate(job, model, name, threads, progress, read)
    except CryoresError as error:
        return Outcome(job.map_path, time.perf_counter() - start, name, " ".join(str(error).split()))
    except Exception as error:
        if end := end_within(error):
            raise end from None
        if is_lack_of_memory(error):
            said = str(lack_of_memory(job.map_path.name))
            return Outcome(job.map_path, time.perf_counter() - start, name, said)
        if isinstance(error, ImportError):  # the next map would fare no better
            raise
        # A bug of ours: say where.
        traceback.print_exc()
        return Outcome(job.map_path, time.perf_counter() - start, name, f"internal error, {error!r}")
    seconds = time.perf_counter() - start
    return Outcome(job.map_path, seconds, name, None, answer.result, job.outputs, warnings, answer.compared)


def _estimate(
    job: Job,
    model: Model | None,
    name: ModelName | None,
    threads: int | None,
    progress: Progress,
    read: Callable[[Job], Source] = read,
) -> tuple[Answer, tuple[str, ...]]:
    """Read, estimate and write one map: all files, or none."""
    from cryores_lite import halves, outputs, pipeline, statistical
    from cryores_lite.atoms import read_fitted
    from cryores_lite.groups import available_threads
    from cryores_lite.mistaken import advised
    from cryores_lite.staging import publish, staging

    folder = job.outputs["locres"].parent
    _clear_away_once(folder)
    _refuse_to_clobber(job)
    outputs.check(job.map_path, job.outputs)
    threads = threads or available_threads()
    found, pair = read(job)
    found = advised(job.map_path, found, by_name=not job.half_maps)
    fitted = read_fitted(job.atoms, found, job.outputs.get("average", job.map_path)) if job.atoms else None
    with staging(folder) as here:  # before the long work: can we write there?
        if model:
            result = pipeline.estimate_local_resolution(found.density, model, threads, progress)
        else:
            result = statistical.estimate_by_noise(found.density, threads)
        compared = halves.compare(pair, result, threads) if pair else None
        answer = outputs.Answer(
            job.map_path, found, result, job.outputs, name, job.voxel_size, threads, fitted, compared
        )
        for what, path in job.outputs.items():
            outputs.write(what, here / path.name, answer)
        _refuse_to_clobber(job)
        last = sorted(job.outputs, key=lambda what: what == "locres")
        publish(here, [job.outputs[what].name for what in last], job.overwrite)
    return answer, (*found.warnings, *result.warnings, *outputs.notes(answer))


@cache
def _clear_away_once(folder: Path) -> None:
    """Clear away what dead runs left, once in a process: among 100,000 answers each look takes a second."""
    from cryores_lite.staging import clear_away

    clear_away(folder)


def _refuse_to_clobber(job: Job) -> None:
    for path in job.outputs.values():
        if path.is_dir() or (not job.overwrite and os.path.lexists(path)):
            raise OutputError(str(path), found="a file", expected="a free name", try_="pass --overwrite or -o DIR")
