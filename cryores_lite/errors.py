"""Everything that a user can put right, as one small tree.

CryoresError
├── InputError       a map, a voxel size or a setting that cannot be used (also a ValueError)
├── MapNotFound      no file of that name (also a FileNotFoundError)
├── OutputError      the answer cannot be written, or would overwrite a file (also an OSError)
├── ModelError       the model file is missing, damaged or breaks the contract (also a ValueError)
├── DeviceError      the device that was asked for cannot be used (also a RuntimeError)
└── NotEnoughMemory  the map will not fit into memory (also a MemoryError)
"""


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
