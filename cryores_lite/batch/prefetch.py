"""Look at the next map while the present one is worked on: is it finished already, and if not, read it."""

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
from cryores_lite.job import read
from cryores_lite.outputs.result import Job

if TYPE_CHECKING:
    from cryores_lite.batch.provenance import Record
    from cryores_lite.job import MapAndHalves, ReadAhead

COPIES_WHILE_UNPACKING = 2.0  # of a compressed map in memory: as stored, and as float32


@dataclass(frozen=True, kw_only=True, eq=False)
class Prefetched:
    """A job, and what was looked up before its turn.

    Attributes
    ----------
    job : the job
    key : of its work; None if it is unknown
    record : of an earlier run, if there is one
    is_finished : the files of an earlier run are those that this job would make
    ahead : its map, or why it cannot be read; None: to be read when its turn comes
    needs : bytes that its work will take, if its molecule fills the box
    """

    job: Job
    key: dict[str, Any] | None = None
    record: Record | None = None
    is_finished: bool = False
    ahead: ReadAhead = None
    needs: float = 0.0


def prefetch(job: Job, busy: float, key: Callable[[Job], dict[str, Any]]) -> Prefetched:
    """Tell whether a job is finished; if not, read its map as far as memory allows.

    Plain maps of float32 take no memory: they are mapped, and the digest has brought them into the system's cache.

    Parameters
    ----------
    job : whose files may be missing: that is told when its turn comes
    busy : bytes that other work will take meanwhile
    key : of its work
    """
    if not all(path.is_file() for path in (job.map_path, *(job.half_maps or ()))):  # reading a pipe would wait for ever
        return Prefetched(job=job)
    try:
        job_key, earlier = key(job), provenance.read(job)
        if earlier is not None and provenance.is_finished(job, job_key, earlier):
            return Prefetched(job=job, key=job_key, record=earlier, is_finished=True)
        shape, unpacked = mrc.extent(job.map_path)
        fits = not unpacked or busy + COPIES_WHILE_UNPACKING * unpacked <= resources.available()
        ahead = _read(job) if fits and not job.half_maps else None  # one job has those: nothing to do meanwhile
    except OSError as error:
        return Prefetched(job=job, ahead=error if isinstance(error, CryoresError) else None)
    except Exception as error:  # raised when the job's turn comes
        return Prefetched(job=job, ahead=error)
    needs = resources.needed(shape) + unpacked
    return Prefetched(job=job, key=job_key, record=earlier, ahead=ahead, needs=needs)


def prefetch_jobs(jobs: Sequence[Job], prefetch: Callable[[Job, float], Prefetched]) -> Iterator[Prefetched]:
    """Look at every job, one ahead of the present one, in a thread that nobody waits for at the end."""
    coming: SimpleQueue[Prefetched] = SimpleQueue()
    for number, job in enumerate(jobs):
        ready = coming.get() if number else prefetch(job, 0.0)
        if number + 1 < len(jobs):
            thread = partial(_put, coming, partial(prefetch, jobs[number + 1], ready.needs))
            threading.Thread(target=thread, daemon=True).start()
        yield ready
        del ready  # a map of its own should not outlive its turn


def _put(queue: SimpleQueue[Prefetched], prefetch: Callable[[], Prefetched]) -> None:
    queue.put(prefetch())


def _read(job: Job) -> MapAndHalves | None:
    with contextlib.suppress(MemoryError):
        source, pair = read(job)
        source.density.release_pages()
        return source, pair
    return None
