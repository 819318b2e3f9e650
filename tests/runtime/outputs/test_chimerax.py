"""The ChimeraX script: it names files safely, finds them, and colours surfaces by the palette."""

import ntpath
import os
import posixpath
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryores_lite.errors import OutputError
from cryores_lite.figures.display_map import ticks
from cryores_lite.figures.palette import COLOUR_STOPS, OUTSIDE_COLOUR, colour_range, colour_stops, hex_colour
from cryores_lite.io.mrc import read_map
from cryores_lite.outputs.chimerax import path_from, quoted
from cryores_lite.outputs.result import Job, MapResult, ModelIdentity
from cryores_lite.outputs.write import write
from cryores_lite.types import LocalResolution
from tests.runtime.maps import ball, lumps, save

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
    shown = ticks(low, high)
    assert key.split()[1 : len(shown) + 1] == [f"{hex_colour(value, low, high)}:{label}" for value, label in shown]


def test_a_map_without_a_molecule_has_a_script(tmp_path):
    *_, sample, _ = script(save(tmp_path / "m.mrc", lumps(BOX)), tmp_path, mask=np.zeros(BOX, bool))
    places = [float(pair.split(",")[0]) for pair in sample.split(" palette ")[1].split(":")]
    assert places == sorted(set(places))
    assert places[0] == 0


WINDOWS_ROOTS = ("C:\\", "c:\\", "D:\\", r"\\server\maps" + "\\", r"\\server\out" + "\\", "\\\\?\\C:\\")
folders = st.lists(st.sampled_from(("a", "b c", "ü", "maps")), max_size=3)


@given(st.sampled_from(WINDOWS_ROOTS), folders, st.sampled_from(WINDOWS_ROOTS), folders)
def test_the_script_finds_its_files_on_any_drive_of_windows(map_root, map_folders, script_root, script_folders):
    path, folder = (
        root + "\\".join(names) for root, names in ((map_root, [*map_folders, "m.mrc"]), (script_root, script_folders))
    )
    name = path_from(path, folder, ntpath)
    found = ntpath.normpath(ntpath.join(folder, name))
    assert ntpath.normcase(found) == ntpath.normcase(ntpath.normpath(path))
    on_one_drive = ntpath.normcase(ntpath.splitdrive(path)[0]) == ntpath.normcase(ntpath.splitdrive(folder)[0])
    assert ntpath.isabs(name) != on_one_drive


@given(folders, folders)
def test_the_script_finds_its_files_by_a_relative_name_elsewhere(map_folders, script_folders):
    path, folder = ("/" + "/".join(names) for names in ([*map_folders, "m.mrc"], script_folders))
    name = path_from(path, folder, posixpath)
    assert not posixpath.isabs(name)
    assert posixpath.normpath(posixpath.join(folder, name)) == path
    assert name == os.path.relpath(path, folder) or os.name == "nt"


def test_no_other_module_makes_relative_paths():
    package = Path(path_from.__code__.co_filename).parents[1]
    users = {
        path.name for path in package.rglob("*.py") if re.search(r"relpath|\.relative_to\(", path.read_text("utf-8"))
    }
    assert users == {"chimerax.py"}
