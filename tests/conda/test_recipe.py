"""The conda recipe and environment.yml agree with pyproject.toml."""

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
    """The recipe with its variables filled in."""
    text = (ROOT / "conda" / "recipe.yaml").read_text(encoding="utf-8")
    variants = yaml.safe_load((ROOT / "conda" / "variants.yaml").read_text(encoding="utf-8"))
    context = {**yaml.safe_load(text)["context"], "python_min": variants["python_min"][0]}
    return yaml.safe_load(re.sub(r"\$\{\{ (version|python_min) \}\}", lambda m: context[m[1]], text))


def lower_bounds(specifications):
    """Lower bounds by package name, from specifications of pip or conda."""
    matches = (re.fullmatch(r"([\w-]+) ?>=([\d.]+)", text) for text in specifications)
    return {CONDA_NAMES.get(m[1], m[1]): m[2] for m in matches}


def test_the_recipe_has_the_dependencies_and_commands_of_the_project(project, recipe):
    required = lower_bounds(recipe["requirements"]["run"])
    assert f">={required.pop('python')}" == project["requires-python"]
    assert required == lower_bounds(project["dependencies"])
    scripts = dict(line.split(" = ") for line in recipe["build"]["python"]["entry_points"])
    assert scripts == project["scripts"]
    extras = [*project["optional-dependencies"]["atoms"], *project["optional-dependencies"]["plot"]]
    assert lower_bounds(recipe["requirements"]["run_constraints"]) == lower_bounds(extras)


def test_the_recipe_describes_this_version_of_the_project(project, recipe):
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (recipe["schema_version"], recipe["package"]["name"]) == (1, project["name"])
    assert recipe["package"]["version"] == citation["version"] == cryores_lite.__version__
    assert (recipe["about"]["summary"], recipe["about"]["license"]) == (project["description"], project["license"])


def test_the_conda_environment_has_the_dependencies_and_extras_of_the_project(project):
    packages = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    required = lower_bounds(name for name in packages if isinstance(name, str) and name != "pip")
    extras = [*project["optional-dependencies"]["atoms"], *project["optional-dependencies"]["plot"]]
    expected = {**lower_bounds(project["dependencies"]), **lower_bounds(extras)}
    assert required == {**expected, "python": project["requires-python"][2:]}
    assert packages[-1] == {"pip": ["."]}
