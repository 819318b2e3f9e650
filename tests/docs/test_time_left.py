"""The time left is estimated with the shares of the steps that docs/PERFORMANCE.md measured."""

import csv
from pathlib import Path

import pytest

from cryores_lite.resources import TIME_SHARES

PAGE = (Path(__file__).parents[2] / "docs" / "PERFORMANCE.md").read_text("utf-8")
NOT_OF_A_MAP = ("import", "open model")
AFTER_THE_TILES = ("assemble", "write", "other")
MIN_EDGE = 256  # voxels: the time of smaller maps is short


def steps():
    """Seconds of the steps by name, of each large map on one thread: steps overlap on two."""
    lines = PAGE.split("### Seconds by step")[1].split("\n###")[0].strip().splitlines()
    head, _, *rows = csv.reader((line.strip("|") for line in lines), delimiter="|")
    for row in rows:
        box, _, threads, *seconds = (cell.strip() for cell in row)
        if threads == "1" and int(box.rstrip("³")) >= MIN_EDGE:
            names = [cell.strip() for cell in head[3:]]
            yield {name: float(value) for name, value in zip(names, seconds, strict=True) if name not in NOT_OF_A_MAP}


def test_the_shares_are_a_whole():
    assert sum(TIME_SHARES) == pytest.approx(1)


def test_the_time_left_at_the_first_tile_is_within_a_third_of_the_measured_one():
    measured = list(steps())
    assert len(measured) >= 4
    for seconds in measured:
        left = sum(seconds[name] for name in ("network", *AFTER_THE_TILES))
        before = sum(seconds.values()) - left
        assert before * (1 - TIME_SHARES[0]) / TIME_SHARES[0] == pytest.approx(left, rel=1 / 3)
