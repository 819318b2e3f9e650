"""The conda recipe and the workstation's environment say what pyproject.toml says."""

import re
from pathlib import Path

import pytest

import cryores_lite

ROOT = Path(__file__).parents[2]
yaml = pytest.importorskip("yaml")
tomllib = pytest.importorskip("tomllib")
CONDA_NAMES = {"matplotlib": "matplotlib-base"}


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def recipe():
    """With its variables filled in."""
    text = (ROOT / "conda" / "recipe.yaml").read_text(encoding="utf-8")
    variants = yaml.safe_load((ROOT / "conda" / "variants.yaml").read_text(encoding="utf-8"))
    context = {**yaml.safe_load(text)["context"], "python_min": variants["python_min"][0]}
    return yaml.safe_load(re.sub(r"\$\{\{ (version|python_min) \}\}", lambda m: context[m[1]], text))


def bounds(words):
    """Lower bound by name, of pip's or conda's words."""
    found = (re.fullmatch(r"([\w-]+) ?>=([\d.]+)", word) for word in words)
    return {CONDA_NAMES.get(m[1], m[1]): m[2] for m in found}


def test_the_recipe_needs_and_installs_what_the_project_does(project, recipe):
    needed = bounds(recipe["requirements"]["run"])
    assert f">={needed.pop('python')}" == project["requires-python"]
    assert needed == bounds(project["dependencies"])
    scripts = dict(line.split(" = ") for line in recipe["build"]["python"]["entry_points"])
    assert scripts == project["scripts"]
    extras = [*project["optional-dependencies"]["atoms"], *project["optional-dependencies"]["plot"]]
    assert bounds(recipe["requirements"]["run_constraints"]) == bounds(extras)


def test_the_recipe_is_about_this_project_in_this_version(project, recipe):
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (recipe["schema_version"], recipe["package"]["name"]) == (1, project["name"])
    assert recipe["package"]["version"] == citation["version"] == cryores_lite.__version__
    assert (recipe["about"]["summary"], recipe["about"]["license"]) == (project["description"], project["license"])


def test_the_workstation_gets_the_same_and_the_extras(project):
    words = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    found = bounds(word for word in words if isinstance(word, str) and word != "pip")
    extras = [*project["optional-dependencies"]["atoms"], *project["optional-dependencies"]["plot"]]
    assert found == {**bounds(project["dependencies"]), **bounds(extras), "python": project["requires-python"][2:]}
    assert words[-1] == {"pip": ["."]}
