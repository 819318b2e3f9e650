"""Small maps as bytes, intact, changed or damaged."""

import bz2
import gzip
import os
import struct
import tempfile
import warnings
from functools import cache, partial
from pathlib import Path

import mrcfile
import numpy as np

from cryores_lite.installation.diagnostics import SELF_TEST_VOXEL_SIZE, self_test_map

SHAPE = (36, 38, 40)
HEADER_FIELDS = {  # name: first byte and format
    **{name: (4 * n, "i") for n, name in enumerate(("nx", "ny", "nz", "mode", "nxstart", "nystart", "nzstart"))},
    **{name: (28 + 4 * n, "i") for n, name in enumerate(("mx", "my", "mz"))},
    **{name: (40 + 4 * n, "f") for n, name in enumerate(("cell_x", "cell_y", "cell_z", "alpha", "beta", "gamma"))},
    **{name: (64 + 4 * n, "i") for n, name in enumerate(("mapc", "mapr", "maps"))},
    **{name: (76 + 4 * n, "f") for n, name in enumerate(("dmin", "dmax", "dmean"))},
    **{name: (88 + 4 * n, "i") for n, name in enumerate(("ispg", "nsymbt"))},
    **{name: (196 + 4 * n, "f") for n, name in enumerate(("origin_x", "origin_y", "origin_z"))},
    "map": (208, "4s"),
    "stamp": (212, "4s"),
    "imod": (152, "4s"),
}


@cache
def density():
    """A lumpy ball in noise, in a box that is not a cube."""
    starts = [(n - m) // 2 for n, m in zip(self_test_map().shape, SHAPE, strict=True)]
    box = tuple(slice(start, start + n) for start, n in zip(starts, SHAPE, strict=True))
    return np.ascontiguousarray(self_test_map()[box])


def mrc(values=None, *, order="<", extended_header=b"", **fields):
    """An MRC file as bytes, of `values` or `density()`, with changed header fields and an extended header."""
    data = density() if values is None else values
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mrc"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # from mrcfile, about infinite values
            with mrcfile.new(path) as file:
                file.set_data(data.astype(data.dtype.newbyteorder(order)))
                file.voxel_size = SELF_TEST_VOXEL_SIZE
        raw = path.read_bytes()
    raw = raw[:220] + bytes(804) + extended_header + raw[1024:]  # without mrcfile's label, which contains the time
    return patched(raw, order, **({"nsymbt": len(extended_header)} | fields))


def patched(raw, order="<", **fields):
    """Change header fields of an MRC file by name."""
    raw = bytearray(raw)
    for name, value in fields.items():
        first_byte, format_ = HEADER_FIELDS[name]
        struct.pack_into(order + format_, raw, first_byte, value)
    return bytes(raw)


def file_maker(name, content):
    """A function that writes a file into a folder and returns its path; `content` is bytes or a function for them."""

    def make(folder):
        path = folder / os.fsdecode(name)
        path.write_bytes(content() if callable(content) else content)
        return path

    return make


def map_maker(name, *arguments, **fields):
    """A function that writes a map, with the arguments of `mrc`."""
    return file_maker(name, partial(mrc, *arguments, **fields))


def changed_map_maker(name, change):
    """A function that writes a map whose values are changed by the function `change`."""
    return file_maker(name, lambda: mrc(change(np.array(density())).astype(np.float32)))


def ball(radius=0.28):
    """A boolean ball whose radius is a share of the shortest edge."""
    squared_distance = sum((np.indices(SHAPE)[i] - n / 2) ** 2 for i, n in enumerate(SHAPE))
    return squared_distance < (radius * min(SHAPE)) ** 2


def bomb(pack, size):
    """A compressed map, followed by `size` zeros."""
    return pack(mrc() + bytes(size))


def with_inverted_byte(raw, position):
    """Invert one byte; its position is a share of the length."""
    raw = bytearray(raw)
    raw[int(position * (len(raw) - 1))] ^= 0xFF
    return bytes(raw)


GZ, BZ2 = partial(gzip.compress, compresslevel=1, mtime=0), partial(bz2.compress, compresslevel=1)
