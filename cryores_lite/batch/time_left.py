"""The time that a map and the rest of a list still take, from the first tile of the network on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache

from cryores_lite.console import MapClock, TimeLeft
from cryores_lite.io import mrc
from cryores_lite.outputs.result import Job
from cryores_lite.resources import map_cost

MAX_HEADERS = 1000  # of a longer list, this many headers stand for all


class Series:
    """Jobs that run one after the other. The time of other maps is in proportion to their cost.

    Parameters
    ----------
    jobs : all jobs of the run, in order
    clock : seconds from any start
    """

    def __init__(self, jobs: Sequence[Job], clock: Callable[[], float] = time.monotonic) -> None:
        self._jobs, self._clock = jobs, clock
        self._cost = cache(lambda number: _cost(jobs[number]))
        self._number, self._map = 0, MapClock(clock)
        self._finished_seconds = self._finished_cost = 0.0

    def begin(self, number: int) -> None:
        """Begin job `number`, from 0."""
        self._number, self._map = number, MapClock(self._clock)

    def end(self, *, is_done: bool) -> None:
        """End the current job. Jobs that failed or were kept take less time, and are not used for the estimate."""
        if is_done and len(self._jobs) > 1:
            self._finished_seconds += self._map.elapsed
            self._finished_cost += self._cost(self._number)

    def time_left(self, done: int, count: int) -> TimeLeft:
        """Estimate the time left after `done` of `count` tiles of the current job. Call it first with 0 tiles done."""
        of_map = self._map.seconds_left(done, count)
        if len(self._jobs) == 1:
            return TimeLeft(of_map)
        seconds = self._finished_seconds + self._map.elapsed + of_map
        cost = self._finished_cost + self._cost(self._number)
        return TimeLeft(of_map, of_map + seconds / cost * self._remaining_cost())

    def _remaining_cost(self) -> float:
        following = range(self._number + 1, len(self._jobs))
        sample = [self._cost(number) for number in following[:: -(-len(following) // MAX_HEADERS) or 1]]
        return sum(sample) / max(1, len(sample)) * len(following)


def _cost(job: Job) -> float:
    """Return the cost of a job from the header of its map; the least one for a map that cannot be read."""
    try:
        if job.map_path.is_file():  # a pipe would block
            return map_cost(mrc.grid_and_memory(job.map_path, job.voxel_size)[0].shape)
    except Exception:  # noqa: BLE001 - the job will report it
        pass
    return map_cost((0, 0, 0))
