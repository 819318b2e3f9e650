"""Inputs that went wrong somewhere, each with the way to make it, what must become of it and what must be said."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from tests.hostile.files import BZ2, GZ, ball, bomb, density, flipped, made, mrc, saved, with_values

REFUSED, WARNED, DONE = "refused", "done, warned", "done"
HEADER, EXTENDED = 1024, b"\0" * 800
HUGE = 2**31 - 1


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes
    ----------
    group, name : what it is
    make : puts it into a folder and returns its path
    outcome : REFUSED, WARNED or DONE
    says : what the one line of the error, or one of the warnings, must hold
    same : the answer must be that of the usual map
    """

    group: str
    name: str
    make: Callable[[Path], Path]
    outcome: str
    says: str = ""
    same: bool = False


def _cut() -> list[Case]:
    whole, extended = mrc(), mrc(extended=EXTENDED)
    places = {
        "before anything": (whole, 0, "0 bytes"),
        "in the header": (whole, 500, "500 bytes"),
        "one byte before the end of the header": (whole, HEADER - 1, "1023 bytes"),
        "after the header": (whole, HEADER, "truncated"),
        "in the extended header": (extended, HEADER + 300, "truncated"),
        "after the extended header": (extended, HEADER + 800, "truncated"),
        "in the data": (whole, len(whole) // 2, "truncated"),
        "one byte before the end": (whole, len(whole) - 1, "truncated"),
    }
    group, found = "cut short", []
    for where, (raw, at, says) in places.items():
        found.append(Case(group, f"plain, {where}", saved("a.mrc", raw[:at]), REFUSED, says))
        found.append(Case(group, f"gzip of a map cut {where}", saved("a.mrc.gz", GZ(raw[:at])), REFUSED, says))
    for name, pack, suffix in (("gzip", GZ, "gz"), ("bzip2", BZ2, "bz2")):
        for share in (0.01, 0.5, 0.99):
            packed = pack(whole)
            cut = packed[: int(share * len(packed))]
            found.append(Case(group, f"{name} stream after {share:.0%}", saved(f"a.mrc.{suffix}", cut), REFUSED))
    return found


def _lies() -> list[Case]:
    large, group = {"nx": HUGE, "ny": HUGE, "nz": HUGE}, "sizes that lie"

    def sparse(folder: Path) -> Path:
        path = saved("a.mrc", mrc(nx=12000, ny=12000, nz=12000))(folder)
        os.truncate(path, HEADER + 4 * 12000**3)
        return path

    return [
        Case(group, "2147483647³ voxels", made("a.mrc", **large), REFUSED, "truncated"),
        Case(group, "2147483647³ voxels, gzip", saved("a.mrc.gz", GZ(mrc(**large))), REFUSED, "fit into memory"),
        Case(group, "2147483647³ voxels, bzip2", saved("a.mrc.bz2", BZ2(mrc(**large))), REFUSED, "fit into memory"),
        Case(group, "12000³ voxels, all there as a sparse file", sparse, REFUSED, "fit into memory"),
        Case(group, "one section more", made("a.mrc", nz=37), REFUSED, "truncated"),
        Case(group, "one section less", made("a.mrc", nz=35, mz=35, cell_z=52.5), WARNED, "longer than its header"),
        Case(group, "no columns", made("a.mrc", nx=0), REFUSED, "1 or more on each axis"),
        Case(group, "-38 rows", made("a.mrc", ny=-38), REFUSED, "1 or more on each axis"),
        Case(group, "NSYMBT 2147483647", made("a.mrc", nsymbt=HUGE), REFUSED, "truncated"),
        Case(group, "NSYMBT -1", made("a.mrc", nsymbt=-1), REFUSED, "an unknown header"),
        Case(group, "NSYMBT too large", made("a.mrc", nsymbt=160), REFUSED, "truncated"),
        Case(group, "NSYMBT 0 before an extended header", made("a.mrc", extended=EXTENDED, nsymbt=0), WARNED, "NSYMBT"),
        Case(group, "an extended header", made("a.mrc", extended=EXTENDED), DONE, same=True),
        Case(group, "7 bytes too many", saved("a.mrc", mrc() + b"surplus"), WARNED, "7 bytes longer", same=True),
        Case(group, "7 bytes too many, gzip", saved("a.mrc.gz", GZ(mrc() + b"surplus")), WARNED, "7 bytes", same=True),
        Case(group, "0.1 GB of zeros behind, gzip", saved("a.mrc.gz", lambda: bomb(GZ, 10**8)), REFUSED, "unpacked"),
        Case(group, "0.1 GB of zeros behind, bzip2", saved("a.mrc.bz2", lambda: bomb(BZ2, 10**8)), REFUSED, "unpacked"),
    ]


def _streams() -> list[Case]:
    group, found = "compressed streams", []
    for name, pack, suffix in (("gzip", GZ, "gz"), ("bzip2", BZ2, "bz2")):
        whole = pack(mrc())
        file = f"a.mrc.{suffix}"
        found += [
            Case(group, f"{name}", saved(file, whole), DONE, same=True),
            Case(group, f"{name} by content only", saved("a.mrc", whole), DONE, same=True),
            Case(group, f"plain, named .{suffix}", saved(file, mrc()), DONE, same=True),
            Case(group, f"{name}, a byte changed in the middle", saved(file, flipped(whole, 0.5)), REFUSED),
            Case(group, f"{name}, its checksum changed", saved(file, flipped(whole, 1 - 6 / len(whole))), REFUSED),
            Case(group, f"{name} of nothing", saved(file, pack(b"")), REFUSED, "0 bytes"),
            Case(group, f"{name} within {name}", saved(file, pack(whole)), REFUSED, f"{name} within"),
            Case(group, f"{name}, then text", saved(file, whole + b"text" * 9), DONE if suffix == "bz2" else REFUSED),
        ]
    return found


def _values() -> list[Case]:
    def some(value: float, share: float) -> Callable[[np.ndarray], np.ndarray]:
        def change(values: np.ndarray) -> np.ndarray:
            flat = values.ravel()
            flat[:: round(1 / share)] = value
            return values

        return change

    def hot(values: np.ndarray) -> np.ndarray:
        values[0, 0, 0] = 1e6
        return values

    def one(values: np.ndarray) -> np.ndarray:
        values[:] = 0
        values[18, 18, 18] = 1
        return values

    rng = np.random.default_rng
    group = "values"
    table = (
        ("a few NaN", some(np.nan, 0.001), WARNED, "replaced by the median"),
        ("a few infinities", some(-np.inf, 0.001), WARNED, "replaced by the median"),
        ("2 % NaN", some(np.nan, 0.02), REFUSED, "not finite"),
        ("all infinite", lambda v: v * 0 + np.inf, REFUSED, "not finite"),
        ("all zero", lambda v: v * 0, REFUSED, "0 everywhere"),
        ("all 3", lambda v: v * 0 + 3, REFUSED, "3 everywhere"),
        ("one voxel in nothing", one, REFUSED, "a mask"),
        ("Gaussian noise", lambda v: rng(0).normal(size=v.shape), WARNED, "looks like noise"),
        ("uniform noise", lambda v: rng(0).random(v.shape), WARNED, "looks like noise"),
        ("smooth noise", lambda v: ndimage.gaussian_filter(rng(1).normal(size=v.shape), 1.5), WARNED, "like noise"),
        ("inverted contrast", lambda v: -v, WARNED, "inverted"),
        ("one hot voxel", hot, WARNED, "Very few voxels"),
        ("times 1e20", lambda v: v * 1e20, REFUSED, "a range of"),
        ("times 1e-20", lambda v: v * 1e-20, REFUSED, "a range of"),
    )
    return [Case(group, name, with_values("a.mrc", change), outcome, says) for name, change, outcome, says in table]


def _kinds() -> list[Case]:
    group = "modes and stacks"
    stack = {"ispg": 0, "mz": 1, "cell_z": 1.5}
    bytes_ = np.clip(200 * density() / density().max() + 40, 0, 255).astype(np.uint8).view(np.int8)
    return [
        *(Case(group, f"mode {n}", made("a.mrc", mode=n), REFUSED, "mode: found") for n in (3, 4, 5, 7, 101, -1, HUGE)),
        Case(group, "mode 0, unsigned bytes", made("a.mrc", bytes_), WARNED, "look unsigned"),
        Case(group, "mode 1", made("a.mrc", (1000 * density()).astype(np.int16)), DONE),
        Case(group, "mode 12", made("a.mrc", density().astype(np.float16)), DONE),
        Case(group, "one image", made("a.mrc", density()[:1]), REFUSED, "three-dimensional"),
        Case(group, "a stack of images", made("a.mrc", **stack), REFUSED, "a stack of 36 images"),
        Case(group, "a stack by name", made("a.mrcs"), REFUSED, "a stack of images"),
        Case(group, "a stack of volumes", made("a.mrc", ispg=401, mz=12), REFUSED, "a stack of volumes"),
        Case(
            group, "a volume with a stack's header", made("a.mrc", ispg=0, mz=1), WARNED, "describes a stack", same=True
        ),
    ]


def _lengths() -> list[Case]:
    nan, inf = float("nan"), float("inf")
    group, out = "voxel size, cell and axes", "0.3 to 10 Å"

    def sized(x: float, y: float, z: float) -> Callable[[Path], Path]:
        return made("a.mrc", cell_x=40 * x, cell_y=38 * y, cell_z=36 * z)

    return [
        *(Case(group, f"{v:g} Å", sized(v, v, v), REFUSED, out) for v in (0.0, -1.5, 0.015, 150.0, nan, inf)),
        Case(group, "1 Å exactly", sized(1, 1, 1), WARNED, "exactly 1 Å"),
        Case(group, "1.5, 1.5 and 1.6 Å", sized(1.5, 1.5, 1.6), REFUSED, "equal axes"),
        Case(group, "MX 0", made("a.mrc", mx=0), REFUSED, out),
        Case(group, "MX -40", made("a.mrc", mx=-40), REFUSED, out),
        Case(group, "a cell angle of 120°", made("a.mrc", gamma=120.0), REFUSED, "resample it on an orthogonal grid"),
        Case(group, "a cell angle of NaN", made("a.mrc", beta=nan), REFUSED, "cell angles"),
        Case(group, "cell angles of 0", made("a.mrc", alpha=0.0, beta=0.0, gamma=0.0), DONE, same=True),
        Case(group, "ORIGIN NaN", made("a.mrc", origin_x=nan), DONE, same=True),
        Case(group, "statistics NaN", made("a.mrc", dmin=nan, dmax=nan, dmean=nan), DONE, same=True),
        Case(
            group,
            "axes in the order Y, Z, X",
            made("a.mrc", mapc=2, mapr=3, maps=1, mx=36, my=40, mz=38, cell_x=54.0, cell_y=60.0, cell_z=57.0),
            DONE,
            same=True,
        ),
        Case(group, "axes X, X, Z", made("a.mrc", mapr=1), REFUSED, "axis order"),
        Case(group, "axes 0, 0, 0", made("a.mrc", mapc=0, mapr=0, maps=0), WARNED, "has no axis order", same=True),
    ]


def _stamps() -> list[Case]:
    group = "byte order and magic words"
    return [
        Case(group, "big-endian", made("a.mrc", order=">"), DONE, same=True),
        Case(group, "little-endian, stamped big-endian", made("a.mrc", stamp=b"\x11\x11\0\0"), DONE, same=True),
        Case(group, "big-endian, stamped little", made("a.mrc", order=">", stamp=b"DD\0\0"), DONE, same=True),
        Case(group, "no stamp", made("a.mrc", stamp=bytes(4)), DONE, same=True),
        Case(group, "a nonsense stamp", made("a.mrc", stamp=b"\xff" * 4), DONE, same=True),
        Case(group, 'no "MAP "', made("a.mrc", map=bytes(4)), DONE, same=True),
    ]


def _no_maps() -> list[Case]:
    text = "ATOM      1  N   MET A   1      27.340  24.430   2.614\n"
    contents = {
        "a long text": (text.encode() * 100, "a text"),
        "a short text": (text.encode(), "a text"),
        "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(3000), "HDF5"),
        "NumPy": (b"\x93NUMPY\x01\0v\0" + bytes(3000), "NumPy"),
        "zip": (b"PK\x03\x04" + bytes(3000), "zip"),
        "xz": (b"\xfd7zXZ\0" + bytes(3000), "xz"),
        "zstd": (b"\x28\xb5\x2f\xfd" + bytes(3000), "zstd"),
        "PNG": (b"\x89PNG\r\n\x1a\n" + bytes(3000), "PNG"),
        "a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
        "nothing": (b"", "0 bytes"),
        "zeros": (bytes(5000), "an unknown header"),
        "random bytes": (np.random.default_rng(0).bytes(5000), "an unknown header"),
    }
    group = "what is no map"

    def link(target: str) -> Callable[[Path], Path]:
        def make(folder: Path) -> Path:
            (folder / "a.mrc").symlink_to(target)
            return folder / "a.mrc"

        return make

    def folder_(folder: Path) -> Path:
        (folder / "a.mrc").mkdir()
        return folder / "a.mrc"

    def pipe(folder: Path) -> Path:
        os.mkfifo(folder / "a.mrc")
        return folder / "a.mrc"

    return [
        *(Case(group, name, saved("a.mrc", raw), REFUSED, says) for name, (raw, says) in contents.items()),
        Case(group, "a folder", folder_, REFUSED, "a folder"),
        Case(group, "a pipe", pipe, REFUSED, "a pipe or device"),
        Case(group, "a device", link("/dev/zero"), REFUSED, "a pipe or device"),
        Case(group, "a link to nothing", link("nothing"), REFUSED, "no such file"),
        Case(group, "a link to itself", link("a.mrc"), REFUSED),
        Case(group, "no file", lambda folder: folder / "a.mrc", REFUSED, "no such file"),
    ]


def locked(folder: Path) -> Path:
    """A map that may not be read; root may read it all the same."""
    path = saved("a.mrc", mrc())(folder)
    path.chmod(0)
    return path


def _mistakes() -> list[Case]:
    group = "given by mistake"
    solid, soft = ball().astype(np.float32), ndimage.gaussian_filter(ball().astype(np.float32), 1.0)
    soft = np.clip(soft, 0.02, 0.98) - 0.02
    local = np.where(ball(), 4 + ndimage.gaussian_filter(np.random.default_rng(0).normal(size=solid.shape), 2) * 9, 0)
    apart = density() - np.roll(density(), 2, 0)
    return [
        Case(group, "a mask", made("a.mrc", solid), REFUSED, "a mask"),
        Case(group, "a mask with a soft edge", made("a.mrc", soft), REFUSED, "a mask"),
        Case(group, "a mask of bytes", made("a.mrc", solid.astype(np.int8)), REFUSED, "a mask"),
        Case(group, "a local-resolution map", made("a.mrc", local.astype(np.float32)), WARNED, "local-resolution map"),
        Case(group, "a difference map", made("a.mrc", apart), WARNED, "a difference of two maps"),
        Case(
            group, "a half map, by RELION's name", made("run_half1_class001_unfil.mrc"), WARNED, "half map", same=True
        ),
        Case(group, "a half map, by EMDB's name", made("emd_1_half_map_2.map"), WARNED, "half map", same=True),
        Case(group, "behalf_of_1.mrc", made("behalf_of_1.mrc"), DONE, same=True),
    ]


def _names() -> list[Case]:
    group = "names"
    return [
        Case(group, "a blank, a quote and a newline", made("a 'b'\n\"c\".mrc"), DONE, same=True),
        Case(group, "no UTF-8", made(b"\xff\xfe.mrc"), DONE, same=True),
        Case(group, "no suffix", made("map"), DONE, same=True),
        Case(group, "251 letters: too long for the answers", made("a" * 247 + ".mrc"), REFUSED, "File name too long"),
    ]


CASES = [
    case
    for cases in (_cut, _lies, _streams, _values, _kinds, _lengths, _stamps, _no_maps, _mistakes, _names)
    for case in cases()
]
UNREADABLE = Case("what is no map", "a map that may not be read", locked, REFUSED, "Permission denied")
