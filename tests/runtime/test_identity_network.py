"""A network that answers its input hands the density back: one equation for the method, from file to file.

The network is an ONNX file of nine nodes. Its local resolution is a constant plus the density that it is given, in
units of the density's standard deviation in the molecule; its molecule is where that density exceeds 1. The density is
a sum of Gaussians placed in Å. The written map must equal the same sum at the positions that the written header gives,
so that crop, grids, tiles, interpolation, mask and header must agree. One number is fitted, the standard deviation,
and compared with that of the density in the mask.

`tests/planted_faults.py` plants faults in the package and counts which of them these tests find.
"""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cryores_lite import Model, estimate, read_map
from tests.runtime.command import rows, run
from tests.runtime.maps import PLACEMENT, save

GLOBAL, ERROR = 12.0, 0.05  # Å; relative error per unit of density
MEDIAN = 2.25  # Å: the working voxel is that of the map, which is larger than a third of the median
BLOBS = (  # centre in Å (x, y, z) from that of the molecule, σ in Å, height
    ((0.0, 0.0, 0.0), 9.0, 1.0),
    ((4.0, 24.0, -8.0), 8.0, 0.9),
    ((-12.0, -9.0, 25.0), 7.5, 0.8),
)
NOISE = 0.002  # of the highest blob: without it the solvent would look masked
CONTRACT = {
    "name": "identity",
    "version": "0",
    "conditioning": 6,
    "evidence": 27,
    "channels": 50,
    "context": 104,
    "halo": 8,
    "tile": 64,
    "mask_threshold": 0.5,
    "doubt_scale": 1.0,
    "doubt_power": 1.0,
    "error_scales": [2.0, 1.0, 1.0, 6.0, 0.0],
    "training": "none",
}


# A few messages of onnx.proto, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number, value):
    """One field of a protocol buffer: a number, a text or a message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def fields(number, values):
    return b"".join(field(number, value) for value in values)


def tensor(name, values):
    data = np.asarray(values, "<f4")
    return fields(1, data.shape) + field(2, 1) + field(8, name) + field(9, data.tobytes())


def node(kind, inputs, output, **integers):
    attributes = (field(1, name) + fields(8, values) + field(20, 7) for name, values in integers.items())
    return fields(1, inputs) + field(2, output) + field(4, kind) + fields(5, attributes)


def port(name, *shape):
    """An input or output of float32: edges of a number of voxels, or named where they differ from tile to tile."""
    edges = (field(1 if isinstance(edge, int) else 2, edge) for edge in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, fields(1, edges))))


def trilinear():
    """(64, 1, 3, 3, 3): the 4³ working voxels of each answer, from the density on half of the working grid."""
    between = np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0.5, 0.5]])
    weights = between[:, None, None, :, None, None] * between[None, :, None, None, :, None]
    return (weights * between[None, None, :, None, None, :]).reshape(64, 1, 3, 3, 3)


def identity(*, shown="density", weights=None, median=MEDIAN, **contract):
    """An ONNX file whose relative resolution is `weights` over the input `shown`: by default the density itself."""
    weights = np.ones((1, 1, 1, 1, 1)) if weights is None else weights
    stride, margin = (2 if shown == "density" else 1), (weights.shape[-1] - 1) // 2
    constants = {
        "g": [[GLOBAL]],
        "m": [[median]],
        "d": [[0.05]],
        "e": [[0.9, 0.025, 0.025, 0.025, 0.025]],
        "error_per": [ERROR],
        "w": weights,
        "t": trilinear(),
    }
    constants |= {"half": [0.5], "low": 0.0, "high": 1.0}
    nodes = [
        *(node("Identity", [a], b) for a, b in (("g", "global"), ("m", "median"), ("d", "doubt"), ("e", "editing"))),
        node("Conv", [shown, "w"], "relative", strides=[stride] * 3, pads=[margin] * 6),
        node("Mul", ["relative", "error_per"], "error"),
        node("Conv", ["density", "t"], "fine", strides=[2] * 3, pads=[0, 0, 0, 1, 1, 1]),
        node("Mul", ["fine", "half"], "probability"),
        node("Clip", ["probability", "low", "high"], "mask"),
    ]
    half, quarter = ("a", "b", "c"), ("d", "e", "f")
    inputs = [
        *(port("evidence", 1, 27, 44), port("density", 1, 1, *half), port("bands", 1, 50, *quarter)),
        *(port("context", 1, 104), port("level", 1, 1)),
    ]
    outputs = [
        *(port(name, 1, 1) for name in ("global", "median", "doubt")),
        port("editing", 1, 5),
        *(port(name, 1, channels, *quarter) for name, channels in (("relative", 1), ("error", 1), ("mask", 64))),
    ]
    tensors = [tensor(name, values) for name, values in constants.items()]
    graph = fields(1, nodes) + field(2, "identity") + fields(5, tensors) + fields(11, inputs) + fields(12, outputs)
    metadata = field(1, "contract") + field(2, json.dumps(CONTRACT | contract))
    return field(1, 8) + field(7, graph) + field(8, field(2, 17)) + field(14, metadata)


def opened(folder, **network):
    (folder / "identity.onnx").write_bytes(identity(**network))
    return Model.open(folder / "identity.onnx", device="cpu", threads=2)


# The density, and the equation


def gaussian(distance, sigma):
    return np.exp(-(distance**2) / (2 * sigma**2))


def density_at(x, y, z, centre, profile=gaussian):
    """The sum of Gaussians at positions in Å, around `centre` (x, y, z)."""
    total = 0.0
    for offset, sigma, height in BLOBS:
        along = (profile(u - c - o, sigma) for u, c, o in zip((x, y, z), centre, offset, strict=True))
        total = total + height * np.prod(np.broadcast_arrays(*along), axis=0)
    return total


def noisy(density):
    return (density + NOISE * np.random.default_rng(5).standard_normal(density.shape)).astype(np.float32)


def fitted_scale(local_resolution, mask, density):
    inside = mask & (density > 0.1)
    return np.linalg.lstsq(density[inside][:, None], local_resolution[inside] - GLOBAL, rcond=None)[0][0]


def check_handed_back(local_resolution, mask, density):
    """Local resolution is the constant plus the density in its standard deviations, inside the mask and nowhere else.

    Linear interpolation between answers 4 Å apart changes a Gaussian of σ = 8 Å by up to 4² / (8 · 8²) = 3.1 %
    along each axis, at its centre.
    """
    scale = fitted_scale(local_resolution, mask, density)
    assert scale == pytest.approx(1 / density[mask].std(), rel=0.05)
    assert_allclose(local_resolution, np.where(mask, GLOBAL + scale * density, 0), atol=0.06 * scale)  # 0.051
    assert ((scale * density > 1) == mask)[np.abs(scale * density - 1) > 0.06].all()


@dataclass(frozen=True, eq=False)
class Placed:
    """The header and the values of an MRC file, and the position of each voxel in Å."""

    header: bytes
    values: np.ndarray
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray


def placed(path):
    """Read a file by the words of MRC2014 alone, neither with the package nor with mrcfile."""
    raw = path.read_bytes()
    columns, lines, sections, mode = struct.unpack_from("<4i", raw, 0)
    m, cell = struct.unpack_from("<3i", raw, 28), struct.unpack_from("<3f", raw, 40)
    axes, origin = struct.unpack_from("<3i", raw, 64), struct.unpack_from("<3f", raw, 196)
    assert mode == 2
    values = np.frombuffer(raw, "<f4", offset=1024).reshape(sections, lines, columns)
    indices = dict(zip(reversed(axes), np.meshgrid(*map(np.arange, values.shape), indexing="ij"), strict=True))
    return Placed(raw[:1024], values, *(origin[a] + indices[a + 1] * (cell[a] / m[a]) for a in range(3)))


# From file to file


CENTRE = (-41.0, 260.0, 33.0)  # Å, x, y, z; away from the middle of the box
AXES = (2, 3, 1)  # columns lie along y, rows along z, sections along x
SHAPE = (138, 198, 162)  # sections, rows, columns
STEPS = (1.0, 1.004, 0.996)  # Å, x, y, z: as unequal as a file may say
ORIGIN = (-112.0, 196.0, -61.0)  # Å, x, y, z
START = (7, -20, 11)  # voxels; ORIGIN counts in a file called .mrc
KINDS = ("locres", "mask", "locres_uncertainty")
ATOM = "ATOM  {:5d}  CA  ALA A{:4d}    {:8.3f}{:8.3f}{:8.3f}  1.00  0.00           C"


def write_placed(path):
    """Write the density with a header that says all that a header can say about a place."""
    cells = [SHAPE[2 - AXES.index(axis)] for axis in (1, 2, 3)]
    fields = dict(zip(("mapc", "mapr", "maps", "nxstart", "nystart", "nzstart"), (*AXES, *START), strict=True))
    fields |= dict(zip(("mx", "my", "mz"), cells, strict=True))
    fields |= {"cella": tuple(n * step for n, step in zip(cells, STEPS, strict=True)), "origin": ORIGIN}
    values = np.zeros(SHAPE)
    for _ in range(2):  # first the header, then the density at the positions that it gives
        save(path, noisy(values), fields=fields)
        values = density_at(*(getattr(placed(path), axis) for axis in "xyz"), CENTRE)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The command's summary and outputs for the placed density, with the identity network."""
    folder = tmp_path_factory.mktemp("identity")
    (folder / "identity.onnx").write_bytes(identity())
    atoms = [ATOM.format(n, n, *np.add(CENTRE, offset)) for n, (offset, _, _) in enumerate(BLOBS, 1)]
    (folder / "atoms.pdb").write_text("\n".join([*atoms, "END", ""]))
    words = ("--model", folder / "identity.onnx", "--atoms", folder / "atoms.pdb", "--uncertainty", "--json")
    finished = run(write_placed(folder / "placed.mrc"), *words, "-d", "cpu", "-j", 2, "-o", folder, check=True)
    (row,) = rows(finished)
    return row, {"map": placed(folder / "placed.mrc")} | {kind: placed(folder / f"placed_{kind}.mrc") for kind in KINDS}


@pytest.mark.slow
def test_the_command_hands_the_density_back_where_the_written_header_places_it(files):
    row, written = files
    local_resolution, mask = written["locres"], written["mask"].values == 1
    density = density_at(local_resolution.x, local_resolution.y, local_resolution.z, CENTRE)
    check_handed_back(local_resolution.values, mask, density)
    assert mask.sum() * np.prod(STEPS) == pytest.approx(row["mask_volume"], rel=1e-5)
    low, high = np.percentile(local_resolution.values[mask], (2.5, 75))
    assert low * (1 - 1e-5) <= row["global_resolution"] <= high * (1 + 1e-5)
    assert row["median"] == pytest.approx(np.median(local_resolution.values[mask]), rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_all_words_that_place_a_map_are_kept(files, kind):
    _, written = files
    for words in PLACEMENT:
        assert written[kind].header[words] == written["map"].header[words]


def test_the_command_hands_the_error_back(files):
    """The network's error is ERROR times its relative resolution; the contract doubles it, on average over editing."""
    _, written = files
    values, mask = written["locres"].values, written["mask"].values == 1
    expected = np.where(mask, 2 * ERROR * (values - GLOBAL) * values, 0)
    assert_allclose(written["locres_uncertainty"].values, expected, atol=1e-4)


def test_a_landmark_stays_where_it_is_in_angstrom(files):
    """The summit, as a centre of gravity: of the written map, and of the density on a grid of 1 Å of its own."""
    _, written = files
    found = written["locres"]
    weights = np.maximum(found.values - GLOBAL, 0) ** 8
    fine = np.meshgrid(*(np.arange(c - 30, c + 30.5, 1.0) for c in CENTRE), indexing="ij")
    truth = density_at(*fine, CENTRE) ** 8
    for axis, positions in zip("xyz", fine, strict=True):
        place = np.average(getattr(found, axis), weights=weights)
        assert place == pytest.approx(np.average(positions, weights=truth), abs=0.2)  # measured: 0.06


def test_atoms_at_the_summits_get_the_density_of_the_summits(files):
    row, written = files
    found = written["locres"]
    scale = fitted_scale(found.values, written["mask"].values == 1, density_at(found.x, found.y, found.z, CENTRE))
    _, *lines = Path(row["files"]["atoms_csv"]).read_text().splitlines()
    values = [float(line.rsplit(",", 1)[1]) for line in lines]
    places = np.add(CENTRE, [offset for offset, _, _ in BLOBS]).T
    assert_allclose(values, GLOBAL + scale * density_at(*places, CENTRE), atol=0.06 * scale)  # 0.043


def test_the_voxel_size_belongs_to_the_axes_as_stored(tmp_path):
    grid = read_map(write_placed(tmp_path / "placed.mrc")).density.grid
    assert grid.shape == SHAPE
    assert_allclose(grid.voxel_size, [STEPS[axis - 1] for axis in reversed(AXES)], rtol=1e-5)


# From array to array


BOX = (102, 150, 132)  # voxels: short along z, so that the periodic box is no cube
UNEQUAL = (0.8, 1.0, 1.2)  # Å (z, y, x)
INNER = (70.0, 66.0, 25.0)  # Å (x, y, z): tiles end at the lower face of the box, and not at the upper one


def positions_of(shape, voxel_size):
    z, y, x = np.meshgrid(*(np.arange(n) * step for n, step in zip(shape, voxel_size, strict=True)), indexing="ij")
    return x, y, z


@pytest.mark.slow
@pytest.mark.parametrize("tile", [32, 64, 256])
def test_voxels_of_unequal_edges_and_any_tiles_hand_the_density_back(tmp_path, tile):
    density = density_at(*positions_of(BOX, UNEQUAL), INNER)
    answer = estimate(noisy(density), UNEQUAL, model=opened(tmp_path, tile=tile), threads=2)
    check_handed_back(answer.values, answer.mask, density)
    assert answer.working_voxel_size == pytest.approx(min(UNEQUAL), rel=0.05)
    assert answer.mask_volume == pytest.approx(answer.mask.sum() * np.prod(UNEQUAL))


@pytest.mark.slow
def test_the_network_sees_a_grid_of_equal_steps_in_angstrom(tmp_path):
    """A network that averages over a cube of so many points blurs a map of unequal voxels alike along its axes."""
    edge = 7
    model = opened(tmp_path, weights=np.full((1, 1, edge, edge, edge), edge**-3))
    positions = positions_of(BOX, UNEQUAL)
    answer = estimate(noisy(density_at(*positions, INNER)), UNEQUAL, model=model, threads=2)
    shifts = 2 * answer.working_voxel_size * (np.arange(edge) - edge // 2)

    def averaged(distance, sigma):
        return np.mean([gaussian(distance + shift, sigma) for shift in shifts], axis=0)

    blurred = density_at(*positions, INNER, averaged)
    scale = fitted_scale(answer.values, answer.mask, blurred)
    expected = np.where(answer.mask, GLOBAL + scale * blurred, 0)
    assert_allclose(answer.values, expected, atol=0.026 * scale)  # 0.022


COARSER = 4.5  # Å: bands start at 0.4 / COARSER, below the Nyquist frequency of the voxels above
BAND = 16 + 3  # of the 50 channels: power near 1/8 Å against the molecule's median


def band_model(folder, tile):
    """A network whose relative resolution is one channel of the band powers."""
    weights = np.zeros((1, 50, 1, 1, 1))
    weights[0, BAND] = 1
    return opened(folder, shown="bands", weights=weights, median=COARSER, tile=tile)


@pytest.fixture(scope="module")
def textured():
    """The density with a texture around its second summit, and the centre of that (x, y, z), Å."""
    centre = np.add(INNER, BLOBS[1][0])
    positions = positions_of(BOX, UNEQUAL)
    envelope = np.prod([gaussian(u - c, 6.0) for u, c in zip(positions, centre, strict=True)], axis=0)
    texture = 0.5 * envelope * np.random.default_rng(6).standard_normal(BOX)
    return noisy(density_at(*positions, INNER) + texture), centre


@pytest.mark.slow
def test_band_powers_do_not_depend_on_the_tiles(tmp_path, textured):
    answers = [estimate(textured[0], UNEQUAL, model=band_model(tmp_path, tile), threads=2) for tile in (256, 48, 32)]
    first, *others = answers
    assert np.ptp(first.values[first.mask]) > 0.5
    for other in others:
        assert_array_equal(other.values, first.values)
        assert_array_equal(other.mask, first.mask)


def test_band_powers_come_back_where_the_texture_is(tmp_path, textured):
    density, centre = textured
    answer = estimate(density, UNEQUAL, model=band_model(tmp_path, 48), threads=2)
    weights = np.where(answer.mask, np.exp(8 * (answer.values - GLOBAL)), 0)
    for positions, expected in zip(positions_of(BOX, UNEQUAL), centre, strict=True):
        assert np.average(positions, weights=weights) == pytest.approx(expected, abs=3)  # measured: 1.9
