"""A short part of what `python -m tests.hostile` does, for every change of the program."""

import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hostile import fuzz, kills, limits
from tests.hostile.attempts import attempt_all
from tests.hostile.catalogue import CASES, UNREADABLE


def test_every_input_of_the_catalogue_ends_as_it_says():
    wrong = [f"{tried.case.group}, {tried.case.name}: {tried.wrong}" for tried in attempt_all(CASES) if tried.wrong]
    assert wrong == []


def test_a_map_that_may_not_be_read_is_refused(tmp_path):
    if os.access(UNREADABLE.make(tmp_path), os.R_OK):
        pytest.skip("root may read everything")
    (tried,) = attempt_all([UNREADABLE])
    assert tried.wrong == ()


def test_names_of_cases_are_their_own():
    names = [(case.group, case.name) for case in CASES]
    assert len(set(names)) == len(names) > 100


@pytest.fixture(scope="module")
def wholes():
    return fuzz.seeds()


@settings(max_examples=300, deadline=None)
@given(choose=st.randoms(use_true_random=False))
def test_a_mutated_map_is_read_or_refused_in_words(wholes, tmp_path_factory, choose):
    path = tmp_path_factory.getbasetemp() / "mutated.mrc"
    path.write_bytes(fuzz.mutated(choose, wholes))
    said = []
    fuzz.judged(path, said.append)
    assert said == []


def test_a_short_campaign_finds_nothing_and_its_seed_makes_the_same_files(wholes):
    tally = fuzz.campaign(1000, 5, whole=500)
    assert (tally.files, tally.bad, tally.commands.total()) == (1000, [], 2)
    first, again = (fuzz.mutated(random.Random(7), wholes) for _ in range(2))
    assert first == again


def test_a_few_kills_leave_the_whole_answer_or_none():
    tally = kills.campaign(4, 3)
    assert (tally.points, tally.bad) == (4, [])


def test_a_folder_that_is_locked_half_way_is_left_whole(tmp_path):
    try:
        kills.immutable(tmp_path, True)
    except OSError:
        pytest.skip("this user or file system locks no folders")
    kills.immutable(tmp_path, False)
    assert kills.campaign(0, 1, immutables=1).bad == []


def test_two_runs_at_once_leave_one_answer():
    assert limits.races(1).bad == []


def test_a_full_disk_leaves_nothing():
    try:
        with limits.disk(1 << 20):
            pass
    except OSError as error:
        pytest.skip(str(error))
    assert limits.full_disks(1, 0).bad == []


def test_too_little_address_space_is_told_in_one_line():
    assert limits.memories((100, 450)).bad == []
