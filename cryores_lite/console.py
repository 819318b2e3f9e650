"""The process of a command: its set-up, what it prints, errors as exit codes, the progress bar."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from cryores_lite.errors import CryoresError, OutputError, interrupt_behind, is_out_of_memory, out_of_memory
from cryores_lite.job import Job

if TYPE_CHECKING:
    from cryores_lite.job import Job
    from cryores_lite.outputs.outcome import Outcome
    from cryores_lite.types import Progress

INTERRUPTED = 130  # exit code


def configure_process() -> None:
    """Prepare the process for work, before numpy is imported."""
    for library in ("OPENBLAS", "MKL"):  # the steps have threads of their own
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    for name, code in (("SIGTERM", 143), ("SIGHUP", 129)):  # an exit cleans up
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) == signal.SIG_DFL:  # not what nohup has switched off
            signal.signal(number, partial(_leave, code))
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the caller: its number would go to the next file that is opened
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, errors="backslashreplace"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may know no Å, a file name may be no text


def _leave(code: int, *_: object) -> None:
    sys.exit(code)


@contextlib.contextmanager
def errors_to_exit_code() -> Iterator[None]:
    """End the command with one line where a library cannot be loaded, memory or the place for words runs out, or where
    it is interrupted."""
    from cryores_lite.resources import require_address_space

    try:
        require_address_space()
        yield
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        end = interrupt_behind(error)
        if end is not None:
            sys.exit(end.code if isinstance(end, SystemExit) else INTERRUPTED)
        told = as_user_error(error)
        if told is None:
            raise
        typer.echo(f"error: {' '.join(str(told).split())}", err=True)
        sys.exit(1)


def as_user_error(error: Exception) -> CryoresError | None:
    """Say what a user can put right of an error that is none of ours, or None of a bug."""
    if isinstance(error, CryoresError):
        return error
    if is_out_of_memory(error):
        return out_of_memory("cryores-lite")
    if isinstance(error, ImportError):
        found, expected = str(error), "the packages that pip installs with cryores-lite"
        return CryoresError(
            "cryores-lite cannot begin", found=found, expected=expected, try_="see cryores-lite --check, and reinstall"
        )
    if isinstance(error, OSError):
        what = str(error.filename or "what the command prints")
        return OutputError(
            what, found=error.strerror or error, expected="to use it", try_="check where it is, and the space there"
        )
    return None


def print_outcome(outcome: Outcome, as_json: bool = False, quiet: bool = False) -> None:
    """Print an outcome: errors and warnings to stderr, the answer to stdout."""
    from cryores_lite.outputs.outcome import row, summary

    if outcome.error is not None:
        typer.echo(f"error: {outcome.error}", err=True)
    for warning in () if quiet else outcome.warnings:
        typer.echo(f"warning: {outcome.map_path.name}: {warning}", err=True)
    if as_json:
        typer.echo(json.dumps(row(outcome), allow_nan=False))
    elif outcome.result is not None and not quiet:
        typer.echo(summary(outcome))


@contextlib.contextmanager
def errors_to_exit(code: int = 1) -> Iterator[None]:
    """Make what the user can put right one line and an exit code."""
    try:
        yield
    except CryoresError as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(code) from None


def bar(count: int, number: int, job: Job) -> Progress:
    """A bar for the tiles of one of `count` maps."""
    label = f"{number}/{count} {job.map_path.name}" if count > 1 else job.map_path.name

    def shown(tiles: Sequence[Any]) -> Iterator[Any]:
        with typer.progressbar(tiles, label=label, file=sys.stderr) as bar:
            yield from bar

    return shown
