"""Write files so that a run leaves all of its outputs or none, even if it is killed.

The outputs of a map are written into a hidden staging folder in the output folder, synced and marked as complete. Then
they are renamed one after the other while signals wait. The local-resolution map is last: if it exists, all others do.
A run that is killed between two renames leaves complete files and the mark, and the next run in that folder publishes
the remaining ones. Staging folders of other dead runs are removed.

A run is dead if its lock is free and it ran on this machine. On another machine, where locks may not work, its folder
must also be older than `MAX_RUN_TIME`. Single files are written under a hidden name, which is removed once it is that
old.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import shutil
import signal
import stat
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any

from cryores_lite.errors import OutputError

try:
    import fcntl
except ImportError:  # Windows has no such locks, so leftovers stay
    fcntl = None  # type: ignore[assignment]

PREFIX = ".cryores_lite-"  # of all hidden names
LOCK_FILE, COMPLETE_MARK = ".owner", ".ready"  # in a staging folder
SINGLE_FILE_SUFFIX = ".tmp"  # of hidden files outside of staging folders
MAX_RUN_TIME = 7 * 24 * 3600.0  # seconds; a run usually takes minutes


def refuse_existing(paths: Iterable[Path], overwrite: bool) -> None:
    """Refuse names of output files that are taken: by a folder, or by a file that may not be overwritten.

    Raises
    ------
    OutputError
        A name is taken.
    """
    for path in paths:
        if path.is_dir() or (not overwrite and os.path.lexists(path)):
            raise OutputError(
                str(path), found="an existing file", expected="a free name", try_="pass --overwrite or -o DIR"
            )


@contextlib.contextmanager
def staging_folder(folder: Path) -> Iterator[Path]:
    """Make a hidden folder in `folder`, and remove it at the end, also after an error.

    Raises
    ------
    OutputError
        `folder` cannot be made or written to.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _signals_deferred():  # until its removal is registered
                staging = Path(tempfile.mkdtemp(prefix=PREFIX, dir=folder))
                lock = _lock(staging / LOCK_FILE, create=True)
                stack.callback(_discard, staging, lock)
                if lock is not None:
                    with contextlib.suppress(OSError):  # the outputs will report a full disk
                        os.write(lock, _boot_id().encode())
        except OSError as error:
            found, try_ = error.strerror or error, "choose another folder with -o"
            raise OutputError(str(folder), found=found, expected="a writable folder", try_=try_) from error
        yield staging


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a hidden file in the folder of `path`; sync and rename it to `path` at the end, or remove it after an error.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    temporary = path.with_name(f"{PREFIX}{secrets.token_hex(6)}{SINGLE_FILE_SUFFIX}")
    try:
        with temporary.open("xb") as stream:  # the umask applies, as to any new file
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def publish(staging: Path, names: Sequence[str], overwrite: bool) -> None:
    """Move finished files of a staging folder into the folder around it, in this order: all, or none.

    Raises
    ------
    OutputError
        A file exists, or the file system fails. Files that were moved are removed again, unless they replaced others.
    """
    try:
        for name in names:
            _sync(staging / name)
        unfinished_mark = staging / f"{COMPLETE_MARK}.part"
        unfinished_mark.write_text(json.dumps({"names": list(names), "overwrite": overwrite}), encoding="utf-8")
        _sync(unfinished_mark)
        unfinished_mark.replace(staging / COMPLETE_MARK)
        with contextlib.suppress(OSError):  # some file systems do not sync folders
            _sync(staging)
        with _folder_locked(staging.parent), _signals_deferred():
            _move_all(staging, names, overwrite)
    except OSError as error:
        is_taken = isinstance(error, FileExistsError)
        raise OutputError(
            str(error.filename2 or error.filename or staging.parent),
            found="an existing file" if is_taken else error.strerror or error,
            expected="a free name" if is_taken else "a writable file",
            try_="check the folder and the free disk space, or pass --overwrite or -o DIR",
        ) from error


def clean_up_dead_runs(folder: Path) -> None:
    """Publish or remove the files that dead runs of this user left in a folder. Skip runs that may be alive."""
    if fcntl is None:
        return
    for leftover in sorted(folder.glob(f"{PREFIX}*")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            _clean_up(leftover)


def _clean_up(leftover: Path) -> None:
    status = leftover.lstat()
    is_old = time.time() - status.st_mtime > MAX_RUN_TIME
    if status.st_uid != os.getuid():
        return
    if stat.S_ISREG(status.st_mode) and leftover.name.endswith(SINGLE_FILE_SUFFIX) and is_old:
        leftover.unlink()
    if not stat.S_ISDIR(status.st_mode):
        return
    lock = _lock(leftover / LOCK_FILE)
    if lock is None and ((leftover / LOCK_FILE).exists() or not is_old):  # the run is alive, or has just started
        return
    if (
        lock is not None and not is_old and os.read(lock, 200) != _boot_id().encode()
    ):  # it may be alive on another machine
        os.close(lock)
        return
    try:
        names, overwrite = _read_mark(leftover)
        _finish_publishing(leftover, names, overwrite)
    finally:
        _discard(leftover, lock)


def _finish_publishing(staging: Path, names: Sequence[str], overwrite: bool) -> None:
    """Move the remaining files of a run that died after it had moved some; never replace a newer file."""
    pairs = [(staging / name, staging.parent / name) for name in names]
    with _folder_locked(staging.parent), _signals_deferred():
        if not any(_are_published(staging, names)):
            return
        for staged, target in pairs:
            if not staged.exists() or target.is_dir():
                continue
            is_free = not os.path.lexists(target)
            if is_free or (overwrite and target.lstat().st_mtime <= staged.stat().st_mtime):
                staged.replace(target)


def _read_mark(staging: Path) -> tuple[list[str], bool]:
    """Return the file names of a complete staging folder, and whether they may replace others; else ([], False)."""
    try:
        mark = json.loads((staging / COMPLETE_MARK).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return [], False
    return [Path(name).name for name in mark["names"]], bool(mark["overwrite"])


def _are_published(staging: Path, names: Sequence[str]) -> list[bool]:
    return [not (staging / name).exists() or _is_same_file(staging / name, staging.parent / name) for name in names]


def _is_same_file(staged: Path, target: Path) -> bool:
    return target.exists() and staged.samefile(target)


def _move_all(staging: Path, names: Sequence[str], overwrite: bool) -> None:
    linked: list[Path] = []
    try:
        for name in names:
            target = staging.parent / name
            if overwrite:
                (staging / name).replace(target)
            else:
                _link(staging / name, target)
                linked.append(target)
    except OSError:
        for target in linked:
            target.unlink()
        raise
    with contextlib.suppress(OSError):  # all files have their names already
        _sync(staging.parent)


def _link(staged: Path, target: Path) -> None:
    """Publish a file unless its name is taken, in one step where the file system supports hard links."""
    try:
        os.link(staged, target)
    except FileExistsError:
        if not _is_same_file(staged, target):  # NFS may raise this for the link that it has just made
            raise
    except OSError:
        if os.path.lexists(target):
            raise FileExistsError(17, "File exists", str(target)) from None
        staged.replace(target)


def _lock(path: Path, create: bool = False) -> int | None:
    """Open and lock a file; None if it is missing or locked, or cannot be locked."""
    if fcntl is None:
        return None
    flags = os.O_RDWR | os.O_NOFOLLOW | (os.O_CREAT | os.O_EXCL if create else 0)
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # locked, or the file system has no locks
        os.close(descriptor)
        return None
    return descriptor


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


def _discard(staging: Path, lock: int | None) -> None:
    """Remove a staging folder, unless only some of its files are published: the next run finishes those.

    The lock is released after the files are removed, so that no other run removes them at the same time, and before
    the folder is removed, since NFS cannot remove an open file.
    """
    with _signals_deferred():
        published = _are_published(staging, _read_mark(staging)[0])
        is_unfinished = any(published) and not all(published)
        for path in () if is_unfinished else (staging / COMPLETE_MARK, *staging.iterdir()):
            if path.name != LOCK_FILE:
                with contextlib.suppress(OSError):
                    path.unlink()
        _close(lock)
        if not is_unfinished and os.access(staging.parent, os.W_OK):  # otherwise only its lock file would be removed
            shutil.rmtree(staging, ignore_errors=True)


def _boot_id() -> str:
    """Return an identifier of this machine and its last boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return platform.node()


def _sync(path: Path) -> None:
    if fcntl is None:  # Windows syncs neither folders nor files that are open for reading
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _folder_locked(folder: Path) -> Iterator[None]:
    """Let one process at a time publish files in a folder, if the file system can lock folders."""
    descriptor = None
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        _close(descriptor)


@contextlib.contextmanager
def _signals_deferred() -> Iterator[None]:
    """Hold back the signals that end a run, and deliver them afterwards. Works in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def record(number: int, frame: FrameType | None) -> None:
        received.append(number)

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    handlers: dict[int, Any] = {number: signal.getsignal(number) for number in numbers}
    deferred = [n for n in numbers if handlers[n] is not None and handlers[n] != signal.SIG_IGN]
    for number in deferred:
        signal.signal(number, record)
    try:
        yield
    finally:
        for number in deferred:
            signal.signal(number, handlers[number])
        for number in received:
            signal.raise_signal(number)
