"""NaN and infinite voxels: those outside the density are filled, those in it are refused unless they are few."""

import hashlib
import json

import mrcfile
import numpy as np
import pytest

from cryores_lite.errors import InputError
from cryores_lite.io.mrc import read_map
from tests.runtime.command import run
from tests.runtime.maps import ball, lumps, save
from tests.runtime.paths import EXAMPLE, EXPERIMENTAL

pytestmark = pytest.mark.filterwarnings("ignore:(Data array contains|invalid value):RuntimeWarning")  # of mrcfile
SHAPE = (44, 48, 52)
Z, Y, X = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]


def tube(radius):
    squares = (Y - 24) ** 2 + (X - 26) ** 2
    return np.broadcast_to(squares < radius**2, SHAPE)


def block(margin):
    inside = np.zeros(SHAPE, bool)
    inside[(slice(margin, -margin),) * 3] = True
    return inside


INSIDE = {  # of which all that lies outside is one region at the faces
    "a sphere": ball(SHAPE, 21),
    "a sphere beyond the faces": ball(SHAPE, 26),
    "a cylinder": tube(20),
    "a block": block(4),
    "all but the outermost layer": block(1),
    "a half": np.broadcast_to(X < 26, SHAPE),
    "two joined spheres": np.roll(ball(SHAPE, 12), -8, 2) | np.roll(ball(SHAPE, 12), 8, 2),
    "a body cut off obliquely": np.broadcast_to(X + 0.7 * Y - 0.4 * Z < 40, SHAPE),
}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", INSIDE)
def test_non_finite_voxels_outside_are_filled_with_the_median_beside_them(tmp_path, name, value):
    inside, values = INSIDE[name], lumps(SHAPE)
    path = save(tmp_path / "m.mrc", np.where(inside, values, np.float32(value)))
    before = hashlib.sha256(path.read_bytes()).digest()
    source = read_map(path)
    filled = np.unique(source.density.values[~inside])
    np.testing.assert_array_equal(source.density.values[inside], values[inside])
    assert len(filled) == 1
    assert abs(filled[0]) < 0.1  # solvent; the lumps reach 0.7
    (warning,) = source.warnings
    assert warning.startswith(f"{np.count_nonzero(~inside)} voxels")
    assert f"filled with {filled[0]:.4g}" in warning
    assert hashlib.sha256(path.read_bytes()).digest() == before


def at(*indices):
    damaged = np.zeros(SHAPE, bool)
    for index in indices:
        damaged[index] = True
    return damaged


@pytest.mark.parametrize(
    "damaged",
    [
        np.random.default_rng(0).random(SHAPE) < 0.02,
        np.random.default_rng(1).random(SHAPE) < 0.4,  # connected to the faces, but scattered
        ball(SHAPE, 9),
        at(22),
        at(slice(20, 24)),
        at(*((slice(None), 3 * n, slice(None)) for n in range(16))),
        at(*((slice(None), y, x) for y in range(0, 48, 4) for x in range(0, 52, 4))),
        ~ball(SHAPE, 21) | ball(SHAPE, 9),
        ~ball(SHAPE, 21) | at(slice(20, 24)),
    ],
    ids=["2 %", "40 %", "a ball", "a slice", "four slices", "slices", "rows", "ball and outside", "slices and outside"],
)
def test_non_finite_voxels_in_the_density_are_refused(tmp_path, damaged):
    with pytest.raises(InputError, match="not finite, expected at most 1 %"):
        read_map(save(tmp_path / "m.mrc", np.where(damaged, np.float32(np.nan), lumps(SHAPE))))


def test_a_few_voxels_inside_are_replaced_when_the_outside_is_filled(tmp_path):
    inside, values = ball(SHAPE, 21), lumps(SHAPE)
    values[~inside] = np.nan
    values[22, 24, 20:23] = np.inf
    source = read_map(save(tmp_path / "m.mrc", values))
    assert np.isfinite(source.density.values).all()
    assert [warning.split(" ")[0] for warning in source.warnings] == [str(np.count_nonzero(~inside)), "3"]


@pytest.mark.slow
@pytest.mark.parametrize("path", [EXAMPLE, EXPERIMENTAL / "emd_1832.mrc.gz"], ids=lambda path: path.name)
def test_the_result_is_that_of_the_map_masked_by_its_solvent(tmp_path, path):
    source = read_map(path)
    values = source.density.values
    inside = ball(values.shape, 0.48 * min(values.shape))
    options = {"voxel_size": source.density.grid.voxel_size[0]}
    save(tmp_path / "nan.mrc", np.where(inside, values, np.float32(np.nan)), **options)
    save(tmp_path / "filled.mrc", read_map(tmp_path / "nan.mrc").density.values, **options)
    names = ("nan", "filled")
    requested = ("--uncertainty", "--filtered", "--display", "--report", "--png", "--chimerax", "--json", "-j", 2)
    done = run(*(tmp_path / f"{name}.mrc" for name in names), *requested, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    for kind in ("locres", "mask", "uncertainty", "filtered", "display"):
        first, second = (mrcfile.read(row["files"][kind]) for row in rows)
        np.testing.assert_array_equal(first, second)
        assert np.isfinite(first).all()
    assert [["were filled" in text for text in row["warnings"]].count(True) for row in rows] == [1, 0]
