"""Process set-up, printed results, exit codes and progress bar of the commands."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from cryores_lite import __version__
from cryores_lite.errors import CryoresError, OutputError, interrupt_cause, is_out_of_memory, out_of_memory
from cryores_lite.outputs.result import Job, MapResult

if TYPE_CHECKING:
    from cryores_lite.types import Progress

INTERRUPTED = 130  # exit code


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


@dataclass(frozen=True)
class Reporting:
    """What is printed: JSON lines instead of summaries (`as_json`), or only errors and no progress bar (`quiet`)."""

    as_json: bool = False
    quiet: bool = False

    def progress(self, job: Job, number: int = 1, count: int = 1) -> Progress:
        """Return a wrapper for the tiles of job `number` of `count`, which draws a progress bar on a terminal."""
        if self.quiet or not sys.stderr.isatty():
            return iter
        return progress_bar(f"{number}/{count} {job.map_path.name}" if count > 1 else job.map_path.name)


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


def progress_bar(label: str) -> Progress:
    """Return a wrapper for the tiles of a map, which draws a progress bar on stderr."""

    def with_bar(tiles: Sequence[Any]) -> Iterator[Any]:
        with typer.progressbar(tiles, label=label, file=sys.stderr) as tiles_with_bar:
            yield from tiles_with_bar

    return with_bar
