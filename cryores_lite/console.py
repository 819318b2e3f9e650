"""Process set-up, printed results, exit codes and progress bar of the commands."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from cryores_lite import __version__
from cryores_lite.errors import CryoresError, OutputError, interrupt_cause, is_out_of_memory, out_of_memory
from cryores_lite.outputs.result import Job, MapResult
from cryores_lite.resources import map_seconds_left

if TYPE_CHECKING:
    from cryores_lite.types import Progress

INTERRUPTED = 130  # exit code
MIN_SECONDS_TO_WRITE = 300.0  # where no bar can be drawn, a shorter time left is not written
SECONDS_BETWEEN_LINES = 300.0


def configure_process() -> None:
    """Set thread counts, signals and standard streams. Call it before numpy is imported."""
    for library in ("OPENBLAS", "MKL"):  # our own threads use all cores
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    for name, code in (("SIGTERM", 143), ("SIGHUP", 129)):  # an exit removes unfinished files
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) == signal.SIG_DFL:  # a signal that nohup ignores stays ignored
            signal.signal(number, partial(_exit, code))
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the caller: the next file opened would get its number
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, errors="backslashreplace"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may lack Å, a file name may not be text


def _exit(code: int, *_: object) -> None:
    sys.exit(code)


@contextlib.contextmanager
def errors_to_exit_code() -> Iterator[None]:
    """Turn an expected failure into one line on stderr and an exit code. Bugs keep their traceback.

    Expected failures are a missing library, exhausted memory, a full disk and an interrupt, which prints no line.
    """
    from cryores_lite.resources import require_address_space

    try:
        require_address_space()
        yield
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        interrupt = interrupt_cause(error)
        if interrupt is not None:
            sys.exit(interrupt.code if isinstance(interrupt, SystemExit) else INTERRUPTED)
        user_error = as_user_error(error)
        if user_error is None:
            raise
        _print_error(user_error)
        _discard_unwritten_output()
        sys.exit(1)


def _discard_unwritten_output() -> None:
    """Drop the text that standard output cannot write: Python's last flush would fail again, with another exit code."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def as_user_error(error: Exception) -> CryoresError | None:
    """Translate an exception of another library into a CryoresError; return None if it is a bug."""
    if isinstance(error, CryoresError):
        return error
    if is_out_of_memory(error):
        return out_of_memory("cryores-lite")
    if isinstance(error, ImportError):
        found, expected = str(error), "the packages that pip installs with cryores-lite"
        return CryoresError(
            "cryores-lite cannot start", found=found, expected=expected, try_="run cryores-lite --check, and reinstall"
        )
    if isinstance(error, OSError):
        what = str(error.filename or "standard output")
        return OutputError(
            what,
            found=error.strerror or error,
            expected="a readable or writable file",
            try_="check the folder and the free disk space",
        )
    return None


def versions() -> str:
    """List the versions of the package, its network and onnxruntime, one per line."""
    from cryores_lite.method.network import ONNXRUNTIME_VERSION, Model

    try:
        model = Model.open(None, device="cpu", threads=1)
        model_version = f"model {model.spec.name} {model.spec.version} (sha256 {model.sha256[:12]})"
    except CryoresError as error:
        model_version = f"no model: {error}"
    return f"cryores-lite {__version__}\n{model_version}\nonnxruntime {ONNXRUNTIME_VERSION}"


class TimeLeft(NamedTuple):
    """Seconds until the end of a map, and of all maps; None if there is one map only."""

    of_map: float
    of_all: float | None = None

    @property
    def longest(self) -> float:
        """Seconds until everything is done."""
        return self.of_map if self.of_all is None else self.of_all

    def __str__(self) -> str:
        all_maps = "" if self.of_all is None else f", all maps {duration_text(self.of_all)}"
        return f"{duration_text(self.of_map)} left{all_maps}"


def duration_text(seconds: float) -> str:
    """Write a duration for people, in the two largest units that are worth it: ``40 s``, ``12 min``, ``2 h 5 min``."""
    if seconds < 59.5:
        return f"{max(1, round(seconds))} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


class MapClock:
    """Estimates the time left of a map that starts when this is made.

    The share of a map's time that lies before its first tile is known (`resources.TIME_SHARES`): the speed of the
    machine is thereby measured, not assumed.

    Parameters
    ----------
    clock : seconds from any start
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = self._first_tile = clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the start of the map."""
        return self._clock() - self._start

    def seconds_left(self, done: int, count: int) -> float:
        """Estimate the seconds left after `done` of `count` tiles. Call it first with 0 tiles done."""
        now = self._clock()
        if not done:
            self._first_tile = now
        return map_seconds_left(self._first_tile - self._start, now - self._first_tile, done, count)


@dataclass
class LastLine:
    """When the last line with the time left was written, in seconds of the monotonic clock."""

    time: float = -math.inf


@dataclass(frozen=True)
class Reporting:
    """What is printed: JSON lines instead of summaries (`as_json`), or only errors and no progress bar (`quiet`)."""

    as_json: bool = False
    quiet: bool = False
    last_line: LastLine = field(default_factory=LastLine)

    def progress(self, job: Job, number: int, count: int, time_left: Callable[[int, int], TimeLeft]) -> Progress:
        """Return a wrapper for the tiles of job `number` of `count`, which tells the time left on stderr.

        It draws a progress bar on a terminal, and writes a line now and then elsewhere, if the time is long.
        `time_left` estimates it from the number of tiles that are finished and of all tiles.
        """
        return self.tiles(f"{number}/{count} {job.map_path.name}" if count > 1 else job.map_path.name, time_left)

    def map_progress(self, label: str) -> Progress:
        """Return the same wrapper for a map that starts now, and has no other maps behind it."""
        clock = MapClock()
        return self.tiles(label, lambda done, count: TimeLeft(clock.seconds_left(done, count)))

    def tiles(self, label: str, time_left: Callable[[int, int], TimeLeft]) -> Progress:
        """Return the wrapper for the tiles of the map that the label names."""
        if self.quiet:
            return iter
        if sys.stderr.isatty():
            return progress_bar(label, time_left)
        return progress_lines(label, time_left, self.last_line)


def print_outcome(result: MapResult, reporting: Reporting) -> None:
    """Print a result: errors and warnings to stderr, the row or the summary to stdout."""
    from cryores_lite.outputs.outcome import row, summary

    if result.error is not None:
        typer.echo(f"error: {result.error}", err=True)
    for warning in () if reporting.quiet else result.warnings:
        typer.echo(f"warning: {result.job.map_path.name}: {warning}", err=True)
    if reporting.as_json:
        typer.echo(json.dumps(row(result), allow_nan=False))
    elif result.error is None and not reporting.quiet:
        typer.echo(summary(result))


@contextlib.contextmanager
def user_errors_to_exit_code(code: int = 1) -> Iterator[None]:
    """Turn a CryoresError into one line on stderr and an exit code."""
    try:
        yield
    except CryoresError as error:
        _print_error(error)
        raise typer.Exit(code) from None


def _print_error(error: CryoresError) -> None:
    typer.echo(f"error: {' '.join(str(error).split())}", err=True)


def progress_bar(label: str, time_left: Callable[[int, int], TimeLeft]) -> Progress:
    """Return a wrapper for the tiles of a map, which draws a progress bar with the time left on stderr."""

    def with_bar(tiles: Sequence[Any]) -> Iterator[Any]:
        def shown(tile: Any) -> str:
            return "" if tile is None else str(time_left(bar.pos, len(tiles)))

        time_left(0, len(tiles))
        with typer.progressbar(tiles, label=label, file=sys.stderr, show_eta=False, item_show_func=shown) as bar:
            yield from bar

    return with_bar


def progress_lines(label: str, time_left: Callable[[int, int], TimeLeft], last_line: LastLine) -> Progress:
    """Return a wrapper for the tiles of a map, which now and then writes the time left to stderr, if it is long."""

    def with_lines(tiles: Sequence[Any]) -> Iterator[Any]:
        for done, tile in enumerate(tiles):
            left, now = time_left(done, len(tiles)), time.monotonic()
            if left.longest >= MIN_SECONDS_TO_WRITE and now - last_line.time >= SECONDS_BETWEEN_LINES:
                typer.echo(f"{label}: about {left}", err=True)
                last_line.time = now
            yield tile

    return with_lines
