"""What to do with one map, and doing it."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from cryores_lite.errors import CryoresError, OutputError, end_within, is_lack_of_memory, lack_of_memory
from cryores_lite.outputs.catalogue import KINDS, When

if TYPE_CHECKING:
    from cryores_lite.half_maps.pair import Pair
    from cryores_lite.io.mrc import Map
    from cryores_lite.method.network import Model
    from cryores_lite.outputs.outcome import ModelName, Outcome
    from cryores_lite.outputs.write import Answer
    from cryores_lite.types import Progress

    MapAndHalves: TypeAlias = tuple[Map, Pair | None]  # what a job is about: a map, and its half maps if there are any


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
    """One map and the files to make of it, by name (`OutputKind.name`)."""

    map_path: Path
    voxel_size: float | None  # Å, instead of the header's
    outputs: dict[str, Path]
    overwrite: bool
    atoms: Path | None = None  # a model of the molecule
    half_maps: tuple[Path, Path] | None = None  # to compare with; their average is the map if that is to be written
    method: Method = Method.network


@dataclass(frozen=True)
class RunOptions:
    """What the work is done with."""

    model: Path | None  # an ONNX network, or None for the shipped one
    device: str
    threads: int | None  # or None for all that this process may use


def plan(
    map_path: Path | None,
    output_dir: Path | None,
    requested: Collection[str] = (),
    *,
    atoms: Path | None = None,
    half_maps: tuple[Path, Path] | None = None,
    method: Method = Method.network,
    voxel_size: float | None = None,
    overwrite: bool = False,
) -> Job:
    """Name the files to make of a map: those that its inputs imply, and those `requested` by name.

    Without a map there are half maps: their average is the map, and is written too.
    """
    from cryores_lite.io.mrc import map_stem

    implied = {
        When.ALWAYS: True,
        When.WITH_HALF_MAPS: bool(half_maps),
        When.WITHOUT_MAP: map_path is None,
        When.WITH_ATOMS: bool(atoms),
    }
    if map_path is None:
        from cryores_lite.io.half_map_names import full_map_stem

        assert half_maps, "there is a map, or there are half maps"
        map_path, stem = half_maps[0], full_map_stem(half_maps[0])
    else:
        stem = map_stem(map_path)
    folder = output_dir or map_path.parent
    kinds = [kind for kind in KINDS if implied.get(kind.when) or kind.name in requested]
    outputs = {kind.name: folder / f"{stem}{kind.suffix}" for kind in kinds}
    return Job(map_path, voxel_size, outputs, overwrite, atoms, half_maps, method)


def run(jobs: Sequence[Job], means: RunOptions, progress: Callable[[int, Job], Progress]) -> Iterator[Outcome]:
    """Do the jobs one after the other with one network, opened when the first needs it.

    `progress` gives what wraps the sequence of a job's tiles, by the job and its number, from 1.
    """
    network = lazy_model(means)
    for number, job in enumerate(jobs, 1):
        yield run_job(job, network, means.threads, progress(number, job))


def lazy_model(means: RunOptions) -> Callable[[], Model]:
    """Give what opens the network when it is first called, and hands out the same one ever after."""
    from cryores_lite.method.network import Model

    return cache(lambda: Model.open(means.model, device=means.device, threads=means.threads))


def read(job: Job) -> MapAndHalves:
    """Read a job's map, or average its half maps; with those, if there are any."""
    from cryores_lite.half_maps.pair import read_map_and_halves

    return read_map_and_halves(job.map_path, job.half_maps, "average" in job.outputs, job.voxel_size)


def run_job(
    job: Job,
    network: Callable[[], Model],
    threads: int | None,
    progress: Progress,
    read: Callable[[Job], MapAndHalves] = read,
) -> Outcome:
    """Do one map; whatever goes wrong becomes an outcome, so that the next map has its turn."""
    with contextlib.redirect_stdout(sys.stderr):  # libraries print; stdout is for answers
        return _run_job(job, network, threads, progress, read)


def _run_job(
    job: Job, network: Callable[[], Model], threads: int | None, progress: Progress, read: Callable[[Job], MapAndHalves]
) -> Outcome:
    from cryores_lite.outputs.outcome import ModelName, Outcome

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
    read: Callable[[Job], MapAndHalves] = read,
) -> tuple[Answer, tuple[str, ...]]:
    """Read, estimate and write one map: all files, or none."""
    from cryores_lite.half_maps.comparison import compare
    from cryores_lite.io.atomic import publish, staging
    from cryores_lite.io.input_checks import check_input
    from cryores_lite.method import pipeline, statistical
    from cryores_lite.outputs import write as outputs
    from cryores_lite.outputs.residues import read_fitted
    from cryores_lite.resources import available_threads

    folder = job.outputs["locres"].parent
    _clear_away_once(folder)
    _refuse_to_clobber(job)
    outputs.check(job.map_path, job.outputs)
    threads = threads or available_threads()
    found, pair = read(job)
    found = check_input(job.map_path, found, by_name=not job.half_maps)
    fitted = read_fitted(job.atoms, found, job.outputs.get("average", job.map_path)) if job.atoms else None
    with staging(folder) as here:  # before the long work: can we write there?
        if model:
            result = pipeline.estimate_local_resolution(found.density, model, threads, progress)
        else:
            result = statistical.estimate_by_noise(found.density, threads)
        compared = compare(pair, result, threads) if pair else None
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
    from cryores_lite.io.atomic import clear_away

    clear_away(folder)


def _refuse_to_clobber(job: Job) -> None:
    for path in job.outputs.values():
        if path.is_dir() or (not job.overwrite and os.path.lexists(path)):
            raise OutputError(str(path), found="a file", expected="a free name", try_="pass --overwrite or -o DIR")
