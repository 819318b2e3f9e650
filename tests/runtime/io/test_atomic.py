"""Files that belong together: named all at once, and what the dead leave is finished or removed."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from cryores_lite.errors import OutputError
from cryores_lite.io import atomic as staging
from cryores_lite.io.atomic import OWNER, PREFIX, READY, clear_away, publish

NAMES = ("b", "c", "a")
pytest.importorskip("fcntl")


def fill(folder, names=NAMES, text="new"):
    for name in names:
        (folder / name).write_text(text)


def make(folder, overwrite=False):
    """Make and name three files."""
    with staging.staging(folder) as here:
        fill(here)
        publish(here, NAMES, overwrite)


def texts(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def dead(folder, *, names=NAMES, ready=False, overwrite=False, machine=None):
    """What a killed run leaves."""
    left = folder / f"{PREFIX}dead"
    left.mkdir()
    fill(left, names)
    (left / OWNER).write_text(staging._machine() if machine is None else machine)
    if ready:
        (left / READY).write_text(json.dumps({"names": NAMES, "overwrite": overwrite}))
    return left


@pytest.mark.parametrize("overwrite", [False, True])
def test_all_files_are_named_and_the_hidden_folder_is_gone(tmp_path, overwrite):
    make(tmp_path / "made", overwrite)
    assert texts(tmp_path / "made") == dict.fromkeys(NAMES, "new")
    assert len(list((tmp_path / "made").iterdir())) == 3


@pytest.mark.parametrize("taken", NAMES)
def test_one_name_that_is_taken_leaves_the_others_free(tmp_path, taken):
    (tmp_path / taken).write_text("precious")
    with pytest.raises(OutputError, match="a free name"):
        make(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {taken: "precious"}


def test_an_interrupt_while_files_are_named_waits_until_all_are(tmp_path):
    came = []

    def interrupt(event, arguments):
        if event == "os.link" and not came and str(tmp_path) in str(arguments[0]):
            came.append(event)
            signal.raise_signal(signal.SIGINT)

    sys.addaudithook(interrupt)
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert came
    assert texts(tmp_path) == dict.fromkeys(NAMES, "new")
    assert len(list(tmp_path.iterdir())) == 3


def test_files_can_be_named_from_any_thread(tmp_path):
    thread = threading.Thread(target=make, args=(tmp_path,))
    thread.start()
    thread.join()
    assert texts(tmp_path) == dict.fromkeys(NAMES, "new")


@pytest.mark.parametrize("ready", [False, True])
def test_what_a_dead_run_made_but_did_not_name_is_removed(tmp_path, ready):
    dead(tmp_path, ready=ready)
    clear_away(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_a_dead_run_began_to_name_is_finished(tmp_path, overwrite):
    if overwrite:
        fill(tmp_path, text="old")
        for name in NAMES:
            os.utime(tmp_path / name, (1e9, 1e9))
    left = dead(tmp_path, ready=True, overwrite=overwrite)
    (left / "b").replace(tmp_path / "b")
    clear_away(tmp_path)
    assert texts(tmp_path) == dict.fromkeys(NAMES, "new")
    assert len(list(tmp_path.iterdir())) == 3


def test_what_is_newer_than_a_dead_run_is_never_replaced(tmp_path):
    left = dead(tmp_path, ready=True, overwrite=True)
    (left / "b").replace(tmp_path / "b")
    (tmp_path / "c").write_text("newer")
    os.utime(tmp_path / "c", (4e9, 4e9))
    clear_away(tmp_path)
    assert texts(tmp_path) == {"a": "new", "b": "new", "c": "newer"}


def test_a_living_run_is_left_alone(tmp_path):
    with staging.staging(tmp_path) as here:
        fill(here)
        clear_away(tmp_path)
        publish(here, NAMES, False)
    assert texts(tmp_path) == dict.fromkeys(NAMES, "new")


@pytest.mark.parametrize("machine", ["another", ""])
def test_a_run_of_another_machine_is_left_alone_for_a_week(tmp_path, machine):
    left = dead(tmp_path, machine=machine)
    clear_away(tmp_path)
    assert texts(left)["a"] == "new"
    os.utime(left, (1e9, 1e9))
    clear_away(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_nobody_has_signed_is_left_alone_for_a_week(tmp_path):
    left = tmp_path / f"{PREFIX}begun"
    left.mkdir()
    clear_away(tmp_path)
    assert left.exists()
    os.utime(left, (1e9, 1e9))
    clear_away(tmp_path)
    assert not left.exists()


def test_links_and_files_of_that_name_are_not_followed_nor_removed(tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / OWNER).write_text(staging._machine())
    (precious / "a").write_text("kept")
    (tmp_path / f"{PREFIX}link").symlink_to(precious)
    (tmp_path / f"{PREFIX}file").write_text("kept")
    clear_away(tmp_path)
    assert texts(precious)["a"] == "kept"
    assert (tmp_path / f"{PREFIX}file").read_text() == "kept"


def test_a_file_that_stands_alone_is_there_wholly_or_not_at_all(tmp_path):
    (tmp_path / "a").write_text("old")

    def fail():
        with staging.whole(tmp_path / "a") as stream:
            stream.write(b"ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert texts(tmp_path) == {"a": "old"}
    with staging.whole(tmp_path / "a") as stream:
        stream.write(b"new")
        assert (tmp_path / "a").read_text() == "old"
    assert texts(tmp_path) == {"a": "new"}


def test_a_single_file_that_a_dead_run_left_goes_after_a_week(tmp_path):
    (left := tmp_path / f"{PREFIX}0123456789ab{staging.SINGLE}").write_text("half")
    (other := tmp_path / f"{PREFIX}file").write_text("kept")
    (target := tmp_path / "target").write_text("kept")
    (link := tmp_path / f"{PREFIX}link{staging.SINGLE}").symlink_to(target)
    clear_away(tmp_path)
    assert left.exists()
    for path in (left, other, target):
        os.utime(path, (1e9, 1e9))
    os.utime(link, (1e9, 1e9), follow_symlinks=False)
    clear_away(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted((other, target, link))


def test_a_run_that_was_killed_is_cleared_away_by_the_next(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from cryores_lite.io.atomic import staging\n"
        "with staging(Path(sys.argv[1])) as here:\n"
        "    (here / 'a').write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    kept = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code, tmp_path], check=False, env=kept)
    (left,) = tmp_path.iterdir()
    assert (left / "a").exists()
    clear_away(tmp_path)
    assert list(tmp_path.iterdir()) == []
