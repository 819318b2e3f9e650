"""Everything that a user can put right, as one small tree.

CryoresError
├── InputError       a map, a voxel size or a setting that cannot be used (also a ValueError)
├── MapNotFound      no file of that name (also a FileNotFoundError)
├── OutputError      the answer cannot be written, or would overwrite a file (also an OSError)
├── ModelError       the model file is missing, damaged or breaks the contract (also a ValueError)
├── DeviceError      the device that was asked for cannot be used (also a RuntimeError)
└── NotEnoughMemory  the map will not fit into memory (also a MemoryError)
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

OUT_OF_MEMORY_MESSAGES = (  # of memory or threads refused, in the words of those whose errors have no type for it
    *("bad allocation", "bad_alloc", "Failed to allocate memory", "Cannot allocate memory"),
    *("can't start new thread", "failed to map segment", "cannot allocate memory in static TLS"),
)


class CryoresError(Exception):
    """Anything the user can put right. Bugs keep Python's own exceptions."""

    def __init__(self, what: str, *, found: object, expected: object, try_: str) -> None:
        super().__init__(f"{what}: found {found}, expected {expected}; {try_}")


class InputError(CryoresError, ValueError):
    """The map, its voxel size or a setting cannot be used."""


class MapNotFound(CryoresError, FileNotFoundError):
    """There is no file of that name."""


class OutputError(CryoresError, OSError):
    """The answer cannot be written."""


class ModelError(CryoresError, ValueError):
    """The model file is missing, damaged or breaks the contract."""


class DeviceError(CryoresError, RuntimeError):
    """The device that was asked for cannot be used."""


class NotEnoughMemory(CryoresError, MemoryError):
    """The map will not fit into memory."""


def out_of_memory(what: str) -> NotEnoughMemory:
    """Say that memory ran out during the work."""
    return NotEnoughMemory(
        what,
        found="no memory left",
        expected="enough for a map of this size",
        try_="ask for more (Slurm: --mem, shell: ulimit -v), use fewer threads, or crop or bin the map",
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or what caused it, is that the system gave no more memory or threads."""
    return any(
        isinstance(cause, MemoryError)
        or getattr(cause, "errno", None) == errno.ENOMEM
        or any(sign in str(cause) for sign in OUT_OF_MEMORY_MESSAGES)
        for cause in _causes(error)
    )


def interrupt_behind(error: BaseException) -> BaseException | None:
    """Find the interrupt or exit that caused an error: libraries that are being loaded wrap it in one of theirs."""
    return next((cause for cause in _causes(error) if isinstance(cause, (KeyboardInterrupt, SystemExit))), None)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    here: BaseException | None = error
    while here is not None and id(here) not in seen:
        yield here
        seen.add(id(here))
        here = here.__cause__ or here.__context__
