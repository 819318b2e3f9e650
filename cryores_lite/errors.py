"""The errors that a user can put right, as one tree.

CryoresError
├── InputError       a map, a voxel size or a setting is not usable (also a ValueError)
├── MapNotFound      a map file does not exist (also a FileNotFoundError)
├── OutputError      an output file exists or cannot be written (also an OSError)
├── ModelError       the model file is missing, damaged or of another format (also a ValueError)
├── DeviceError      the requested device is not usable (also a RuntimeError)
└── NotEnoughMemory  a map does not fit into memory (also a MemoryError)

Every message is one line: what was found, what was expected, what to try. Bugs keep Python's own exceptions.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

OUT_OF_MEMORY_MESSAGES = (  # of libraries and the system, where refused memory or threads have no exception type
    *("bad allocation", "bad_alloc", "Failed to allocate memory", "Cannot allocate memory"),
    *("can't start new thread", "failed to map segment", "cannot allocate memory in static TLS"),
)


class CryoresError(Exception):
    """An error that the user can put right.

    Parameters
    ----------
    subject : the file, property or option concerned
    found, expected : what was found there, and what is usable
    try_ : what the user can do, in the imperative
    """

    def __init__(self, subject: str, *, found: object, expected: object, try_: str) -> None:
        super().__init__(f"{subject}: found {found}, expected {expected}; {try_}")


class InputError(CryoresError, ValueError):
    """A map, a voxel size or a setting is not usable."""


class MapNotFound(CryoresError, FileNotFoundError):
    """A map file does not exist."""


class OutputError(CryoresError, OSError):
    """An output file exists or cannot be written."""


class ModelError(CryoresError, ValueError):
    """The model file is missing, damaged or of another format."""


class DeviceError(CryoresError, RuntimeError):
    """The requested device is not usable."""


class NotEnoughMemory(CryoresError, MemoryError):
    """A map does not fit into memory."""


def out_of_memory(subject: str) -> NotEnoughMemory:
    """Return the error for a map whose processing ran out of memory."""
    return NotEnoughMemory(
        subject,
        found="no memory left",
        expected="enough for a map of this size",
        try_="request more memory (Slurm: --mem, shell: ulimit -v), use fewer threads, or crop or bin the map",
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, or one that it was raised from, means that the system refused memory or threads."""
    return any(
        isinstance(cause, MemoryError)
        or getattr(cause, "errno", None) == errno.ENOMEM
        or any(message in str(cause) for message in OUT_OF_MEMORY_MESSAGES)
        for cause in _causes(error)
    )


def interrupt_cause(error: BaseException) -> BaseException | None:
    """Return the interrupt or exit that caused an error, or None: libraries wrap interrupts during import."""
    return next((cause for cause in _causes(error) if isinstance(cause, (KeyboardInterrupt, SystemExit))), None)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and the chain of errors that it was raised from, which may be circular."""
    visited: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in visited:
        yield cause
        visited.add(id(cause))
        cause = cause.__cause__ or cause.__context__
