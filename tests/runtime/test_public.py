"""What the package shows of itself, and what it does not load before it is needed."""

import importlib.metadata

import pytest

import cryores_lite
from tests.runtime.command import python

HEAVY = {"gemmi", "matplotlib", "mrcfile", "numpy", "onnxruntime", "scipy", "skimage", "torch"}


def test_the_public_names_are_these_and_all_load():
    names = {"CryoresError", "FileResult", "LocalResolution", "Model", "__version__"}
    names |= {"estimate", "estimate_file", "plot", "read_map", "write_map"}
    assert set(cryores_lite.__all__) == set(dir(cryores_lite)) == names
    assert isinstance(cryores_lite.__version__, str)
    for name in names - {"__version__"}:
        assert getattr(cryores_lite, name).__name__ == name
        assert getattr(cryores_lite, name).__doc__


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'predict'"):
        cryores_lite.predict  # noqa: B018


def test_the_installed_version_is_the_one_in_the_source():
    try:
        installed = importlib.metadata.version("cryores-lite")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("run from a checkout, not installed")
    assert installed == cryores_lite.__version__


@pytest.mark.parametrize(
    "module", ["cryores_lite", "cryores_lite.cli", "cryores_lite.errors", "cryores_lite.integrations.relion"]
)
def test_importing_loads_nothing_heavy(module):
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = python(code, check=True).stdout.split()
    assert not HEAVY & set(loaded)


def test_the_runtime_never_loads_torch_nor_a_pipeliner():
    code = "import sys; from cryores_lite import *; import cryores_lite.integrations.relion; print(*sys.modules)"
    loaded = python(code, check=True).stdout.split()
    assert "onnxruntime" in loaded
    assert not {"torch", "training", "export", "pipeliner", "cryores_lite.integrations.doppio"} & set(loaded)
