"""What a model file holds, looked at before any library opens it: whole, on its own, and of standard operators.

An ONNX file is a protocol buffer. Its skeleton is walked, its weights are not looked at.
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cryores_lite.errors import ModelError

LARGEST = 256_000_000  # bytes; ours have 8 million
PARTS = {  # of a message: the fields that are messages which may hold a tensor or a node
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
DOMAIN, EXTERNAL_DATA, DATA_LOCATION = 7, 13, 14  # fields of a node and of a tensor
STANDARD = (b"", b"ai.onnx")
FIXED = {1: 8, 5: 4}  # bytes of a number, by its wire type


def read(file: Path) -> bytes:
    """Read a model file that can be opened without reading anything else.

    Raises
    ------
    ModelError
        It is missing, too large, cut short or something else, or refers to other files or to operators of others.
    """
    try:
        size = file.stat().st_size if file.is_file() else None
        data = file.read_bytes() if size is not None and size <= LARGEST else b""
    except OSError as error:
        raise _refusal(file, error.strerror, "check --model") from error
    if size is None:
        raise _refusal(file, "no regular file" if file.exists() else "no such file", "check --model")
    if size > LARGEST:
        raise _refusal(file, f"{size / 1e6:.0f} MB", "pass the file that this project's export wrote")
    if data.startswith(b"version https://git-lfs"):
        raise _refusal(file, "a Git LFS pointer, not the file itself", "run git lfs pull, or reinstall cryores-lite")
    try:
        trouble = next(troubles(data), None)
    except ValueError as error:
        raise _refusal(file, f"{error} ({size} bytes)", "reinstall cryores-lite or fetch the file again") from None
    if trouble:
        raise _refusal(file, trouble, "pass a file that this project's export wrote")
    return data


def troubles(data: bytes) -> Iterator[str]:
    """Name what would be read or run from elsewhere.

    Raises
    ------
    ValueError
        This is no whole ONNX file.
    """
    parts, graphs = [("model", memoryview(data))], 0
    while parts:
        kind, part = parts.pop()
        graphs += kind == "graph"
        for field, value in _fields(part):
            if field in PARTS[kind] and isinstance(value, memoryview):
                parts.append((PARTS[kind][field], value))
            elif kind == "tensor" and (field == EXTERNAL_DATA or (field == DATA_LOCATION and value)):
                yield "weights in another file"
            elif kind == "node" and field == DOMAIN and _text(value) not in STANDARD:
                yield "an operator that is not of the ONNX standard"
    if not graphs:
        raise ValueError("no network in it")


def _fields(part: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Numbers and values of a message's fields: bytes as a view, numbers as such."""
    at = 0
    while at < len(part):
        key, at = _number(part, at)
        wire = key & 7
        if wire == 0:
            value, at = _number(part, at)
            yield key >> 3, value
            continue
        if wire == 2:
            size, at = _number(part, at)
        elif wire in FIXED:
            size = FIXED[wire]
        else:
            raise ValueError("no ONNX file")
        if at + size > len(part):
            raise ValueError("a file that is cut short, or no ONNX file")
        yield key >> 3, part[at : at + size]
        at += size


def _text(value: memoryview | int) -> bytes:
    return b"?" if isinstance(value, int) else bytes(value)


def _number(part: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for place in range(10):
        if at + place >= len(part):
            raise ValueError("a file that is cut short, or no ONNX file")
        byte = part[at + place]
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            return value, at + place + 1
    raise ValueError("no ONNX file")


def _refusal(file: Path, found: object, try_: str) -> ModelError:
    return ModelError(
        f"cannot use the model {file}", found=found, expected="one whole ONNX file of this project's export", try_=try_
    )
