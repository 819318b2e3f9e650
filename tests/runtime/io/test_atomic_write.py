"""The outputs of a run appear all at once, and leftovers of dead runs are published or removed."""

import json
import os
import signal
import sys
import threading

import pytest

from cryores_lite.errors import OutputError
from cryores_lite.io import atomic_write
from cryores_lite.io.atomic_write import COMPLETE_MARK, LOCK_FILE, PREFIX, clean_up_dead_runs, publish, staging_folder
from tests.runtime.command import python

NAMES = ("b", "c", "a")
pytest.importorskip("fcntl")


def fill(folder, names=NAMES, text="new"):
    for name in names:
        (folder / name).write_text(text)


def run(folder, overwrite=False):
    """Write and publish three files."""
    with staging_folder(folder) as staging:
        fill(staging)
        publish(staging, NAMES, overwrite)


def texts(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def killed_run(folder, *, names=NAMES, complete=False, overwrite=False, machine=None):
    """Make the staging folder of a killed run."""
    staging = folder / f"{PREFIX}dead"
    staging.mkdir()
    fill(staging, names)
    (staging / LOCK_FILE).write_text(atomic_write._boot_id() if machine is None else machine)
    if complete:
        (staging / COMPLETE_MARK).write_text(json.dumps({"names": NAMES, "overwrite": overwrite}))
    return staging


@pytest.mark.parametrize("overwrite", [False, True])
def test_all_files_are_published_and_the_staging_folder_is_removed(tmp_path, overwrite):
    run(tmp_path / "made", overwrite)
    assert texts(tmp_path / "made") == dict.fromkeys(NAMES, "new")
    assert len(list((tmp_path / "made").iterdir())) == 3


@pytest.mark.parametrize("taken", NAMES)
def test_one_existing_file_keeps_all_others_from_being_published(tmp_path, taken):
    (tmp_path / taken).write_text("precious")
    with pytest.raises(OutputError, match="a free name"):
        run(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {taken: "precious"}


def test_an_interrupt_during_publishing_waits_until_all_files_are_published(tmp_path):
    received = []

    def interrupt(event, arguments):
        if event == "os.link" and not received and str(tmp_path) in str(arguments[0]):
            received.append(event)
            signal.raise_signal(signal.SIGINT)

    sys.addaudithook(interrupt)
    handler = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert received
    assert texts(tmp_path) == dict.fromkeys(NAMES, "new")
    assert len(list(tmp_path.iterdir())) == 3


def test_files_can_be_published_from_any_thread(tmp_path):
    thread = threading.Thread(target=run, args=(tmp_path,))
    thread.start()
    thread.join()
    assert texts(tmp_path) == dict.fromkeys(NAMES, "new")


@pytest.mark.parametrize("complete", [False, True])
def test_files_that_a_dead_run_wrote_but_did_not_publish_are_removed(tmp_path, complete):
    killed_run(tmp_path, complete=complete)
    clean_up_dead_runs(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_publishing_that_a_dead_run_began_is_finished(tmp_path, overwrite):
    if overwrite:
        fill(tmp_path, text="old")
        for name in NAMES:
            os.utime(tmp_path / name, (1e9, 1e9))
    staging = killed_run(tmp_path, complete=True, overwrite=overwrite)
    (staging / "b").replace(tmp_path / "b")
    clean_up_dead_runs(tmp_path)
    assert texts(tmp_path) == dict.fromkeys(NAMES, "new")
    assert len(list(tmp_path.iterdir())) == 3


def test_files_newer_than_a_dead_run_are_never_replaced(tmp_path):
    staging = killed_run(tmp_path, complete=True, overwrite=True)
    (staging / "b").replace(tmp_path / "b")
    (tmp_path / "c").write_text("newer")
    os.utime(tmp_path / "c", (4e9, 4e9))
    clean_up_dead_runs(tmp_path)
    assert texts(tmp_path) == {"a": "new", "b": "new", "c": "newer"}


def test_a_live_run_is_not_cleaned_up(tmp_path):
    with staging_folder(tmp_path) as staging:
        fill(staging)
        clean_up_dead_runs(tmp_path)
        publish(staging, NAMES, False)
    assert texts(tmp_path) == dict.fromkeys(NAMES, "new")


@pytest.mark.parametrize("machine", ["another", ""])
def test_a_run_of_another_machine_is_kept_for_a_week(tmp_path, machine):
    staging = killed_run(tmp_path, machine=machine)
    clean_up_dead_runs(tmp_path)
    assert texts(staging)["a"] == "new"
    os.utime(staging, (1e9, 1e9))
    clean_up_dead_runs(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_staging_folder_without_a_lock_file_is_kept_for_a_week(tmp_path):
    staging = tmp_path / f"{PREFIX}begun"
    staging.mkdir()
    clean_up_dead_runs(tmp_path)
    assert staging.exists()
    os.utime(staging, (1e9, 1e9))
    clean_up_dead_runs(tmp_path)
    assert not staging.exists()


def test_links_and_files_with_the_prefix_are_neither_followed_nor_removed(tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / LOCK_FILE).write_text(atomic_write._boot_id())
    (precious / "a").write_text("kept")
    (tmp_path / f"{PREFIX}link").symlink_to(precious)
    (tmp_path / f"{PREFIX}file").write_text("kept")
    clean_up_dead_runs(tmp_path)
    assert texts(precious)["a"] == "kept"
    assert (tmp_path / f"{PREFIX}file").read_text() == "kept"


def test_a_single_file_is_written_completely_or_not_at_all(tmp_path):
    (tmp_path / "a").write_text("old")

    def interrupted_write():
        with atomic_write.atomic_write(tmp_path / "a") as stream:
            stream.write(b"ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_write()
    assert texts(tmp_path) == {"a": "old"}
    with atomic_write.atomic_write(tmp_path / "a") as stream:
        stream.write(b"new")
        assert (tmp_path / "a").read_text() == "old"
    assert texts(tmp_path) == {"a": "new"}


def test_a_single_file_of_a_dead_run_is_removed_after_a_week(tmp_path):
    (leftover := tmp_path / f"{PREFIX}0123456789ab{atomic_write.SINGLE_FILE_SUFFIX}").write_text("half")
    (other := tmp_path / f"{PREFIX}file").write_text("kept")
    (target := tmp_path / "target").write_text("kept")
    (link := tmp_path / f"{PREFIX}link{atomic_write.SINGLE_FILE_SUFFIX}").symlink_to(target)
    clean_up_dead_runs(tmp_path)
    assert leftover.exists()
    for path in (leftover, other, target):
        os.utime(path, (1e9, 1e9))
    os.utime(link, (1e9, 1e9), follow_symlinks=False)
    clean_up_dead_runs(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted((other, target, link))


def test_a_killed_run_is_cleaned_up_by_the_next(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from cryores_lite.io.atomic_write import staging_folder\n"
        "with staging_folder(Path(sys.argv[1])) as staging:\n"
        "    (staging / 'a').write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert python(code, tmp_path).returncode == -signal.SIGKILL
    (staging,) = tmp_path.iterdir()
    assert (staging / "a").exists()
    clean_up_dead_runs(tmp_path)
    assert list(tmp_path.iterdir()) == []
