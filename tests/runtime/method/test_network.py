"""A model is opened only with a usable contract, and no code of the project unpickles anything."""

import ast
import json
from pathlib import Path

import pytest

import cryores_lite
from cryores_lite.errors import ModelError
from cryores_lite.method.network import Model, shipped_model
from tests.runtime.paths import ROOT

PACKAGE = Path(cryores_lite.__file__).parent
FOLDERS = [
    PACKAGE,
    *(folder for name in ("training", "export", "benchmarks", "examples") if (folder := ROOT / name).is_dir()),
]
UNPICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def model_with(path, **changes):
    """The shipped model with other values in its contract, in a file of the same size."""
    model = shipped_model().read_bytes()
    start = model.index(b'{"name"')
    contract, length = json.JSONDecoder().raw_decode(model[start : start + 4000].decode("latin-1"))
    changed = json.dumps({**contract, "training": "", **changes}).encode().ljust(length)
    assert len(changed) == length
    path.write_bytes(model[:start] + changed + model[start + length :])
    return path


def test_a_model_with_another_valid_contract_is_opened(tmp_path):
    model = Model.open(model_with(tmp_path / "m.onnx", doubt_scale=2.5), device="cpu", threads=1)
    assert model.spec.doubt_scale == 2.5


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tile", 9e9),
        ("tile", 513),
        ("halo", float("nan")),
        ("halo", 31),
        ("doubt_scale", float("inf")),
        ("error_scales", [1.0, 1.0]),
        ("error_scales", 1.0),
        ("error_scales", [1.0, 1.0, 1.0, 1.0, "1"]),
        ("doubt_power", "1"),
        ("name", 123456789),
    ],
)
def test_a_contract_with_unusable_values_is_refused(tmp_path, key, value):
    with pytest.raises(ModelError, match="contract") as error:
        Model.open(model_with(tmp_path / "m.onnx", **{key: value}), device="cpu", threads=1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["conditioning", "evidence", "channels", "context"])
def test_a_model_of_another_version_is_refused(tmp_path, key):
    with pytest.raises(ModelError, match="another version"):
        Model.open(model_with(tmp_path / "m.onnx", **{key: 3}), device="cpu", threads=1)


def test_a_model_file_is_checked_before_it_is_opened(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"this is not a model")
    with pytest.raises(ModelError, match="ONNX"):
        Model.open(tmp_path / "m.onnx", device="cpu", threads=1)


def calls(tree, name):
    """Keyword arguments, as text, of every call of a function of a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and ast.unparse(node.func) == name:
            yield {word.arg: ast.unparse(word.value) for word in node.keywords}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_nothing_is_ever_unpickled(folder):
    paths = list(folder.rglob("*.py"))
    assert paths
    for path in paths:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert not UNPICKLERS & {name.name.split(".")[0] for name in node.names}, path
            if isinstance(node, ast.ImportFrom) and node.module:
                assert node.module.split(".")[0] not in UNPICKLERS, path
        assert all(words.get("weights_only") == "True" for words in calls(tree, "torch.load")), path
        assert all(words.get("allow_pickle", "False") == "False" for words in calls(tree, "np.load")), path
