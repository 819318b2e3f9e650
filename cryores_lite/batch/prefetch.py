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
from cryores_lite.batch import provenance as record
from cryores_lite.errors import CryoresError
from cryores_lite.io import mrc
from cryores_lite.job import Job, read

if TYPE_CHECKING:
    from cryores_lite.batch.provenance import Record
    from cryores_lite.job import MapAndHalves

COPIES = 2.0  # of a map in memory while it is unpacked: as stored, and as float32


@dataclass(frozen=True, eq=False)
class Prefetched:
    """A job whose turn has come, and what was found out about it beforehand."""

    job: Job
    key: dict[str, Any] | None = None  # of its work; None if a file cannot be read
    record: Record | None = None
    is_finished: bool = False
    found: MapAndHalves | None = None  # None: to be read when its turn comes
    needs: float = 0.0  # bytes that its work will take, if its molecule fills the box
    error: Exception | None = None  # why there is nothing to read

    def read(self, job: Job) -> MapAndHalves:
        """Give the map, or say why there is none."""
        if self.error is not None:
            raise self.error
        return self.found or read(job)


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
        return Prefetched(job)
    try:
        told, there = key(job), record.read(job)
        if there is not None and record.is_finished(job, told, there):
            return Prefetched(job, told, there, is_finished=True)
        shape, held = mrc.shape_and_memory(job.map_path)
        fits = not held or busy + COPIES * held <= resources.available_memory()
        found = _read(job) if fits and not job.half_maps else None  # one job has those: nothing to do meanwhile
    except OSError as error:
        return Prefetched(job, error=error if isinstance(error, CryoresError) else None)
    except Exception as error:  # told when its turn comes, as if it had been found then
        return Prefetched(job, error=error)
    return Prefetched(job, told, there, found=found, needs=resources.estimated_memory(shape) + held)


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
        found = read(job)
        found[0].density.release_pages()
        return found
    return None
