"""Look up the next job while the current one runs: skip it if an earlier run finished it, else read its map."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from cryores_lite import resources
from cryores_lite.batch import provenance
from cryores_lite.errors import CryoresError
from cryores_lite.io import mrc
from cryores_lite.job import read_input
from cryores_lite.outputs.result import Job

if TYPE_CHECKING:
    from cryores_lite.batch.provenance import Record
    from cryores_lite.job import MapAndHalves, PrefetchedInput

COPIES_WHILE_UNPACKING = 2.0  # of a compressed map in memory: as stored, and as float32


@dataclass(frozen=True, kw_only=True, eq=False)
class Prefetched:
    """A job, and what was looked up before it starts.

    Attributes
    ----------
    job : the job
    key : what its output files depend on (`provenance.key`); None if unknown
    record : record of an earlier run, if there is one
    is_finished : whether the files of an earlier run are those that this job would make
    input : its map, or the error from reading it; None if it was not read
    memory : bytes that the job needs if its molecule fills the box
    """

    job: Job
    key: dict[str, Any] | None = None
    record: Record | None = None
    is_finished: bool = False
    input: PrefetchedInput = None
    memory: float = 0.0


def prefetch(job: Job, memory_in_use: float, key: Callable[[Job], dict[str, Any]]) -> Prefetched:
    """Check whether a job is finished; if not, read its map if there is memory for it.

    Uncompressed maps of float32 take no memory: they are memory-mapped, and computing the digest has brought them into
    the system's cache. Errors are kept, and raised when the job starts.

    Parameters
    ----------
    job : a job, whose files may be missing
    memory_in_use : bytes that the current job needs
    key : function that returns the key of a job (`provenance.key`)
    """
    if not all(path.is_file() for path in (job.map_path, *(job.half_maps or ()))):  # a pipe would block
        return Prefetched(job=job)
    try:
        job_key, earlier = key(job), provenance.read(job)
        if earlier is not None and provenance.is_finished(job, job_key, earlier):
            return Prefetched(job=job, key=job_key, record=earlier, is_finished=True)
        grid, unpacked = mrc.grid_and_memory(job.map_path, job.voxel_size)
        fits = not unpacked or memory_in_use + COPIES_WHILE_UNPACKING * unpacked <= resources.available_memory()
        job_input = _read(job) if fits and not job.half_maps else None  # a run with half maps has one job only
    except OSError as error:
        return Prefetched(job=job, input=error if isinstance(error, CryoresError) else None)
    except Exception as error:  # noqa: BLE001 - raised again when the job starts
        return Prefetched(job=job, input=error)
    memory = resources.estimated_memory(grid.shape, resources.memory_per_voxel(grid.voxel_size)) + unpacked
    return Prefetched(job=job, key=job_key, record=earlier, input=job_input, memory=memory)


def prefetch_jobs(jobs: Sequence[Job], prefetch: Callable[[Job, float], Prefetched]) -> Iterator[Prefetched]:
    """Yield the jobs in order, each looked up while the one before it runs, in a daemon thread."""
    queue: SimpleQueue[Prefetched] = SimpleQueue()
    for number, job in enumerate(jobs):
        ready = queue.get() if number else prefetch(job, 0.0)
        if number + 1 < len(jobs):
            look_up_next = partial(_put, queue, partial(prefetch, jobs[number + 1], ready.memory))
            threading.Thread(target=look_up_next, daemon=True).start()
        yield ready
        del ready  # its map takes memory


def _put(queue: SimpleQueue[Prefetched], prefetch: Callable[[], Prefetched]) -> None:
    queue.put(prefetch())


def _read(job: Job) -> MapAndHalves | None:
    with contextlib.suppress(MemoryError):
        input_map, pair = read_input(job)
        input_map.density.release_pages()
        return input_map, pair
    return None
