"""docs/architecture.md describes the package as it is, and the paths that README and docs name exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PAGES = ("README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))
FOLDERS = "benchmarks|conda|cryores_lite|docs|examples|export|models|plugins|tests|training"


def described_files():
    """Files of the package in the tables of the page, by the folder in the heading above the table."""
    folder, files = None, set()
    for line in ARCHITECTURE.split("## What each file holds")[1].splitlines():
        if heading := re.match(r"### `(cryores_lite/[\w/]*)`", line):
            folder = heading[1]
        elif line.startswith("### "):
            folder = None
        elif folder and (cell := re.match(r"\| (`.*?) \|", line)):
            files |= {folder + name for name in re.findall(r"`([^`]+)`", cell[1])}
    return files


def test_every_module_is_described_and_every_described_file_exists():
    described = described_files()
    modules = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "cryores_lite").rglob("*.py")
        if path.name != "__init__.py"
    }
    assert sorted(modules - described) == []
    assert [name for name in sorted(described) if not (ROOT / name).exists()] == []


def test_the_page_draws_the_layers_that_the_test_of_imports_uses():
    tree = ast.parse((ROOT / "tests" / "runtime" / "test_layers.py").read_text(encoding="utf-8"))
    (layers,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LAYERS"
    )
    drawing = re.search(r"^```\n(.*?)^```$", ARCHITECTURE, re.MULTILINE | re.DOTALL)[1]
    drawn = [tuple(re.findall(r"\w+", line[:36])) for line in drawing.splitlines()]
    assert [set(layer) for layer in drawn] == [set(layer) for layer in layers]


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_a_page_names_exists(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    paths = set(re.findall(rf"`((?:{FOLDERS})/[\w./]*)`", text))
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
