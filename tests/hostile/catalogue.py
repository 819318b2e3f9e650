"""Hostile inputs, each with the expected outcome and message of the command."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from tests.hostile.files import (
    BZ2,
    GZ,
    ball,
    bomb,
    changed_map_maker,
    density,
    file_maker,
    map_maker,
    mrc,
    with_inverted_byte,
)

REFUSED, WARNED, DONE, ANY = "refused", "done, warned", "done", "any"
HEADER_SIZE, EXTENDED_HEADER = 1024, bytes(800)
MAX_INT32 = 2**31 - 1


@dataclass(frozen=True)
class Case:
    """One hostile input.

    Attributes
    ----------
    group, name : description
    make : a function that writes the input into a folder and returns its path
    outcome : REFUSED, WARNED, DONE, or ANY of them
    message : a part of the error or of the warnings
    same : whether the result must equal that of the unchanged map
    within : largest relative error of the median against the unchanged map, for a result without a warning
    """

    group: str
    name: str
    make: Callable[[Path], Path]
    outcome: str
    message: str = ""
    same: bool = False
    within: float | None = None


def _truncated() -> list[Case]:
    intact, extended = mrc(), mrc(extended_header=EXTENDED_HEADER)
    lengths = {
        "at its first byte": (intact, 0, "0 bytes"),
        "in the header": (intact, 500, "500 bytes"),
        "one byte before the end of the header": (intact, HEADER_SIZE - 1, "1023 bytes"),
        "after the header": (intact, HEADER_SIZE, "truncated"),
        "in the extended header": (extended, HEADER_SIZE + 300, "truncated"),
        "after the extended header": (extended, HEADER_SIZE + 800, "truncated"),
        "in the data": (intact, len(intact) // 2, "truncated"),
        "one byte before the end": (intact, len(intact) - 1, "truncated"),
    }
    group, cases = "truncated files", []
    for position, (raw, length, message) in lengths.items():
        cut, packed = raw[:length], GZ(raw[:length])
        cases.append(Case(group, f"plain, cut {position}", file_maker("a.mrc", cut), REFUSED, message))
        cases.append(Case(group, f"gzip of a map cut {position}", file_maker("a.mrc.gz", packed), REFUSED, message))
    for name, pack, suffix in (("gzip", GZ, "gz"), ("bzip2", BZ2, "bz2")):
        for share in (0.01, 0.5, 0.99):
            packed = pack(intact)
            cut = packed[: int(share * len(packed))]
            make = file_maker(f"a.mrc.{suffix}", cut)
            cases.append(Case(group, f"{name} stream cut after {share:.0%}", make, REFUSED))
    return cases


def _wrong_sizes() -> list[Case]:
    large = dict.fromkeys(("nx", "ny", "nz"), MAX_INT32)
    group = "wrong sizes in the header"

    def sparse(folder: Path) -> Path:
        path = file_maker("a.mrc", mrc(nx=12000, ny=12000, nz=12000))(folder)
        os.truncate(path, HEADER_SIZE + 4 * 12000**3)
        return path

    return [
        Case(group, "2147483647³ voxels", map_maker("a.mrc", **large), REFUSED, "truncated"),
        Case(group, "2147483647³ voxels, gzip", file_maker("a.mrc.gz", GZ(mrc(**large))), REFUSED, "fit into memory"),
        Case(
            group, "2147483647³ voxels, bzip2", file_maker("a.mrc.bz2", BZ2(mrc(**large))), REFUSED, "fit into memory"
        ),
        Case(group, "12000³ voxels in a sparse file of full size", sparse, REFUSED, "fit into memory"),
        Case(group, "one section more", map_maker("a.mrc", nz=37), REFUSED, "truncated"),
        Case(
            group, "one section less", map_maker("a.mrc", nz=35, mz=35, cell_z=52.5), WARNED, "longer than its header"
        ),
        Case(group, "0 columns", map_maker("a.mrc", nx=0), REFUSED, "1 or more on each axis"),
        Case(group, "-38 rows", map_maker("a.mrc", ny=-38), REFUSED, "1 or more on each axis"),
        Case(group, "NSYMBT 2147483647", map_maker("a.mrc", nsymbt=MAX_INT32), WARNED, "NSYMBT"),
        Case(group, "NSYMBT -1", map_maker("a.mrc", nsymbt=-1), REFUSED, "an unknown header"),
        Case(group, "NSYMBT too large", map_maker("a.mrc", nsymbt=160), WARNED, "NSYMBT"),
        Case(
            group,
            "NSYMBT 0 before an extended header",
            map_maker("a.mrc", extended_header=EXTENDED_HEADER, nsymbt=0),
            WARNED,
            "NSYMBT",
        ),
        Case(group, "an extended header", map_maker("a.mrc", extended_header=EXTENDED_HEADER), DONE, same=True),
        Case(group, "7 bytes too many", file_maker("a.mrc", mrc() + b"surplus"), WARNED, "7 bytes longer", same=True),
        Case(
            group,
            "7 bytes too many, gzip",
            file_maker("a.mrc.gz", GZ(mrc() + b"surplus")),
            WARNED,
            "7 bytes",
            same=True,
        ),
        Case(
            group,
            "0.1 GB of zeros after the map, gzip",
            file_maker("a.mrc.gz", lambda: bomb(GZ, 10**8)),
            REFUSED,
            "unpacked",
        ),
        Case(
            group,
            "0.1 GB of zeros after the map, bzip2",
            file_maker("a.mrc.bz2", lambda: bomb(BZ2, 10**8)),
            REFUSED,
            "unpacked",
        ),
    ]


def _streams() -> list[Case]:
    group, cases = "compressed streams", []
    for name, pack, suffix in (("gzip", GZ, "gz"), ("bzip2", BZ2, "bz2")):
        packed = pack(mrc())
        file = f"a.mrc.{suffix}"
        cases += [
            Case(group, f"{name}", file_maker(file, packed), DONE, same=True),
            Case(group, f"{name} by content only", file_maker("a.mrc", packed), DONE, same=True),
            Case(group, f"plain, named .{suffix}", file_maker(file, mrc()), DONE, same=True),
            Case(
                group,
                f"{name}, a byte changed in the middle",
                file_maker(file, with_inverted_byte(packed, 0.5)),
                REFUSED,
            ),
            Case(
                group,
                f"{name}, its checksum changed",
                file_maker(file, with_inverted_byte(packed, 1 - 6 / len(packed))),
                REFUSED,
            ),
            Case(group, f"{name} of an empty file", file_maker(file, pack(b"")), REFUSED, "0 bytes"),
            Case(group, f"{name} within {name}", file_maker(file, pack(packed)), REFUSED, f"{name} within"),
            Case(
                group,
                f"{name}, then text",
                file_maker(file, packed + b"text" * 9),
                DONE if suffix == "bz2" else REFUSED,
            ),
        ]
    return cases


def _values() -> list[Case]:
    def with_share_of(value: float, share: float) -> Callable[[np.ndarray], np.ndarray]:
        def change(values: np.ndarray) -> np.ndarray:
            flat = values.ravel()
            flat[:: round(1 / share)] = value
            return values

        return change

    def hot_voxel(values: np.ndarray) -> np.ndarray:
        values[0, 0, 0] = 1e6
        return values

    def single_voxel(values: np.ndarray) -> np.ndarray:
        values[:] = 0
        values[18, 18, 18] = 1
        return values

    def outermost(value: float) -> Callable[[np.ndarray], np.ndarray]:
        return lambda v: np.pad(v[1:-1, 1:-1, 1:-1], 1, constant_values=value)

    def sections(value: float) -> Callable[[np.ndarray], np.ndarray]:
        def change(values: np.ndarray) -> np.ndarray:
            values[::5] = value
            return values

        return change

    def gaussian_atoms(values: np.ndarray) -> np.ndarray:
        atoms = (rng(3).random(values.shape) < 0.02) & ball()
        return ndimage.gaussian_filter(atoms.astype(np.float32), 1.2)

    rng = np.random.default_rng
    group = "values"
    table = (
        ("a few NaN", with_share_of(np.nan, 0.001), WARNED, "replaced by the median"),
        ("a few infinities", with_share_of(-np.inf, 0.001), WARNED, "replaced by the median"),
        ("2 % NaN", with_share_of(np.nan, 0.02), REFUSED, "not finite"),
        ("all infinite", lambda v: v * 0 + np.inf, REFUSED, "not finite"),
        ("all zero", lambda v: v * 0, REFUSED, "0 everywhere"),
        ("all 3", lambda v: v * 0 + 3, REFUSED, "3 everywhere"),
        ("one voxel in an empty map", single_voxel, REFUSED, "a mask"),
        ("Gaussian noise", lambda v: rng(0).normal(size=v.shape), WARNED, "looks like noise"),
        ("uniform noise", lambda v: rng(0).random(v.shape), WARNED, "looks like noise"),
        ("smooth noise", lambda v: ndimage.gaussian_filter(rng(1).normal(size=v.shape), 1.5), WARNED, "like noise"),
        ("inverted contrast", lambda v: -v, WARNED, "inverted"),
        ("one hot voxel", hot_voxel, WARNED, "Very few voxels"),
        ("times 1e20", lambda v: v * 1e20, REFUSED, "a range of"),
        ("times 1e-20", lambda v: v * 1e-20, REFUSED, "a range of"),
        ("NaN outside a sphere", lambda v: np.where(ball(0.48), v, np.nan), WARNED, "were filled with"),
        ("infinite outside a sphere", lambda v: np.where(ball(0.48), v, np.inf), WARNED, "were filled with"),
        ("NaN in the outermost layer", outermost(np.nan), WARNED, "were filled with"),
        ("NaN in a ball in the molecule", lambda v: np.where(ball(0.2), np.nan, v), REFUSED, "not finite"),
        ("NaN in every fifth section", sections(np.nan), REFUSED, "not finite"),
        ("40 % NaN, scattered", lambda v: np.where(rng(2).random(v.shape) < 0.4, np.nan, v), REFUSED, "not finite"),
        ("a map of Gaussian atoms", gaussian_atoms, WARNED, "no noise to judge by"),
    )
    return [
        Case(group, name, changed_map_maker("a.mrc", change), outcome, message)
        for name, change, outcome, message in table
    ]


def _edited() -> list[Case]:
    """Values that were edited: the median must be right, or a warning must name what is wrong."""
    group, noise = "edited values", float(density()[:4].std())

    def sphere(level: float) -> Callable[[np.ndarray], np.ndarray]:
        return lambda v: np.where(ball(0.48), v + level * noise, 0)

    def bits(values: np.ndarray) -> np.ndarray:
        low, high = values.min(), values.max()
        return np.round((values - low) / (high - low) * 255)

    table = (
        *(
            (f"solvent at {level:+g} standard deviations in a sphere", sphere(level), 0.1)
            for level in (-0.5, 0, 0.5, 1)
        ),
        ("solvent at +1 standard deviation in a cube", lambda v: np.pad(v[4:-4, 4:-4, 4:-4] + noise, 4), 0.1),
        ("negative values set to 0", lambda v: np.maximum(v, 0), 0.1),
        ("stored from 0", lambda v: v - v.min(), 0.05),
        ("cut at the top", lambda v: np.minimum(v, np.quantile(v, 0.999)), 0.1),
        ("in 256 steps", bits, 0.1),
        ("an offset of 1000 standard deviations", lambda v: v + 1000 * noise, 0.05),
        ("times 1e6", lambda v: v * 1e6, 0.01),
    )
    return [Case(group, name, changed_map_maker("a.mrc", change), ANY, within=within) for name, change, within in table]


def _kinds() -> list[Case]:
    group = "modes and stacks"
    stack = {"ispg": 0, "mz": 1, "cell_z": 1.5}
    bytes_ = np.clip(200 * density() / density().max() + 40, 0, 255).astype(np.uint8).view(np.int8)
    return [
        *(
            Case(group, f"mode {n}", map_maker("a.mrc", mode=n), REFUSED, "mode: found")
            for n in (3, 4, 5, 7, 101, -1, MAX_INT32)
        ),
        Case(group, "mode 0, unsigned bytes", map_maker("a.mrc", bytes_), WARNED, "look unsigned"),
        Case(group, "mode 1", map_maker("a.mrc", (1000 * density()).astype(np.int16)), DONE),
        Case(group, "mode 12", map_maker("a.mrc", density().astype(np.float16)), DONE),
        Case(group, "one image", map_maker("a.mrc", density()[:1]), REFUSED, "three-dimensional"),
        Case(group, "a stack of images", map_maker("a.mrc", **stack), REFUSED, "a stack of 36 images"),
        Case(group, "a stack by name", map_maker("a.mrcs"), REFUSED, "a stack of images"),
        Case(group, "a stack of volumes", map_maker("a.mrc", ispg=401, mz=12), REFUSED, "a stack of volumes"),
        Case(group, "a stack of one volume", map_maker("a.mrc", ispg=401), DONE, same=True),
        Case(group, "a stack of volumes, MZ 0", map_maker("a.mrc", ispg=401, mz=0), REFUSED, "a stack of volumes"),
        Case(
            group,
            "a volume with a stack's header",
            map_maker("a.mrc", ispg=0, mz=1),
            WARNED,
            "describes a stack",
            same=True,
        ),
    ]


def _lengths() -> list[Case]:
    nan, inf = float("nan"), float("inf")
    group, limits = "voxel size, cell and axes", "0.1 to 50 Å"
    right_in_radians = dict.fromkeys(("alpha", "beta", "gamma"), 1.5708)
    twice = {"mx": 80, "my": 76, "mz": 72, "cell_x": 120.0, "cell_y": 114.0, "cell_z": 108.0}

    def sized(x: float, y: float, z: float) -> Callable[[Path], Path]:
        return map_maker("a.mrc", cell_x=40 * x, cell_y=38 * y, cell_z=36 * z)

    return [
        *(Case(group, f"{v:g} Å", sized(v, v, v), REFUSED, limits) for v in (0.0, -1.5, 0.015, 150.0, nan, inf)),
        Case(group, "1 Å exactly", sized(1, 1, 1), WARNED, "exactly 1 Å"),
        Case(group, "1.5, 1.5 and 1.6 Å", sized(1.5, 1.5, 1.6), REFUSED, "equal axes"),
        Case(group, "MX 0", map_maker("a.mrc", mx=0), REFUSED, limits),
        Case(group, "MX -40", map_maker("a.mrc", mx=-40), REFUSED, limits),
        Case(
            group, "a cell angle of 120°", map_maker("a.mrc", gamma=120.0), REFUSED, "resample it on an orthogonal grid"
        ),
        Case(group, "a cell angle of NaN", map_maker("a.mrc", beta=nan), REFUSED, "cell angles"),
        Case(group, "cell angles of 0", map_maker("a.mrc", alpha=0.0, beta=0.0, gamma=0.0), DONE, same=True),
        Case(group, "cell angles of 90, 90, 0", map_maker("a.mrc", gamma=0.0), WARNED, "0 was read as 90", same=True),
        Case(group, "cell angles of 0, 90, 0", map_maker("a.mrc", alpha=0.0, gamma=0.0), WARNED, "as 90", same=True),
        Case(group, "a cell angle of 90.05°", map_maker("a.mrc", beta=90.05), DONE, same=True),
        Case(group, "cell angles in radians", map_maker("a.mrc", **right_in_radians), REFUSED, "cell angles"),
        *(Case(group, f"{v:g} Å, far from usual", sized(v, v, v), ANY) for v in (0.1, 0.2, 12.0, 20.0, 50.0)),
        Case(group, "a cell of twice the box", map_maker("a.mrc", **twice), DONE, same=True),
        Case(group, "ORIGIN 1e9", map_maker("a.mrc", origin_x=1e9, origin_y=-1e9), DONE, same=True),
        Case(group, "NSTART 2147483647", map_maker("a.mrc", nxstart=MAX_INT32, nystart=-MAX_INT32), DONE, same=True),
        Case(group, "ORIGIN NaN", map_maker("a.mrc", origin_x=nan), DONE, same=True),
        Case(group, "statistics NaN", map_maker("a.mrc", dmin=nan, dmax=nan, dmean=nan), DONE, same=True),
        Case(
            group,
            "axes in the order Y, Z, X",
            map_maker("a.mrc", mapc=2, mapr=3, maps=1, mx=36, my=40, mz=38, cell_x=54.0, cell_y=60.0, cell_z=57.0),
            DONE,
            same=True,
        ),
        Case(group, "axes X, X, Z", map_maker("a.mrc", mapr=1), REFUSED, "axis order"),
        Case(group, "axes 0, 0, 0", map_maker("a.mrc", mapc=0, mapr=0, maps=0), WARNED, "has no axis order", same=True),
    ]


def _stamps() -> list[Case]:
    group = "byte order and signatures"
    return [
        Case(group, "big-endian", map_maker("a.mrc", order=">"), DONE, same=True),
        Case(group, "little-endian, stamped big-endian", map_maker("a.mrc", stamp=b"\x11\x11\0\0"), DONE, same=True),
        Case(group, "big-endian, stamped little", map_maker("a.mrc", order=">", stamp=b"DD\0\0"), DONE, same=True),
        Case(group, "without a stamp", map_maker("a.mrc", stamp=bytes(4)), DONE, same=True),
        Case(group, "a meaningless stamp", map_maker("a.mrc", stamp=b"\xff" * 4), DONE, same=True),
        Case(group, 'without "MAP "', map_maker("a.mrc", map=bytes(4)), DONE, same=True),
    ]


def _not_maps() -> list[Case]:
    text = "ATOM      1  N   MET A   1      27.340  24.430   2.614\n"
    contents = {
        "a long text": (text.encode() * 100, "a text file"),
        "a short text": (text.encode(), "a text file"),
        "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(3000), "HDF5"),
        "NumPy": (b"\x93NUMPY\x01\0v\0" + bytes(3000), "NumPy"),
        "zip": (b"PK\x03\x04" + bytes(3000), "zip"),
        "xz": (b"\xfd7zXZ\0" + bytes(3000), "xz"),
        "zstd": (b"\x28\xb5\x2f\xfd" + bytes(3000), "zstd"),
        "PNG": (b"\x89PNG\r\n\x1a\n" + bytes(3000), "PNG"),
        "a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
        "an empty file": (b"", "0 bytes"),
        "zeros": (bytes(5000), "an unknown header"),
        "random bytes": (np.random.default_rng(0).bytes(5000), "an unknown header"),
    }
    group = "not a map"

    def link(target: str) -> Callable[[Path], Path]:
        def make(folder: Path) -> Path:
            (folder / "a.mrc").symlink_to(target)
            return folder / "a.mrc"

        return make

    def subfolder(folder: Path) -> Path:
        (folder / "a.mrc").mkdir()
        return folder / "a.mrc"

    def fifo(folder: Path) -> Path:
        os.mkfifo(folder / "a.mrc")
        return folder / "a.mrc"

    return [
        *(Case(group, name, file_maker("a.mrc", raw), REFUSED, message) for name, (raw, message) in contents.items()),
        Case(group, "a folder", subfolder, REFUSED, "a folder"),
        Case(group, "a pipe", fifo, REFUSED, "a pipe or device"),
        Case(group, "a device", link("/dev/zero"), REFUSED, "a pipe or device"),
        Case(group, "a broken link", link("nothing"), REFUSED, "no such file"),
        Case(group, "a link to itself", link("a.mrc"), REFUSED),
        Case(group, "a missing file", lambda folder: folder / "a.mrc", REFUSED, "no such file"),
    ]


def locked(folder: Path) -> Path:
    """Write a map without read permission, which only root can read."""
    path = file_maker("a.mrc", mrc())(folder)
    path.chmod(0)
    return path


def _other_maps() -> list[Case]:
    group = "other kinds of maps"
    mask = ball().astype(np.float32)
    soft_mask = np.clip(ndimage.gaussian_filter(mask, 1.0), 0.02, 0.98) - 0.02
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=mask.shape), 2)
    local_resolution = np.where(ball(), 4 + 9 * noise, 0)
    difference = density() - np.roll(density(), 2, 0)
    return [
        Case(group, "a mask", map_maker("a.mrc", mask), REFUSED, "a mask"),
        Case(group, "a mask with a soft edge", map_maker("a.mrc", soft_mask), REFUSED, "a mask"),
        Case(group, "a mask of bytes", map_maker("a.mrc", mask.astype(np.int8)), REFUSED, "a mask"),
        Case(
            group,
            "a local-resolution map",
            map_maker("a.mrc", local_resolution.astype(np.float32)),
            WARNED,
            "local-resolution map",
        ),
        Case(group, "a difference map", map_maker("a.mrc", difference), WARNED, "a difference of two maps"),
        Case(
            group,
            "a half map, by RELION's name",
            map_maker("run_half1_class001_unfil.mrc"),
            WARNED,
            "half map",
            same=True,
        ),
        Case(group, "a half map, by EMDB's name", map_maker("emd_1_half_map_2.map"), WARNED, "half map", same=True),
        Case(group, "behalf_of_1.mrc", map_maker("behalf_of_1.mrc"), DONE, same=True),
    ]


def _names() -> list[Case]:
    group = "names"
    return [
        Case(group, "a space, quotes and a newline", map_maker("a 'b'\n\"c\".mrc"), DONE, same=True),
        Case(group, "not UTF-8", map_maker(b"\xff\xfe.mrc"), DONE, same=True),
        Case(group, "without a suffix", map_maker("map"), DONE, same=True),
        Case(
            group, "251 letters: too long for the outputs", map_maker("a" * 247 + ".mrc"), REFUSED, "File name too long"
        ),
    ]


CASES = [
    case
    for cases in (
        _truncated,
        _wrong_sizes,
        _streams,
        _values,
        _edited,
        _kinds,
        _lengths,
        _stamps,
        _not_maps,
        _other_maps,
        _names,
    )
    for case in cases()
]
UNREADABLE = Case("not a map", "a map without read permission", locked, REFUSED, "Permission denied")
