"""A model file is opened only if it is whole, on its own and of this program; nothing is ever unpickled."""

import ast
import os
from pathlib import Path

import pytest

from cryores_lite.errors import ModelError
from cryores_lite.method import onnx_file as onnxfile
from cryores_lite.method.network import Model, shipped

ROOT = Path(__file__).resolve().parents[3]
ROOMS = [Path(onnxfile.__file__).parents[1]]
ROOMS += [ROOT / name for name in ("training", "export", "benchmarks", "examples") if (ROOT / name).is_dir()]
UNPICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def message(number, payload):
    """A field of a protocol buffer that holds bytes."""
    size, head = len(payload), [number << 3 | 2]
    head[:] = varint(number << 3 | 2)
    return bytes(head + varint(size)) + payload


def varint(value):
    out = []
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return [*out, value]


def refused(path):
    with pytest.raises(ModelError) as error:
        Model.open(path, device="cpu", threads=1)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_shipped_model_is_whole_and_on_its_own():
    assert list(onnxfile.troubles(onnxfile.read(shipped()))) == []


TENSOR = message(8, b"w") + message(13, message(1, b"location") + message(2, b"../../etc/passwd")) + bytes([14 << 3, 1])
FOREIGN = message(4, b"Evil") + message(7, b"com.example")
GRAPHS = {
    "a weight elsewhere": (message(7, message(5, TENSOR)), "another file"),
    "a sparse weight elsewhere": (message(7, message(15, message(1, TENSOR))), "another file"),
    "a constant elsewhere": (message(7, message(1, message(5, message(5, TENSOR)))), "another file"),
    "one in a branch": (message(7, message(1, message(5, message(6, message(5, TENSOR))))), "another file"),
    "one in a function": (message(7, b"") + message(25, message(7, message(5, message(5, TENSOR)))), "another file"),
    "a foreign operator": (message(7, message(1, FOREIGN)), "not of the ONNX standard"),
    "a foreign operator in a function": (message(7, b"") + message(25, message(7, FOREIGN)), "ONNX standard"),
    "no graph": (message(2, b"name"), "no network"),
    "nothing": (b"", "no network"),
    "text": (b"this is no model at all", "ONNX"),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_what_would_read_or_run_something_else_is_refused(tmp_path, name):
    content, says = GRAPHS[name]
    (tmp_path / "m.onnx").write_bytes(content)
    assert says in refused(tmp_path / "m.onnx")


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.9999999])
def test_a_model_that_is_cut_short_is_said_to_be(tmp_path, share):
    whole = shipped().read_bytes()
    (tmp_path / "m.onnx").write_bytes(whole[: int(share * len(whole))])
    assert "cut short" in refused(tmp_path / "m.onnx")


def test_a_pointer_of_git_lfs_says_what_to_do(tmp_path):
    (tmp_path / "m.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 8381258\n")
    assert "git lfs pull" in refused(tmp_path / "m.onnx")


def test_what_is_no_file_or_too_large_is_refused_without_reading(tmp_path):
    assert "no such file" in refused(tmp_path / "m.onnx")
    os.mkfifo(tmp_path / "pipe.onnx")
    assert "no regular file" in refused(tmp_path / "pipe.onnx")
    assert "no regular file" in refused(tmp_path)
    (tmp_path / "large.onnx").touch()
    os.truncate(tmp_path / "large.onnx", 10**12)
    assert "1000000 MB" in refused(tmp_path / "large.onnx")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"tile": 256', b'"tile": 9e9'),
        (b'"halo": 32', b'"halo": NaN'),
        (b'"error_scale": 1.348', b'"error_scale": 1e999'),
        (b'"doubt_power": 1.2', b'"doubt_power": "1"'),
        (b'"name": "cryores"', b'"name": 123456789'),
    ],
)
def test_a_contract_with_senseless_numbers_is_refused(tmp_path, old, new):
    whole = shipped().read_bytes()
    if whole.count(old) != 1:
        pytest.skip("this model has another contract")
    (tmp_path / "m.onnx").write_bytes(whole.replace(old, new.ljust(len(old))))
    refused(tmp_path / "m.onnx")


def calls(tree, name):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and ast.unparse(node.func) == name:
            yield {word.arg: ast.unparse(word.value) for word in node.keywords}


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_nothing_is_ever_unpickled(room):
    for path in room.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert not UNPICKLERS & {name.name.split(".")[0] for name in node.names}, path
            if isinstance(node, ast.ImportFrom) and node.module:
                assert node.module.split(".")[0] not in UNPICKLERS, path
        assert all(words.get("weights_only") == "True" for words in calls(tree, "torch.load")), path
        assert all(words.get("allow_pickle", "False") == "False" for words in calls(tree, "np.load")), path
