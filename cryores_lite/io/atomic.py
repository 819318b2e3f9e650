"""Several files that belong together get their names at once, as nearly as a file system allows.

They are made in a hidden folder beside their targets, synced, marked as ready, and then renamed one after the other,
the local-resolution map last: where it is, all others are. Signals wait meanwhile. Whoever is killed between two
renames leaves whole files and the mark, and the next run in that folder gives the rest their names. Any other hidden
folder of a dead run is removed. A run is dead if its lock can be had, on its own machine; on another one, where locks
may mean nothing, only if its folder is old as well. A file that stands alone is made under a hidden name too, and that
is removed once it is old.
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
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any

from cryores_lite.errors import OutputError

try:
    import fcntl
except ImportError:  # Windows: nothing can be locked, so nothing is cleared away
    fcntl = None  # type: ignore[assignment]

PREFIX = ".cryores_lite-"
OWNER, READY = ".owner", ".ready"
SINGLE = ".tmp"  # how a hidden file ends that is no part of a folder
OLD = 7 * 24 * 3600.0  # seconds; a run takes minutes


@contextlib.contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """Open a hidden folder in `folder` that is gone afterwards, whatever happens.

    Raises
    ------
    OutputError
        Nothing can be written there.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _undisturbed():  # until it is known how to remove it
                here = Path(tempfile.mkdtemp(prefix=PREFIX, dir=folder))
                owner = _locked(here / OWNER, create=True)
                stack.callback(_discard, here, owner)
                if owner is not None:
                    with contextlib.suppress(OSError):  # a full disk will be told of by the files that matter
                        os.write(owner, _machine().encode())
        except OSError as error:
            found, try_ = error.strerror or error, "name a folder of yours with -o"
            raise OutputError(str(folder), found=found, expected="to write there", try_=try_) from error
        yield here


@contextlib.contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """Open a hidden file beside `path` that gets its name, synced, when the block ends well, and is gone otherwise.

    Raises
    ------
    OSError
        The file system refuses.
    """
    temporary = path.with_name(f"{PREFIX}{secrets.token_hex(6)}{SINGLE}")
    try:
        with temporary.open("xb") as stream:  # the umask applies, as to any new file
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def publish(here: Path, names: Sequence[str], overwrite: bool) -> None:
    """Give finished files of a staging folder their names in the folder around it, in this order: all, or none.

    Raises
    ------
    OutputError
        A name is taken, or the file system refuses. The files that had got their names have lost them again, unless
        they replaced others.
    """
    try:
        for name in names:
            _sync(here / name)
        mark = {"names": list(names), "overwrite": overwrite}
        (here / f"{READY}.part").write_text(json.dumps(mark), encoding="utf-8")
        _sync(here / f"{READY}.part")
        (here / f"{READY}.part").replace(here / READY)
        with contextlib.suppress(OSError):  # some file systems sync no folders
            _sync(here)
        with _alone(here.parent), _undisturbed():
            _rename(here, names, overwrite)
    except OSError as error:
        found = "a file" if isinstance(error, FileExistsError) else error.strerror or error
        expected = "a free name" if isinstance(error, FileExistsError) else "to write it"
        raise OutputError(
            str(error.filename2 or error.filename or here.parent),
            found=found,
            expected=expected,
            try_="check the folder and the space left, or pass --overwrite or -o DIR",
        ) from error


def clear_away(folder: Path) -> None:
    """Finish or remove what dead runs of this user left in a folder. What cannot be told to be dead stays."""
    if fcntl is None:
        return
    for left in sorted(folder.glob(f"{PREFIX}*")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            _clear_away(left)


def _clear_away(left: Path) -> None:
    about = left.lstat()
    is_old = time.time() - about.st_mtime > OLD
    if about.st_uid != os.getuid():
        return
    if stat.S_ISREG(about.st_mode) and left.name.endswith(SINGLE) and is_old:
        left.unlink()
    if not stat.S_ISDIR(about.st_mode):
        return
    owner = _locked(left / OWNER)
    if owner is None and ((left / OWNER).exists() or not is_old):  # taken, or not even begun
        return
    if owner is not None and not is_old and os.read(owner, 200) != _machine().encode():
        os.close(owner)
        return
    try:
        names, overwrite = _mark(left)
        _finish(left, names, overwrite)
    finally:
        _discard(left, owner)


def _finish(left: Path, names: Sequence[str], overwrite: bool) -> None:
    """Name the other files of a run that died after it had named some; never replace what is newer."""
    pairs = [(left / name, left.parent / name) for name in names]
    with _alone(left.parent), _undisturbed():
        if not any(_named(left, names)):
            return
        for made, target in pairs:
            if not made.exists() or target.is_dir():
                continue
            is_free = not os.path.lexists(target)
            if is_free or (overwrite and target.lstat().st_mtime <= made.stat().st_mtime):
                made.replace(target)


def _mark(here: Path) -> tuple[list[str], bool]:
    """Names of the files of a folder that is ready, and whether they may replace others; none of one that is not."""
    try:
        mark = json.loads((here / READY).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return [], False
    return [Path(name).name for name in mark["names"]], bool(mark["overwrite"])


def _named(here: Path, names: Sequence[str]) -> list[bool]:
    return [not (here / name).exists() or _is_same(here / name, here.parent / name) for name in names]


def _is_same(made: Path, target: Path) -> bool:
    return target.exists() and made.samefile(target)


def _rename(here: Path, names: Sequence[str], overwrite: bool) -> None:
    named: list[Path] = []
    try:
        for name in names:
            target = here.parent / name
            if overwrite:
                (here / name).replace(target)
            else:
                _link(here / name, target)
                named.append(target)
    except OSError:
        for target in named:
            target.unlink()
        raise
    with contextlib.suppress(OSError):  # all is named
        _sync(here.parent)


def _link(made: Path, target: Path) -> None:
    """Name a file unless the name is taken, in one step where the file system knows links."""
    try:
        os.link(made, target)
    except FileExistsError:
        if not _is_same(made, target):  # NFS may say so of a link that it has just made
            raise
    except OSError:
        if os.path.lexists(target):
            raise FileExistsError(17, "File exists", str(target)) from None
        made.replace(target)


def _locked(path: Path, create: bool = False) -> int | None:
    """Open a file and lock it, or None where that cannot be had."""
    if fcntl is None:
        return None
    flags = os.O_RDWR | os.O_NOFOLLOW | (os.O_CREAT | os.O_EXCL if create else 0)
    try:
        opened = os.open(path, flags, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # taken, or this file system has no locks
        os.close(opened)
        return None
    return opened


def _close(opened: int | None) -> None:
    if opened is not None:
        os.close(opened)


def _discard(here: Path, owner: int | None) -> None:
    """Remove a folder, unless only some of its files have got their names: then the next run has to finish.

    Its lock is let go after its files, so that nobody clears away what is being cleared, and before the folder itself,
    since on NFS an open file cannot be removed.
    """
    with _undisturbed():
        named = _named(here, _mark(here)[0])
        half = any(named) and not all(named)
        for path in () if half else (here / READY, *here.iterdir()):
            if path.name != OWNER:
                with contextlib.suppress(OSError):
                    path.unlink()
        _close(owner)
        if not half and os.access(here.parent, os.W_OK):  # else it could not go, but its lock would
            shutil.rmtree(here, ignore_errors=True)


def _machine() -> str:
    """Name the running system; another after a restart."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return platform.node()


def _sync(path: Path) -> None:
    if fcntl is None:  # Windows syncs neither folders nor what is open for reading
        return
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time name files in a folder, where folders can be locked."""
    opened = None
    with contextlib.suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        if fcntl is not None:
            fcntl.flock(opened, fcntl.LOCK_EX)
    try:
        yield
    finally:
        _close(opened)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold back the signals that end a run, and deliver them afterwards. Only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def keep(number: int, frame: FrameType | None) -> None:
        came.append(number)

    names = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before: dict[int, Any] = {n: signal.getsignal(n) for n in names}
    held = [n for n in names if before[n] is not None and before[n] != signal.SIG_IGN]
    for number in held:
        signal.signal(number, keep)
    try:
        yield
    finally:
        for number in held:
            signal.signal(number, before[number])
        for number in came:
            signal.raise_signal(number)
