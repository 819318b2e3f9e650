"""Check a model file before any library opens it: complete, self-contained, and of standard operators only.

An ONNX file is a protocol buffer. Its structure is parsed; its weights are skipped.
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cryores_lite.errors import ModelError

MAX_BYTES = 256_000_000  # the shipped model has 8 million bytes
NESTED_MESSAGES = {  # for each kind of message: numbers and kinds of fields that may hold a tensor or a node
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
DOMAIN, EXTERNAL_DATA, DATA_LOCATION = 7, 13, 14  # field numbers of a node (first) and of a tensor (others)
STANDARD_DOMAINS = (b"", b"ai.onnx")
FIXED_SIZES = {1: 8, 5: 4}  # bytes of a number, by its wire type


def read(file: Path) -> bytes:
    """Read a model file that refers to no other file.

    Raises
    ------
    ModelError
        It is missing, too large, truncated or not ONNX, or refers to other files or to non-standard operators.
    """
    try:
        size = file.stat().st_size if file.is_file() else None
        data = file.read_bytes() if size is not None and size <= MAX_BYTES else b""
    except OSError as error:
        raise _refusal(file, error.strerror, "check --model") from error
    if size is None:
        raise _refusal(file, "not a regular file" if file.exists() else "no such file", "check --model")
    if size > MAX_BYTES:
        raise _refusal(file, f"{size / 1e6:.0f} MB", "pass the file that this project's export wrote")
    if data.startswith(b"version https://git-lfs"):
        raise _refusal(file, "a Git LFS pointer, not the file itself", "run git lfs pull, or reinstall cryores-lite")
    try:
        violation = next(violations(data), None)
    except ValueError as error:
        raise _refusal(file, f"{error} ({size} bytes)", "reinstall cryores-lite or fetch the file again") from None
    if violation:
        raise _refusal(file, violation, "pass a file that this project's export wrote")
    return data


def violations(data: bytes) -> Iterator[str]:
    """Yield a description of each reference to another file or to a non-standard operator.

    Raises
    ------
    ValueError
        This is not a complete ONNX file.
    """
    messages, graphs = [("model", memoryview(data))], 0
    while messages:
        kind, message = messages.pop()
        graphs += kind == "graph"
        for field, value in _fields(message):
            if field in NESTED_MESSAGES[kind] and isinstance(value, memoryview):
                messages.append((NESTED_MESSAGES[kind][field], value))
            elif kind == "tensor" and (field == EXTERNAL_DATA or (field == DATA_LOCATION and value)):
                yield "weights in another file"
            elif kind == "node" and field == DOMAIN and _text(value) not in STANDARD_DOMAINS:
                yield "an operator that is not of the ONNX standard"
    if not graphs:
        raise ValueError("no network in the file")


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Yield number and value of every field of a message: bytes as a view, varints as int."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if wire == 2:
            size, at = _varint(message, at)
        elif wire in FIXED_SIZES:
            size = FIXED_SIZES[wire]
        else:
            raise ValueError("not an ONNX file")
        if at + size > len(message):
            raise ValueError("a truncated file, or not an ONNX file")
        yield key >> 3, message[at : at + size]
        at += size


def _text(value: memoryview | int) -> bytes:
    return b"?" if isinstance(value, int) else bytes(value)


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return the variable-length integer at an offset, and the offset after it."""
    value = 0
    for n in range(10):
        if at + n >= len(message):
            raise ValueError("a truncated file, or not an ONNX file")
        byte = message[at + n]
        value |= (byte & 127) << (7 * n)
        if byte < 128:
            return value, at + n + 1
    raise ValueError("not an ONNX file")


def _refusal(file: Path, found: object, try_: str) -> ModelError:
    return ModelError(
        f"cannot use the model {file}",
        found=found,
        expected="a complete ONNX file written by this project's export",
        try_=try_,
    )
