"""Everything that a user can put right, as one small tree.

CryoresError
├── InputError       a map, a voxel size or a setting that cannot be used (also a ValueError)
├── MapNotFound      no file of that name (also a FileNotFoundError)
├── OutputError      the answer cannot be written, or would overwrite a file (also an OSError)
├── ModelError       the model file is missing, damaged or breaks the contract (also a ValueError)
├── DeviceError      the device that was asked for cannot be used (also a RuntimeError)
└── NotEnoughMemory  the map will not fit into memory (also a MemoryError)
"""

import errno

SIGNS = (  # of memory or threads refused, in the words of those whose errors have no type for it
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


def lack_of_memory(what: str) -> NotEnoughMemory:
    """Say that memory ran out during the work."""
    return NotEnoughMemory(
        what,
        found="no memory left",
        expected="enough for a map of this size",
        try_="ask for more (Slurm: --mem, shell: ulimit -v), use fewer threads, or crop or bin the map",
    )


def is_lack_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is that the system gave no more memory or threads."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return True
        if any(sign in str(error) for sign in SIGNS):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False
