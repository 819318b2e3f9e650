"""Every command of ours, and every piece of Python, in README and docs does what it says: it runs, and ends with 0.

What takes hours, or needs a card, is not run: its options are looked up. What installs something is run by .ci/readme
and .ci/install, and not at all where it needs RELION, Doppio or a card; Slurm's commands are run by tests/slurm.
"""

import gzip
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from cryores_lite import read_map

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "example_map.mrc"
TOURS = ("docs/tutorial.md", "docs/cluster.md")  # read from top to bottom
LISTS = ("README.md", "docs/outputs.md")  # each line by itself
OURS = ("cryores-lite", "ls examples/")
PAGES = ("README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))
LONG = r"(?:cryores-lite(?:-gather)?|python -m (?:benchmarks|export|tests|training)[.\w]*) [^`\n]*--[^`\n]*"


def blocks(page, language):
    return re.findall(
        rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def lines(page):
    return [line for block in blocks(page, "sh") for line in block.splitlines() if line.startswith(OURS)]


def not_run():
    """Commands with options in the pages that are not followed, in blocks and in the text."""
    for page in set(PAGES) - {*TOURS, *LISTS}:
        for command in re.findall(LONG, (ROOT / page).read_text(encoding="utf-8")):
            yield page, command.split(" #")[0]


def known(program):
    """The text that names a program's options: its help if it is the installed one, else its source."""
    if program.startswith("cryores-lite"):
        return run([program, "--help"], ROOT)
    path = ROOT / program.replace(".", "/")
    sources = path.glob("*.py") if path.is_dir() else [path.with_suffix(".py")]
    return "".join(source.read_text(encoding="utf-8") for source in sources)


def run(words, folder):
    finished = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert finished.returncode == 0, f"{words}\n{finished.stdout}{finished.stderr}"
    return finished.stdout


def write_model(path):
    """A residue of one atom where the density is highest."""
    gemmi = pytest.importorskip("gemmi")
    found = read_map(EXAMPLE)
    values, grid = found.density.values, found.density.grid
    z, y, x = (
        n * step for n, step in zip(divmod_all(int(values.argmax()), values.shape), grid.voxel_size, strict=True)
    )
    structure, model, chain, residue, atom = (
        gemmi.Structure(),
        gemmi.Model(1),
        gemmi.Chain("A"),
        gemmi.Residue(),
        gemmi.Atom(),
    )
    residue.name, residue.seqid = "GLY", gemmi.SeqId(1, " ")
    atom.name, atom.element = "CA", gemmi.Element("C")
    atom.pos = gemmi.Position(*(a + b for a, b in zip((x, y, z), found.header.origin, strict=True)))
    residue.add_atom(atom)
    chain.add_residue(residue)
    model.add_chain(chain)
    structure.add_model(model)
    structure.make_mmcif_document().write_file(str(path))


def write_halves(folder, pairs):
    """Half maps of the example: the map, and noise of its own in each half."""
    rng = np.random.default_rng(0)
    for names in pairs:
        for name in names:
            shutil.copy(EXAMPLE, folder / name)
            with mrcfile.open(folder / name, "r+") as file:
                file.data[:] += file.data.std() * rng.standard_normal(file.data.shape, np.float32)


def divmod_all(number, shape):
    """Indices of an element by its place in memory."""
    _, b, c = shape
    return number // (b * c), number // c % b, number % c


@pytest.fixture
def folder(tmp_path, commands):
    """A folder with the files that the pages speak of, and our commands on the PATH."""
    work = tmp_path / "work"
    shutil.copytree(EXAMPLE.parent, work / "examples")
    for name in ("map.mrc", "a.mrc", "NAME.mrc"):
        shutil.copy(EXAMPLE, work / name)
    write_halves(work, (("h1.mrc", "h2.mrc"), ("NAME_half1.mrc", "NAME_half2.mrc")))
    (work / "b.map.gz").write_bytes(gzip.compress(EXAMPLE.read_bytes()))
    (work / "LIST").write_text("a.mrc\nb.map.gz\n")
    return work


@pytest.mark.parametrize("page", TOURS)
def test_a_page_can_be_followed_from_top_to_bottom(folder, page):
    steps = re.findall(
        r"^```(sh|python)\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert steps
    for language, step in steps:
        run(["sh", "-eu", "-c", step] if language == "sh" else [sys.executable, "-c", step], folder)


@pytest.mark.parametrize("line", [line for page in LISTS for line in lines(page)])
def test_a_command_runs(folder, line):
    if "--atoms" in line:
        write_model(folder / "model.cif")
    if "jq" in line and not shutil.which("jq"):
        pytest.skip("jq is not installed here")
    run(["sh", "-eu", "-c", line], folder)


@pytest.mark.parametrize("page", LISTS)
def test_python_runs(folder, page):
    if "plot(" in "".join(blocks(page, "python")):
        pytest.importorskip("matplotlib")
    run(["cryores-lite", "NAME.mrc", "-q"], folder)
    assert blocks(page, "python")
    for block in blocks(page, "python"):
        run([sys.executable, "-c", block], folder)


@pytest.mark.parametrize(("page", "command"), sorted(not_run()))
def test_a_command_that_is_not_run_names_options_that_there_are(commands, page, command):
    words = command.removeprefix("python -m ").split()
    there = known(words[0])
    for option in filter(lambda word: word.startswith("--"), words):
        assert re.search(rf"{option}\b(?!-)", there), f"{page}: {words[0]} knows no {option}"


def test_every_link_between_pages_leads_somewhere():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
