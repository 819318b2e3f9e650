"""A model file is read only if it is complete, self-contained and of standard operators."""

import os

import pytest

from cryores_lite.errors import ModelError
from cryores_lite.method import onnx_file
from cryores_lite.method.network import shipped_model


def message(number, payload):
    """A field of a protocol buffer that holds bytes."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def varint(value):
    """A variable-length integer of a protocol buffer."""
    out = []
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def refusal(path):
    with pytest.raises(ModelError) as error:
        onnx_file.read(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_shipped_model_is_complete_and_self_contained():
    assert list(onnx_file.violations(onnx_file.read(shipped_model()))) == []


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
    "text": (b"this is not a model", "ONNX"),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_file_that_would_read_or_run_something_else_is_refused(tmp_path, name):
    content, reason = GRAPHS[name]
    (tmp_path / "m.onnx").write_bytes(content)
    assert reason in refusal(tmp_path / "m.onnx")


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.9999999])
def test_a_truncated_model_is_named_as_such(tmp_path, share):
    model = shipped_model().read_bytes()
    (tmp_path / "m.onnx").write_bytes(model[: int(share * len(model))])
    assert "truncated" in refusal(tmp_path / "m.onnx")


def test_a_git_lfs_pointer_is_refused_with_the_command_to_run(tmp_path):
    (tmp_path / "m.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 8381258\n")
    assert "git lfs pull" in refusal(tmp_path / "m.onnx")


def test_missing_irregular_and_large_files_are_refused_without_reading(tmp_path):
    assert "no such file" in refusal(tmp_path / "m.onnx")
    os.mkfifo(tmp_path / "pipe.onnx")
    assert "not a regular file" in refusal(tmp_path / "pipe.onnx")
    assert "not a regular file" in refusal(tmp_path)
    (tmp_path / "large.onnx").touch()
    os.truncate(tmp_path / "large.onnx", 10**12)
    assert "1000000 MB" in refusal(tmp_path / "large.onnx")
