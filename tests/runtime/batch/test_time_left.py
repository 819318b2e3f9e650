"""The time left: right for a machine of any speed whose maps take their time as the cost model says."""

import itertools

import numpy as np
import pytest

from cryores_lite.batch.time_left import MAX_HEADERS, Series
from cryores_lite.console import LastLine, TimeLeft, duration_text, progress_lines
from cryores_lite.outputs.result import Job
from cryores_lite.resources import TIME_SHARES, map_cost
from tests.runtime.maps import save

TILES = 5


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def jobs_of(folder, sizes):
    """One job per edge of a box; an edge of 0 is a file that is not a map."""
    paths = {size: folder / f"{size}.mrc" for size in sizes}
    for size, path in paths.items():
        if size:
            save(path, np.zeros((size,) * 3, np.float32))
        else:
            path.write_bytes(b"not a map")
    return [Job(map_path=paths[size], outputs={}) for size in sizes]


def estimates(jobs, durations):
    """Run jobs that take their time as the cost model says; yield the estimate and the truth at every tile."""
    clock = Clock()
    series = Series(jobs, clock)
    end = clock.now + sum(durations)
    for number, duration in enumerate(durations):
        series.begin(number)
        before, tiles, after = (share * duration for share in TIME_SHARES)
        end_of_map = clock.now + duration
        clock.now += before
        for done in range(TILES):
            yield series.time_left(done, TILES), TimeLeft(end_of_map - clock.now, end - clock.now)
            clock.now += tiles / TILES
        clock.now += after
        series.end(is_done=True)


@pytest.mark.parametrize("pace", [0.05, 3.0, 900.0])
def test_a_machine_of_any_speed_is_predicted_from_the_first_tile_on(tmp_path, pace):
    sizes = (40, 64, 24, 64, 32)
    durations = [pace * map_cost((size,) * 3) for size in sizes]
    for estimate, truth in estimates(jobs_of(tmp_path, sizes), durations):
        assert estimate == pytest.approx(truth)


def test_maps_that_cannot_be_read_cost_little_and_stop_nothing(tmp_path):
    jobs = jobs_of(tmp_path, (64, 0, 64))
    jobs.append(Job(map_path=tmp_path / "missing.mrc", outputs={}))
    durations = [map_cost((size,) * 3) for size in (64, 0, 64, 0)]
    for estimate, truth in estimates(jobs, durations):
        assert estimate == pytest.approx(truth)


def test_a_long_list_is_judged_by_some_of_its_headers(tmp_path):
    count = 2 * MAX_HEADERS + 7
    jobs = jobs_of(tmp_path, (24,)) * count
    estimate, truth = next(estimates(jobs, [map_cost((24, 24, 24))] * count))
    assert estimate == pytest.approx(truth)


def test_failed_and_kept_maps_do_not_change_the_pace(tmp_path):
    clock = Clock()
    series = Series(jobs_of(tmp_path, (32, 32, 32)), clock)
    for is_done, seconds in ((False, 0.001), (True, 10.0)):
        series.begin(0)
        clock.now += seconds
        series.end(is_done=is_done)
    series.begin(1)
    clock.now += 10 * TIME_SHARES[0]
    assert series.time_left(0, TILES) == pytest.approx((10 - 10 * TIME_SHARES[0], 20 - 10 * TIME_SHARES[0]))


def test_one_map_has_no_time_of_all_maps(tmp_path):
    series = Series(jobs_of(tmp_path, (24,)), Clock())
    series.begin(0)
    assert series.time_left(0, TILES).of_all is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "1 s"), (59.4, "59 s"), (59.6, "1 min"), (3569, "59 min"), (3571, "1 h 0 min"), (7500, "2 h 5 min")],
)
def test_a_duration_is_written_in_units_that_people_use(seconds, text):
    assert duration_text(seconds) == text


def test_a_log_gets_one_line_of_a_long_run_and_none_of_a_short_one(capsys):
    last_line = LastLine()
    for of_map, of_all in itertools.product((1, 200), (100, 5000)):
        left = TimeLeft(of_map, of_all)
        tiles = progress_lines("1/9 a.mrc", lambda *_, left=left: left, last_line)("abc")
        assert list(tiles) == ["a", "b", "c"]
    assert capsys.readouterr().err == "1/9 a.mrc: about 1 s left, all maps 1 h 23 min\n"
