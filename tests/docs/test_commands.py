"""Commands and Python code in README and docs run and exit with 0.

Of commands that take hours or need a GPU only the options are checked. Installation commands are run by .ci/readme and
.ci/install, unless they need RELION, Doppio or a GPU; Slurm commands are run by tests/slurm.
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
TUTORIALS = ("docs/tutorial.md", "docs/cluster.md")  # each command continues from the one before
REFERENCES = ("README.md", "docs/outputs.md")  # each command runs by itself
COMMANDS = ("cryores-lite", "ls examples/")
PAGES = ("README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))
COMMAND_WITH_OPTIONS = (
    r"(?:cryores-lite(?:-compare|-gather)?|python -m (?:benchmarks|export|tests|training)[.\w]*) [^`\n]*--[^`\n]*"
)


def code_blocks(page, language):
    return re.findall(
        rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def commands_of(page):
    return [line for block in code_blocks(page, "sh") for line in block.splitlines() if line.startswith(COMMANDS)]


def commands_not_run():
    """Commands with options on all other pages, in code blocks and in the text."""
    for page in set(PAGES) - {*TUTORIALS, *REFERENCES}:
        for command in re.findall(COMMAND_WITH_OPTIONS, (ROOT / page).read_text(encoding="utf-8")):
            yield page, command.split(" #")[0]


def option_text(program):
    """The text with a program's options: the help of an installed command, else the source code."""
    if program.startswith("cryores-lite"):
        return run([program, "--help"], ROOT)
    path = ROOT / program.replace(".", "/")
    sources = path.glob("*.py") if path.is_dir() else [path.with_suffix(".py")]
    return "".join(source.read_text(encoding="utf-8") for source in sources)


def run(command, folder):
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert finished.returncode == 0, f"{command}\n{finished.stdout}{finished.stderr}"
    return finished.stdout


def write_model(path):
    """Write a model of one atom at the highest density."""
    gemmi = pytest.importorskip("gemmi")
    source = read_map(EXAMPLE)
    values, grid = source.density.values, source.density.grid
    highest = np.unravel_index(values.argmax(), values.shape)
    z, y, x = (float(n * length) for n, length in zip(highest, grid.voxel_size, strict=True))
    structure, model, chain, residue, atom = (
        gemmi.Structure(),
        gemmi.Model(1),
        gemmi.Chain("A"),
        gemmi.Residue(),
        gemmi.Atom(),
    )
    residue.name, residue.seqid = "GLY", gemmi.SeqId(1, " ")
    atom.name, atom.element = "CA", gemmi.Element("C")
    atom.pos = gemmi.Position(*(a + b for a, b in zip((x, y, z), source.header.origin, strict=True)))
    residue.add_atom(atom)
    chain.add_residue(residue)
    model.add_chain(chain)
    structure.add_model(model)
    structure.make_mmcif_document().write_file(str(path))


def write_half_maps(folder, pairs):
    """Write half maps of the example: the map with independent noise in each half."""
    rng = np.random.default_rng(0)
    for names in pairs:
        for name in names:
            shutil.copy(EXAMPLE, folder / name)
            with mrcfile.open(folder / name, "r+") as file:
                file.data[:] += file.data.std() * rng.standard_normal(file.data.shape, np.float32)


@pytest.fixture
def folder(tmp_path, commands):
    """A folder with the files that the pages mention; the commands are on the PATH."""
    work = tmp_path / "work"
    shutil.copytree(EXAMPLE.parent, work / "examples")
    for name in ("map.mrc", "a.mrc", "NAME.mrc", "before.mrc", "after.mrc"):
        shutil.copy(EXAMPLE, work / name)
    write_half_maps(work, (("h1.mrc", "h2.mrc"), ("NAME_half1.mrc", "NAME_half2.mrc")))
    (work / "b.map.gz").write_bytes(gzip.compress(EXAMPLE.read_bytes()))
    (work / "LIST").write_text("a.mrc\nb.map.gz\n")
    return work


@pytest.mark.parametrize("page", TUTORIALS)
def test_a_tutorial_can_be_followed_from_top_to_bottom(folder, page):
    blocks = re.findall(
        r"^```(sh|python)\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert blocks
    for language, code in blocks:
        run(["sh", "-eu", "-c", code] if language == "sh" else [sys.executable, "-c", code], folder)


@pytest.mark.parametrize("page", REFERENCES)
def test_a_reference_page_has_commands(page):
    assert commands_of(page)


@pytest.mark.parametrize("command", [command for page in REFERENCES for command in commands_of(page)])
def test_a_command_runs(folder, command):
    if "--atoms" in command:
        write_model(folder / "model.cif")
    if "jq" in command and not shutil.which("jq"):
        pytest.skip("jq is not installed here")
    run(["sh", "-eu", "-c", command], folder)


@pytest.mark.parametrize("page", REFERENCES)
def test_python_code_runs(folder, page):
    if "plot(" in "".join(code_blocks(page, "python")):
        pytest.importorskip("matplotlib")
    run(["cryores-lite", "NAME.mrc", "-q"], folder)
    assert code_blocks(page, "python")
    for block in code_blocks(page, "python"):
        run([sys.executable, "-c", block], folder)


@pytest.mark.parametrize(("page", "command"), sorted(commands_not_run()))
def test_a_command_that_is_not_run_has_existing_options(commands, page, command):
    program, *arguments = command.removeprefix("python -m ").split()
    text = option_text(program)
    for option in filter(lambda argument: argument.startswith("--"), arguments):
        assert re.search(rf"{option}\b(?!-)", text), f"{page}: {program} does not have {option}"


def test_every_link_between_pages_has_a_target():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
