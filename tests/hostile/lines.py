"""Command lines with other inputs than a map: lists, tables, models and half maps as other programs write them."""

import contextlib
import gzip
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from cryores_lite.batch import table
from cryores_lite.cli import app
from cryores_lite.io.mrc import read_map
from cryores_lite.io.text import BYTE_ORDER_MARK
from tests.hostile.attempts import fingerprint
from tests.hostile.catalogue import DONE, REFUSED, WARNED
from tests.hostile.files import GZ, density, mrc
from tests.runtime.batch.helpers import failed_row

MAX_DIFFERENCE = 1e-3  # Å
LIST = b"a.mrc\n"
PLACE = {"nxstart": 10, "nystart": -20, "nzstart": 30}
ORIGIN = {"origin_x": 15.0, "origin_y": -30.0, "origin_z": 45.0}  # the same place at 1.5 Å per voxel


@dataclass(frozen=True)
class Line:
    """A command line.

    Attributes
    ----------
    group, name : description
    words : the arguments
    files : the content of the input files by name
    outcome : REFUSED, WARNED or DONE
    message : a part of what is printed
    same : whether the result must equal that of the first line of the group
    """

    group: str
    name: str
    words: tuple[str, ...]
    files: dict[str, bytes | Callable[[], bytes]]
    outcome: str = DONE
    message: str = ""
    same: bool = True


def _with_ends(text: bytes, end: bytes) -> bytes:
    return text.replace(b"\n", end)


def _lists() -> list[Line]:
    two = LIST + b"b.mrc\n"
    contents = {
        "plain": two,
        "a byte-order mark": BYTE_ORDER_MARK + two,
        "CRLF": _with_ends(two, b"\r\n"),
        "CR": _with_ends(two, b"\r"),
        "a mark, CRLF and empty lines": BYTE_ORDER_MARK + _with_ends(b"\n" + two + b"\n\n", b"\r\n"),
        "without its last line end": two[:-1],
    }
    maps = {"a.mrc": mrc, "b.mrc": mrc}
    words, group = ("--maps-from", "list.txt"), "lists"
    lines = [Line(group, name, words, {**maps, "list.txt": text}) for name, text in contents.items()]
    refused = {"UTF-16": (two.decode().encode("utf-16"), "binary data"), "empty": (b"\n\n", "an empty list")}
    for name, (text, message) in refused.items():
        lines.append(Line(group, name, words, {**maps, "list.txt": text}, REFUSED, message, same=False))
    return lines


def _tables() -> list[Line]:
    group, words = "tables", ("a.mrc", "--table", "all.csv")
    foreign = {
        "of another program": b"name,value\nfirst,1\nsecond,2",
        "a text": b"dear reader,\nthis is no table",
        "binary": bytes(range(256)),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "all.csv"
        table.append(path, {**failed_row("z.mrc"), "voxel_size": 4.5})
        table_ = path.read_bytes()
    semicolons = table_.replace(b";", b" ").replace(b",", b";").replace(b"4.5", b"4,5")
    ours = {
        "ours": table_,
        "ours, with its last line cut off": table_ + b"y.mrc,do",
        "ours, saved by a spreadsheet": BYTE_ORDER_MARK + _with_ends(table_, b"\r\n"),
        "ours, with semicolons and decimal commas": BYTE_ORDER_MARK + _with_ends(semicolons, b"\r\n"),
    }
    return [
        Line(group, "a new one", words, {"a.mrc": mrc}),
        Line(group, "empty", words, {"a.mrc": mrc, "all.csv": b""}),
        *(Line(group, name, words, {"a.mrc": mrc, "all.csv": text}) for name, text in ours.items()),
        *(
            Line(group, name, words, {"a.mrc": mrc, "all.csv": text}, REFUSED, "a table written by", same=False)
            for name, text in foreign.items()
        ),
    ]


def _model() -> bytes:
    """Atoms at strong voxels of the map."""
    values = density()
    lines = []
    for n, (z, y, x) in enumerate(1.5 * np.argwhere(values > np.quantile(values, 0.98))[::30], 1):
        lines.append(f"ATOM  {n:5}  CA  ALA A{n:4}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           C")
    return "\n".join((*lines, "END", "")).encode()


def _models() -> list[Line]:
    group, words = "atomic models", ("a.mrc", "--atoms", "model.pdb")
    model = _model()
    contents = {
        "plain": model,
        "a byte-order mark": BYTE_ORDER_MARK + model,
        "CRLF": _with_ends(model, b"\r\n"),
        "a mark and CRLF": BYTE_ORDER_MARK + _with_ends(model, b"\r\n"),
        "without END": model.replace(b"END\n", b""),
    }
    lines = [Line(group, name, words, {"a.mrc": mrc, "model.pdb": text}) for name, text in contents.items()]
    packed = {"a.mrc": mrc, "model.pdb.gz": gzip.compress(model, mtime=0)}
    lines.append(Line(group, "gzip", ("a.mrc", "--atoms", "model.pdb.gz"), packed))
    refused = {
        "empty": b"",
        "a text": b"dear reader,\n",
        "far from the map": b"ATOM      1  CA  ALA A   1     900.000 900.000 900.000  1.00  0.00           C\nEND\n",
        "binary": bytes(range(256)),
    }
    for name, text in refused.items():
        lines.append(Line(group, name, words, {"a.mrc": mrc, "model.pdb": text}, REFUSED, "model", same=False))
    return lines


def _half(number: int, **fields: float) -> Callable[[], bytes]:
    """A half map: the map with noise, and changed header fields."""
    noise = np.random.default_rng(number).normal(scale=density().std() / 3, size=density().shape)
    return lambda: mrc((density() + noise).astype(np.float32), **fields)


def _half_maps() -> list[Line]:
    group, words = "half maps", ("a.mrc", "--half-maps", "one.mrc", "two.mrc")
    placed = {"a.mrc": lambda: mrc(**PLACE), "one.mrc": _half(1, **PLACE), "two.mrc": _half(2, **PLACE)}
    label = b"written by another program".ljust(80)
    headers = {
        "ORIGIN in place of NSTART": {"one.mrc": _half(1, **ORIGIN), "two.mrc": _half(2, **ORIGIN)},
        "one with ORIGIN, one with NSTART": {"one.mrc": _half(1, **ORIGIN)},
        "big-endian": {"one.mrc": _half(1, order=">", **PLACE)},
        "without a stamp": {"one.mrc": _half(1, stamp=bytes(4), **PLACE)},
        "ISPG 0 and 401": {"one.mrc": _half(1, ispg=0, **PLACE), "two.mrc": _half(2, ispg=401, **PLACE)},
        "an extended header": {"one.mrc": _half(1, extended_header=bytes(800), **PLACE)},
        "cell angles of 0": {"one.mrc": _half(1, alpha=0.0, beta=0.0, gamma=0.0, **PLACE)},
        "another label": {"one.mrc": lambda: _half(1, **PLACE)()[:224] + label + _half(1, **PLACE)()[304:]},
        "gzip": {"one.mrc": lambda: GZ(_half(1, **PLACE)())},
    }
    warned = {"without a place": {"one.mrc": _half(1), "two.mrc": _half(2)}}
    refused = {
        "another place": {"two.mrc": _half(2)},
        "another voxel size": {"two.mrc": _half(2, cell_x=66.0, cell_y=62.7, cell_z=59.4, **PLACE)},
        "another order of axes": {"two.mrc": _half(2, mapc=2, mapr=1, **PLACE)},
        "one file twice": {"two.mrc": _half(1, **PLACE)},
        "a truncated one": {"two.mrc": lambda: _half(2, **PLACE)()[:-100]},
    }
    return [
        Line(group, "as the map", words, placed),
        *(Line(group, name, words, placed | files) for name, files in headers.items()),
        *(Line(group, name, words, placed | files, WARNED, "position") for name, files in warned.items()),
        *(Line(group, name, words, placed | files, REFUSED, "found", same=False) for name, files in refused.items()),
    ]


LINES = [line for lines in (_lists, _tables, _models, _half_maps) for line in lines()]


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A line after the run: its outcome, what it printed of interest, and its faults."""

    line: Line
    outcome: str
    message: str
    faults: tuple[str, ...]


def run_all(lines: list[Line]) -> list[Ran]:
    """Run many lines, each in a folder of its own."""
    expected: dict[str, dict[str, np.ndarray]] = {}
    with tempfile.TemporaryDirectory() as root:
        return [_run(line, Path(root) / str(number), expected) for number, line in enumerate(lines)]


def _run(line: Line, folder: Path, expected: dict[str, dict[str, np.ndarray]]) -> Ran:
    folder.mkdir()
    for name, content in line.files.items():
        (folder / name).write_bytes(content() if callable(content) else content)
    appended = {word for word in line.words if word == "all.csv" and line.outcome != REFUSED}
    before = {name: fingerprint(folder / name) for name in line.files.keys() - appended}
    with _working_folder(folder):
        result = CliRunner().invoke(app, [*line.words, "-o", "out", "-j", "1", "-d", "cpu"])
    printed = [text for text in result.stderr.splitlines() if not text.endswith(" failed")]  # the counts of a list
    outcome = REFUSED if result.exit_code else WARNED if any(t.startswith("warning: ") for t in printed) else DONE
    faults = []
    if not (result.exception is None or isinstance(result.exception, SystemExit)):
        faults.append(f"a traceback: {result.exception!r}")
    if outcome != line.outcome:
        faults.append(f"{outcome} instead of {line.outcome}")
    if line.message not in result.stderr:
        faults.append(f"nothing printed contains {line.message!r}")
    if outcome == REFUSED and (len(printed) != 1 or not printed[0].startswith("error: ")):
        faults.append("the error is not one line")
    faults += [f"{name} was changed" for name, print_ in before.items() if fingerprint(folder / name) != print_]
    values = {path.name: read_map(path).density.values for path in folder.glob("out/*_locres*.mrc")}
    if outcome == REFUSED and values:
        faults.append(f"files were left: {sorted(values)}")
    if line.same and outcome != REFUSED:
        first = expected.setdefault(line.group, values)
        if first.keys() != values.keys():
            faults.append(f"other files: {sorted(values)}")
        elif not all(np.allclose(first[name], values[name], atol=MAX_DIFFERENCE) for name in values):
            faults.append("another result")
    return Ran(line=line, outcome=outcome, message="; ".join(printed), faults=tuple(faults))


@contextlib.contextmanager
def _working_folder(folder: Path):
    here = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)
