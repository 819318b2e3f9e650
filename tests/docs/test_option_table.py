"""The table of options in docs/outputs.md: each option adds and changes the files that it names, and no others."""

import gzip
import json
import re
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import typer.main

from cryores_lite import read_map
from cryores_lite.batch.table import COLUMNS
from cryores_lite.cli import app
from cryores_lite.io.mrc_header import first_voxel
from cryores_lite.method.network import shipped_model
from cryores_lite.outputs.catalogue import KIND
from tests.runtime.command import run
from tests.runtime.maps import save

ROOT = Path(__file__).parents[2]
MAP = ROOT / "tests" / "data" / "emd_2566_chain9.mrc.gz"
NOISY_MAP = ROOT / "examples" / "example_map.mrc"
MAX_DIFFERENCE = 0.01  # Å, between numbers of threads
TIMES = re.compile(r'"(seconds|peak_memory_gb|time)": ("[^"]*"|[0-9.e+-]+)')
TIME_ON_PAGE = re.compile(r"(<th>Time and memory</th><td>)[^<]*")
ALL = ("--uncertainty", "--soft-mask", "--filtered", "--display", "--chimerax", "--report", "--png", "--histogram")
ATOMS = ("--atoms", "model.pdb")
HALF_MAPS = ("--half-maps", "half1.mrc", "half2.mrc")
DIRECTIONS = (*HALF_MAPS, "--directions")
EVERYTHING = ("map.mrc.gz", *HALF_MAPS, *ATOMS, "--atoms-model", *ALL)
FEW = ("map.mrc.gz", "--report", "--chimerax")
FROM_LIST = ("--maps-from", "list.txt", "--table", "all.jsonl")
ESTIMATED = {
    "locres",
    "mask",
    "uncertainty",
    "soft_mask",
    "filtered",
    "display",
    "chimerax",
    "report",
    "png",
    "histogram",
    "row",
}
ESTIMATED |= {name for name in KIND if name.startswith("atoms_")}
PAIRS = {  # option: the command without it, and with it
    "--voxel-size": (EVERYTHING, (*EVERYTHING, "--voxel-size", 1.5)),
    "--half-maps": ([w for w in EVERYTHING if w not in HALF_MAPS], EVERYTHING),
    "--directions": (("map.mrc.gz", *HALF_MAPS, "--report"), ("map.mrc.gz", *DIRECTIONS, "--report")),
    "--criterion": (EVERYTHING, (*EVERYTHING, "--criterion", "0.5")),
    "--method": (
        ("noisy.mrc.gz", *ALL[1:], "--chimerax"),
        ("noisy.mrc.gz", *ALL[1:], "--chimerax", "--method", "statistical"),
    ),
    "--model": (EVERYTHING, (*EVERYTHING, "--model", "other.onnx")),
    "--device": (EVERYTHING, (*EVERYTHING, "--device", "cpu")),
    "--threads": (EVERYTHING, (*EVERYTHING, "--threads", 2)),
    "--atoms": (("map.mrc.gz", *ALL), ("map.mrc.gz", *ALL, *ATOMS)),
    "--atoms-model": ([w for w in EVERYTHING if w != "--atoms-model"], EVERYTHING),
    **{option: ([w for w in EVERYTHING if w != option], EVERYTHING) for option in ALL},
    "--range": (EVERYTHING, (*EVERYTHING, "--range", "2,9")),
    "--range-from": (EVERYTHING, (*EVERYTHING, "--range-from", "finished.csv")),
    "--output-dir": (("map.mrc", *ALL), ("map.mrc", *ALL, "-o", "out")),
    "--maps-from": (("map.mrc.gz", *ALL), ("--maps-from", "list.txt", *ALL)),
    "--table": (("map.mrc.gz", *ALL), ("map.mrc.gz", *ALL, "--table", "all.jsonl")),
    "--shard": (FROM_LIST, (*FROM_LIST, "--shard", "1/1")),
    "--json": (FEW, (*FEW, "--json")),
    "--quiet": (FEW, (*FEW, "-q")),
    "--overwrite": (FEW, (*FEW, "--overwrite")),
}
WITHOUT_RECORD = {"--maps-from", "--table", "--shard"}  # options that make a record, or name it
PRINT_ONLY = {"--version", "--check"}


def rows_of_the_page():
    """Options, and the names in the second and third column."""
    page = (ROOT / "docs" / "outputs.md").read_text("utf-8").split("## Options and the files")[1].split("\n## ")[0]
    for line in page.splitlines():
        if line.startswith("| `--"):
            options, adds, changes = line.split("|")[1:4]
            for option in re.findall(r"`(--[\w-]+)`", options):
                yield option, (set(re.findall(r"`(\w+)`", adds)), set(re.findall(r"`(\w+)`", changes)))


PAGE = dict(rows_of_the_page())


def stated(option):
    """Files that the page says an option adds and changes."""
    adds, changes = PAGE[option]
    return adds, changes - {"estimated"} | (ESTIMATED if "estimated" in changes else set())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The inputs, and the results of the commands that were run."""
    folder = tmp_path_factory.mktemp("options")
    inputs = folder / "inputs"
    inputs.mkdir()
    source = read_map(MAP)
    (inputs / "map.mrc").write_bytes(gzip.decompress(MAP.read_bytes()))
    shutil.copy(MAP, inputs / "map.mrc.gz")
    (inputs / "noisy.mrc.gz").write_bytes(gzip.compress(NOISY_MAP.read_bytes()))
    (inputs / "list.txt").write_text("map.mrc.gz\n")
    values, rng = source.density.values, np.random.default_rng(0)
    for name in ("half1.mrc", "half2.mrc"):
        noisy = values + 0.3 * values.std() * rng.normal(size=values.shape)
        fields = {"origin": source.header.origin}
        save(inputs / name, noisy, voxel_size=source.density.grid.voxel_size[0], fields=fields)
    write_model(inputs / "model.pdb", source)
    (inputs / "finished.csv").write_text(
        ",".join(COLUMNS) + "\n" + "m.mrc,done,5,2,4,5,6,9" + "," * (len(COLUMNS) - 8) + "\n"
    )
    changed, count = re.subn(
        rb'("mask_threshold": 0\.)(\d)', lambda m: m[1] + b"%d" % (9 - int(m[2])), shipped_model().read_bytes()
    )
    assert count == 1
    (inputs / "other.onnx").write_bytes(changed)
    return folder


def write_model(path, source):
    """Atoms at some of the strongest voxels; the voxel size that is passed moves the map by less than its length."""
    values, voxel_size = source.density.values, source.density.grid.voxel_size
    strong = np.argwhere(values > np.quantile(values, 0.97))[::40]
    start = np.array(first_voxel(source.header, voxel_size, MAP))
    lines = []
    for n, position in enumerate(strong[:, ::-1] * voxel_size[0] + start, 1):
        x, y, z = position
        lines.append(f"ATOM  {n:5}  CA  ALA A{n:4}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           C")
    path.write_text("\n".join((*lines, "END", "")))


@cache
def files_of(folder, words):
    """Run the command beside links to the inputs: the content of each new file by its name, without times."""
    here = folder / f"run{len(list(folder.iterdir()))}"
    here.mkdir()
    inputs = {path.name for path in (folder / "inputs").iterdir()}
    for name in inputs:
        (here / name).hardlink_to(folder / "inputs" / name)
    threads = () if "--threads" in words else ("-j", 1)
    finished = run(*words, *threads, *(() if "--json" in words or "-q" in words else ("--json",)), cwd=here)
    assert finished.returncode == 0, finished.stderr
    found = {}
    for path in sorted(here.rglob("*")):
        if path.is_file() and path.name not in inputs:
            found[kind_of(path.name)] = without_times(path)
    if finished.stdout.startswith("{"):
        found["row"] = TIMES.sub(r'"\1": 0', finished.stdout)
    return found


def kind_of(name):
    if name.startswith("all"):
        return name
    kinds = [kind for kind in KIND.values() if name.endswith(kind.suffix)]
    return max(kinds, key=lambda kind: len(kind.suffix)).name if kinds else "record" if name.endswith(".json") else name


def without_times(path):
    content = path.read_bytes()
    return (
        content if path.suffix in (".mrc", ".png") else TIME_ON_PAGE.sub(r"\1", TIMES.sub(r'"\1": 0', content.decode()))
    )


def difference(before, after):
    """Names of the files that were added, and of those that changed; the copies of the row are left out."""
    added = {"table" if name.startswith("all") else name for name in after.keys() - before.keys()}
    common = (before.keys() & after.keys()) - {"record", "rows.jsonl"}
    changed = {name for name in common if before[name] != after[name]}
    removed = before.keys() - after.keys()
    return added, changed | removed


def test_the_page_names_every_option_of_the_command_and_no_other():
    parameters = typer.main.get_command(app).params
    named = [PAGE.keys() & set(parameter.opts) for parameter in parameters if parameter.param_type_name == "option"]
    assert all(len(options) == 1 for options in named)
    assert set.union(*named) == set(PAGE) == set(PAIRS) | PRINT_ONLY
    names = set.union(*(adds | changes for adds, changes in PAGE.values()))
    assert names <= {*KIND, "row", "record", "table", "estimated"}


def test_options_that_only_print_are_not_said_to_make_files():
    assert all(PAGE[option] == (set(), set()) for option in PRINT_ONLY)


@pytest.mark.slow
@pytest.mark.parametrize("option", sorted(PAIRS))
def test_an_option_adds_and_changes_the_files_that_the_page_names(folder, option):
    pytest.importorskip("gemmi")
    record = () if option in WITHOUT_RECORD else ("--table", "rows.jsonl")
    before, after = (files_of(folder, (*words, *record)) for words in PAIRS[option])
    adds, changes = stated(option)
    added, changed = difference(before, after)
    if option == "--half-maps":
        adds -= {"average"}  # written without a map
    if option in ("--json", "--quiet"):
        added, changed = added - {"row"}, changed - {"row"}  # printed, not written
    if option == "--method":
        changes -= {"uncertainty", *(name for name in KIND if name.startswith("atoms_"))}  # not requested
    if option == "--shard":
        assert (added, changed) == ({"table"}, {"all.jsonl"})
    elif option in ("--device", "--threads"):
        check_equal_values(before, after)
        assert changed <= ESTIMATED | {"locres_fsc", "difference", "filtered_fsc"}
        assert ("report" in changed) == (option == "--threads")
        assert added == set()
    else:
        assert (added, changed) == (adds, changes)
    if option not in WITHOUT_RECORD:  # a later run keeps the files of a record only if its key is the same
        keys = [json.loads(made["record"])["key"] for made in (before, after)]
        is_same = not adds | changes or option in ("--device", "--threads", "--output-dir")
        assert (keys[0] == keys[1]) == is_same


def check_equal_values(before, after):
    for name, content in before.items():
        if isinstance(content, bytes) and KIND[name].suffix.endswith(".mrc"):
            first, second = (np.frombuffer(data[1024:], np.float32) for data in (content, after[name]))
            np.testing.assert_allclose(first, second, atol=MAX_DIFFERENCE)


@pytest.mark.slow
def test_half_maps_without_a_map_add_their_average(folder):
    assert "average" in files_of(folder, (*HALF_MAPS, *ALL))
