"""Small maps as bytes, whole, changed and broken, and what is not a map at all."""

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

from cryores_lite.diagnostics import SELF_TEST_VOXEL_SIZE, self_test_map

SHAPE = (36, 38, 40)
PLACES = {  # of header words, by name: byte and format
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
    """A ball of lumps in noise, in a box that is no cube."""
    starts = [(n - m) // 2 for n, m in zip(self_test_map().shape, SHAPE, strict=True)]
    cut = self_test_map()[tuple(slice(a, a + n) for a, n in zip(starts, SHAPE, strict=True))]
    return np.ascontiguousarray(cut)


def mrc(values=None, *, order="<", extended=b"", **words):
    """An MRC file as bytes, of `values` or the usual map, with header words changed by name, and an extended header."""
    data = density() if values is None else values
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mrc"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # mrcfile's, of what is infinite
            with mrcfile.new(path) as file:
                file.set_data(data.astype(data.dtype.newbyteorder(order)))
                file.voxel_size = SELF_TEST_VOXEL_SIZE
        raw = path.read_bytes()
    raw = raw[:220] + bytes(804) + extended + raw[1024:]  # without mrcfile's label, which holds the time
    return patched(raw, order, **({"nsymbt": len(extended)} | words))


def patched(raw, order="<", **words):
    """The same file with header words changed by name."""
    raw = bytearray(raw)
    for name, value in words.items():
        place, kind = PLACES[name]
        struct.pack_into(order + kind, raw, place, value)
    return bytes(raw)


def saved(name, content):
    """A way to make a file of that name and content, which is bytes or makes them."""

    def make(folder):
        path = folder / os.fsdecode(name)
        path.write_bytes(content() if callable(content) else content)
        return path

    return make


def made(name, *arguments, **words):
    """A way to make a map, as `mrc` does."""
    return saved(name, partial(mrc, *arguments, **words))


def with_values(name, change):
    """A way to make a map whose values are changed by a function."""
    return saved(name, lambda: mrc(change(np.array(density())).astype(np.float32)))


def ball(radius=0.28):
    """True in a ball, whose radius is a share of the smallest edge."""
    away = sum((np.indices(SHAPE)[i] - n / 2) ** 2 for i, n in enumerate(SHAPE))
    return away < (radius * min(SHAPE)) ** 2


def bomb(pack, size):
    """A compressed map with `size` zeros behind it."""
    return pack(mrc() + bytes(size))


def flipped(raw, at):
    """The same bytes with one of them inverted, at a share of the length."""
    raw = bytearray(raw)
    raw[int(at * (len(raw) - 1))] ^= 0xFF
    return bytes(raw)


GZ, BZ2 = partial(gzip.compress, compresslevel=1, mtime=0), partial(bz2.compress, compresslevel=1)
