"""Output files: the ChimeraX script, the map to colour surfaces by, the locally filtered map."""

import re
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import fft, ndimage

from cryores_lite.errors import OutputError
from cryores_lite.figures.display_map import EXTENSION, contour_level, extend_outwards
from cryores_lite.figures.palette import (
    COLOUR_STOPS,
    MIN_COLOUR_RANGE,
    OUTSIDE_COLOUR,
    colour_range,
    colour_stops,
    hex_colour,
)
from cryores_lite.io.mrc import read_map
from cryores_lite.outputs import contents
from cryores_lite.outputs.catalogue import KINDS
from cryores_lite.outputs.chimerax import quoted
from cryores_lite.outputs.local_filter import locally_filtered
from cryores_lite.outputs.result import Job, MapResult, ModelIdentity
from cryores_lite.outputs.write import check, write
from cryores_lite.types import LocalResolution
from tests.runtime.command import rows, run
from tests.runtime.maps import PLACEMENT, ball, filtered, lumps, save, wave_numbers
from tests.runtime.paths import EXAMPLE, ROOT

BOX = (32, 32, 32)
MODEL = ModelIdentity("net", "1", "ab" * 32)


def answer(map_path, files, mask=None):
    source = read_map(map_path)
    mask = ball(BOX, 8) if mask is None else mask
    values = np.where(mask, np.random.default_rng(1).normal(4, 0.5, mask.shape), 0).astype(np.float32)
    result = LocalResolution(
        values=values,
        mask=mask,
        uncertainty=values / 8,
        grid=source.density.grid,
        global_resolution=3.5,
        working_voxel_size=1.5,
        provider="CPUExecutionProvider",
    )
    return MapResult(job=Job(map_path=map_path, outputs=files), map=source, local_resolution=result, model=MODEL)


def files(folder, *kinds):
    names = {"locres": "m_locres.mrc", "chimerax": "m_locres.cxc", "display": "m_locres_display.mrc"}
    return {kind: folder / names[kind] for kind in ("locres", "chimerax", *kinds)}


def script(map_path, folder, *kinds, mask=None):
    """The lines of the script, by their first words."""
    outputs = files(folder, *kinds)
    folder.mkdir(parents=True, exist_ok=True)
    write("chimerax", outputs["chimerax"], answer(map_path, outputs, mask))
    lines = outputs["chimerax"].read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


def named(line):
    """The file name in an `open` command, by ChimeraX's rule: a quote before a blank or at the end closes."""
    return re.fullmatch(r'open "(.*?)"(?=\s|$).*', line).group(1)


@pytest.mark.parametrize("name", ["a b", "a;exit", "#1", "it's", 'a"b', "[1]", "ü", "a\\", "--help", 'a";"b', "$HOME"])
def test_a_quoted_name_is_read_back_unchanged(name):
    assert named(f"open {quoted(name)} id 1") == name


@pytest.mark.parametrize("name", ['a" b', 'a"', "a\nopen b", "a\rb", "a\tb", 'a"\u00a0b', "a\u2028b", "\x00"])
def test_a_name_that_would_end_its_quotes_or_its_line_is_refused(name):
    with pytest.raises(OutputError, match="rename the map"):
        quoted(name)


@given(st.text(st.sampled_from("ab \"';#\n\t\u2028"), min_size=1, max_size=8))
def test_any_name_is_refused_or_read_back_unchanged_on_one_line(name):
    try:
        line = f"open {quoted(name)} id 1"
    except OutputError:
        return
    assert named(line) == name
    assert line.splitlines() == [line]


def test_a_name_that_no_script_can_hold_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(OutputError):
        check(Job(map_path=tmp_path / 'a" b.mrc', outputs=files(tmp_path)))
    check(Job(map_path=tmp_path / 'a" b.mrc', outputs={"locres": tmp_path / "a"}))


def test_the_script_finds_both_maps_from_its_own_folder(tmp_path):
    map_path = save(tmp_path / "maps" / "the map.mrc", lumps(BOX))
    first, second, *_ = script(map_path, tmp_path / "out" / "deep")
    assert (named(first), named(second)) == ("../../maps/the map.mrc", "m_locres.mrc")
    assert first.endswith('" id 1')
    assert second.endswith('" id 2')


def test_the_script_finds_the_map_from_a_linked_folder(tmp_path):
    map_path = save(tmp_path / "maps" / "m.mrc", lumps(BOX))
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "out").symlink_to(tmp_path / "far" / "away")
    first, *_ = script(map_path, tmp_path / "out")
    assert (tmp_path / "far" / "away" / named(first)).samefile(map_path)
    save(tmp_path / "far" / "n.mrc", lumps(BOX))
    first, *_ = script(tmp_path / "out" / ".." / "n.mrc", tmp_path / "other")
    assert named(first) == "../far/n.mrc"


def test_a_link_to_a_map_keeps_its_own_name_since_the_suffix_places_it(tmp_path):
    (tmp_path / "m.map").symlink_to(save(tmp_path / "elsewhere" / "m.mrc", lumps(BOX)))
    assert named(script(tmp_path / "m.map", tmp_path / "out")[0]) == "../m.map"


def test_surfaces_take_colour_from_the_display_map_where_there_is_one(tmp_path):
    _, second, *_ = script(save(tmp_path / "m.mrc", lumps(BOX)), tmp_path, "display")
    assert named(second) == "m_locres_display.mrc"


@pytest.mark.parametrize(
    ("name", "origin", "as_ccp4"),
    [
        ("m.map", (1, 2, 3), True),
        ("m.CCP4", (1, 2, 3), True),
        ("m.map", (0, 0, 0), False),
        ("m.mrc", (1, 2, 3), False),
        ("m.map.mrc", (1, 2, 3), False),
    ],
)
def test_local_resolution_is_opened_as_ccp4_where_chimerax_ignores_the_maps_origin(tmp_path, name, origin, as_ccp4):
    _, second, *_ = script(save(tmp_path / name, lumps(BOX), fields={"origin": origin}), tmp_path / "out")
    assert second.endswith(" format ccp4") == as_ccp4


def test_colours_run_over_the_palettes_range_and_grey_ends_below_the_finest_value(tmp_path):
    map_path = save(tmp_path / "m.mrc", lumps(BOX))
    values = answer(map_path, files(tmp_path)).local_resolution.values
    low, high = colour_range(values)
    *_, sample, key = script(map_path, tmp_path)
    pairs = [pair.split(",") for pair in sample.split(" palette ")[1].split(":")]
    places, colours = [float(value) for value, _ in pairs], [name for _, name in pairs]
    assert sample.startswith("color sample #1 map #2 palette ")
    assert places == sorted(set(places))
    assert places[-6:] == pytest.approx([value for value, _ in colour_stops(low, high)], abs=1e-3)
    assert colours == [OUTSIDE_COLOUR, OUTSIDE_COLOUR, COLOUR_STOPS[0], *COLOUR_STOPS]
    assert places[1] < values[values > 0].min() <= places[2] + 1e-3
    assert key.split()[1:7] == [f"{name}:{value:.1f}" for value, name in colour_stops(low, high)]


def test_a_map_without_a_molecule_has_a_script(tmp_path):
    *_, sample, _ = script(save(tmp_path / "m.mrc", lumps(BOX)), tmp_path, mask=np.zeros(BOX, bool))
    places = [float(pair.split(",")[0]) for pair in sample.split(" palette ")[1].split(":")]
    assert places == sorted(set(places))
    assert places[0] == 0


def test_the_palette_is_even_and_has_a_width():
    values = np.full((2, 2, 2), 4, np.float32)
    assert colour_range(values) == pytest.approx((4, 4 + MIN_COLOUR_RANGE))
    assert [hex_colour(value, 2, 7) for value, _ in colour_stops(2, 7)] == list(COLOUR_STOPS)
    assert (hex_colour(-1, 2, 7), hex_colour(99, 2, 7)) == (COLOUR_STOPS[0], COLOUR_STOPS[-1])
    red = [int(hex_colour(value, 2, 7)[1:3], 16) for value in np.linspace(2, 7, 50)]
    assert red == sorted(red, reverse=True)


def test_the_contour_encloses_part_of_the_molecule_and_hardly_any_noise():
    mask, noise = ball(BOX, 8), np.random.default_rng(0).normal(size=BOX).astype(np.float32)
    quiet = np.where(mask, noise, 0)
    assert (quiet[mask] > contour_level(quiet, mask)).mean() == pytest.approx(0.45, abs=0.01)
    assert (noise[~mask] > contour_level(noise, mask)).mean() == pytest.approx(0.001, abs=0.0005)
    assert contour_level(noise, np.ones_like(mask)) == pytest.approx(np.quantile(noise, 0.55))
    assert contour_level(noise, np.zeros_like(mask)) == noise.max()


@pytest.mark.parametrize("voxel_size", [1.0, 3.1, 20.0])
def test_extended_values_reach_outwards_and_leave_the_mask_unchanged(voxel_size):
    mask = ball((40, 40, 40), 8)
    values = np.where(mask, np.random.default_rng(0).uniform(3, 6, mask.shape), 0).astype(np.float32)
    out = extend_outwards(values, (voxel_size,) * 3)
    near = ndimage.distance_transform_edt(~mask, voxel_size) <= EXTENSION
    np.testing.assert_array_equal(out[mask], values[mask])
    assert (out[near] > 0).all()
    beyond = out[out > 0]
    assert values[mask].min() - 1e-5 <= beyond.min() <= beyond.max() <= values[mask].max() + 1e-5
    assert (out[ndimage.distance_transform_edt(~mask, voxel_size) > 1.8 * EXTENSION + 2 * voxel_size] == 0).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.tuples(*[st.integers(1, 9)] * 3))
def test_extended_values_never_wrap_around_the_box(seed, shape):
    """Each new voxel is a mean of its neighbours, so that the values beside a slab are those of its nearer face."""
    rng = np.random.default_rng(seed)
    values = (rng.uniform(3, 6, shape) * (rng.random(shape) < 0.1)).astype(np.float32)
    padded = extend_outwards(np.pad(values, 12), (1.0, 1.0, 1.0))[12:-12, 12:-12, 12:-12]
    plain = extend_outwards(values, (1.0, 1.0, 1.0))
    assert ((plain > 0) == (padded > 0)).all()
    faced = extend_outwards(np.pad(values[:1], ((0, 30), (0, 0), (0, 0))), (1.0, 1.0, 1.0))
    assert (faced[9:] == 0).all()


def test_an_empty_mask_stays_empty_when_extended():
    assert not extend_outwards(np.zeros((4, 5, 6), np.float32), (1.0, 1.0, 1.0)).any()


def noisy(seed=0, n=40):
    """Noise in the middle of an empty box."""
    inner = np.random.default_rng(seed).normal(size=(20, 20, 20))
    return np.pad(ndimage.gaussian_filter(inner, 0.7), (n - 20) // 2).astype(np.float32)


def power(values, low, voxel_size=1.5):
    is_high = wave_numbers(values.shape, voxel_size) > low
    return float((np.abs(fft.rfftn(values)[is_high]) ** 2).sum())


def test_one_resolution_everywhere_is_a_plain_low_pass():
    values, resolution, voxel_size = noisy(), 6.0, 1.5
    n = fft.next_fast_len(40 + 16, real=True)
    before = (n - 40) // 2
    padded = np.pad(values, (before, n - 40 - before))
    shell = 1 / (n * voxel_size)
    k = wave_numbers(padded.shape, voxel_size)
    gain = 0.5 + 0.5 * np.cos(np.pi * np.clip((k - 1 / resolution + 2 * shell) / (4 * shell), 0, 1))
    expected = filtered(padded, gain)[(slice(before, before + 40),) * 3]
    local = np.where(ball((40, 40, 40), 14), np.float32(resolution), 0).astype(np.float32)
    out = locally_filtered(values, local, (voxel_size,) * 3)
    np.testing.assert_allclose(out[local > 0], expected[local > 0], atol=2e-5)
    assert (out[local == 0] == 0).all()


def test_the_filter_is_linear_in_the_map_and_ignores_a_constant():
    local = np.random.default_rng(3).uniform(4, 12, (40, 40, 40)).astype(np.float32)
    one, other = noisy(0), noisy(1)
    both, *each = (locally_filtered(v, local, (1.5,) * 3) for v in (2 * one - 3 * other + 7, one, other))
    np.testing.assert_allclose(both, 2 * each[0] - 3 * each[1], atol=1e-4)


def test_the_filter_removes_waves_beyond_the_local_resolution_and_keeps_the_others():
    values = noisy()
    local = np.full(values.shape, 5.0, np.float32)
    out = locally_filtered(values, local, (1.5,) * 3)
    assert power(out, 1 / 5 + 0.06) < 0.01 * power(values, 1 / 5 + 0.06)
    low = ndimage.gaussian_filter(values, 4)
    np.testing.assert_allclose(locally_filtered(low, local, (1.5,) * 3), low, atol=0.01 * low.max())


def test_each_half_is_filtered_at_its_own_resolution():
    values = np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32)
    local = np.full(values.shape, 4.0, np.float32)
    local[:, :, 20:] = 12.0
    out = locally_filtered(values, local, (1.5,) * 3)
    fine, coarse = out[8:-8, 8:-8, 6:16], out[8:-8, 8:-8, 24:34]
    assert power(coarse, 1 / 8) < 0.05 * power(fine, 1 / 8)


def test_a_map_without_a_molecule_is_filtered_to_zeros():
    assert not locally_filtered(noisy(), np.zeros((40, 40, 40), np.float32), (1.5,) * 3).any()


def test_the_command_writes_valid_files_placed_as_the_input(tmp_path):
    placed = tmp_path / "it's a #1; map.mrc"
    placed.write_bytes(EXAMPLE.read_bytes())
    with mrcfile.open(placed, "r+") as mrc:
        mrc.header.mapc, mrc.header.mapr, mrc.header.maps = 3, 1, 2
        mrc.header.nxstart, mrc.header.origin = -7, (12.5, -3.0, 80.0)
    words = ["-o", tmp_path / "out", "--filtered", "--display", "--chimerax", "--json", "-j", 1]
    (row,) = rows(run(placed, *words, check=True))
    named_files = row["files"]
    maps = {kind: mrcfile.read(named_files[kind]) for kind in ("locres", "filtered", "display")}
    for kind, values in maps.items():
        raw, before = Path(named_files[kind]).read_bytes(), placed.read_bytes()
        assert mrcfile.validate(named_files[kind])
        assert [raw[words] for words in PLACEMENT] == [before[words] for words in PLACEMENT]
        assert (values.shape, values.dtype) == ((80, 80, 80), np.float32)
    inside = maps["locres"] > 0
    np.testing.assert_array_equal(maps["display"][inside], maps["locres"][inside])
    assert (maps["display"] > 0).sum() > 1.5 * inside.sum()
    assert (maps["filtered"][~inside] == 0).all()
    first, second = (line for line in Path(named_files["chimerax"]).read_text().splitlines() if line.startswith("open"))
    assert named(first) == "../it's a #1; map.mrc"
    assert named(second) == Path(named_files["display"]).name


def test_every_kind_of_file_has_a_function_that_makes_its_content_and_every_map_a_label():
    for kind in KINDS:
        assert getattr(contents, kind.name).__doc__
        assert (kind.label is not None) == kind.suffix.endswith(".mrc")


def test_every_kind_of_file_is_described_in_the_documents():
    described = ROOT / "docs" / "outputs.md"
    if not described.exists():
        pytest.skip("the documents are not here")
    text = described.read_text(encoding="utf-8")
    assert [kind.name for kind in KINDS if f"`NAME{kind.suffix}`" not in text] == []
