"""Short versions of the campaigns of `python -m tests.hostile`."""

import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hostile import fuzz, kills, limits
from tests.hostile.attempts import attempt_all
from tests.hostile.catalogue import CASES, UNREADABLE
from tests.hostile.lines import LINES, run_all


def test_every_input_of_the_catalogue_has_the_expected_outcome():
    attempts = list(attempt_all(CASES))
    assert len(attempts) == len(CASES)
    assert [f"{a.case.group}, {a.case.name}: {a.faults}" for a in attempts if a.faults] == []


def test_every_command_line_has_the_expected_outcome():
    pytest.importorskip("gemmi")
    assert [f"{ran.line.group}, {ran.line.name}: {ran.faults}" for ran in run_all(LINES) if ran.faults] == []


def test_a_map_without_read_permission_is_refused(tmp_path):
    if os.access(UNREADABLE.make(tmp_path), os.R_OK):
        pytest.skip("root can read every file")
    (attempt,) = attempt_all([UNREADABLE])
    assert attempt.faults == ()


def test_names_of_cases_are_unique():
    names = [(case.group, case.name) for case in CASES]
    assert len(set(names)) == len(names) > 100


@pytest.fixture(scope="module")
def seed_maps():
    return fuzz.seed_maps()


@settings(max_examples=300, deadline=None)
@given(rng=st.randoms(use_true_random=False))
def test_a_mutated_map_is_read_or_refused_with_a_message(seed_maps, tmp_path_factory, rng):
    path = tmp_path_factory.getbasetemp() / "mutated.mrc"
    path.write_bytes(fuzz.mutated(rng, seed_maps))
    faults = []
    fuzz.read_and_judge(path, faults.append)
    assert faults == []


def test_a_short_campaign_has_no_faults_and_equal_seeds_make_equal_files(seed_maps):
    tally = fuzz.campaign(1000, 5, command_interval=500)
    assert (tally.files, tally.faults, tally.commands.total()) == (1000, [], 2)
    first, second = (fuzz.mutated(random.Random(7), seed_maps) for _ in range(2))
    assert first == second


def test_killed_runs_leave_all_outputs_or_none():
    tally = kills.campaign(4, 3)
    assert (tally.moments, tally.faults) == (4, [])


def test_a_folder_that_becomes_immutable_holds_all_outputs_or_none(tmp_path):
    try:
        kills.set_immutable(tmp_path, True)
    except OSError:
        pytest.skip("this user or file system cannot make folders immutable")
    kills.set_immutable(tmp_path, False)
    assert kills.campaign(0, 1, immutables=1).faults == []


def test_two_simultaneous_runs_leave_the_outputs_of_one():
    assert limits.races(1).faults == []


def test_a_full_disk_leaves_all_outputs_or_none():
    try:
        with limits.small_disk(1 << 20):
            pass
    except OSError as error:
        pytest.skip(str(error))
    assert limits.full_disks(1, 0).faults == []


def test_too_little_address_space_ends_with_one_line_on_stderr():
    assert limits.small_address_spaces((100, 450)).faults == []
