"""A table with one row per map: CSV for a spreadsheet, or JSON lines for a program."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeAlias

from cryores_lite.errors import InputError, OutputError
from cryores_lite.io.atomic_write import atomic_write
from cryores_lite.io.csv_cells import escape_formula, unescape_formula
from cryores_lite.io.text import decode_text
from cryores_lite.outputs.catalogue import ALWAYS
from cryores_lite.types import PERCENTILES

Row: TypeAlias = dict[str, Any]
COLUMNS = (
    *("input", "outcome", "global_resolution"),
    *(f"p{p:g}" for p in PERCENTILES),
    *("median_uncertainty", "mask_volume", "voxel_size", "seconds", "time", "model", "message"),
    *(kind.name for kind in ALWAYS),
)
NUMBER_COLUMNS = frozenset(COLUMNS) - {"input", "outcome", "time", "model", "message", *(kind.name for kind in ALWAYS)}
ROW_FIELDS: dict[str, Any] = {  # of a JSON line, and their types
    **dict.fromkeys(("input", "outcome", "time"), str),
    **dict.fromkeys(("percentiles", "files", "model"), dict),
    "kept": bool,
    "warnings": list,
    "error": (str, type(None)),
}
SUFFIXES = (".csv", ".jsonl")
KEPT = "kept: an earlier run finished it"


def stamped(row: Row, kept: bool = False) -> Row:
    """Add the time to a JSON row, and whether an earlier run had finished the map."""
    return {**row, "time": datetime.now(timezone.utc).isoformat(timespec="microseconds"), "kept": kept}


def csv_row(row: Row) -> Row:
    """Convert a stamped row to the columns of a CSV file. A row that was read from a CSV file stays unchanged."""
    if "percentiles" not in row:
        return row
    messages = [row["error"], KEPT if row["kept"] else None, *row["warnings"]]
    return {
        **{name: row[name] for name in COLUMNS if name in row},
        **{f"p{p:g}": row["percentiles"].get(f"{p:g}") for p in PERCENTILES},
        "model": " ".join(filter(None, (row["model"]["name"], row["model"]["version"]))) or row.get("method"),
        "message": "; ".join(filter(None, messages)),
        **{kind.name: row["files"].get(kind.name) for kind in ALWAYS},
    }


def prepare(path: Path) -> None:
    """Prepare a new or existing table for appending.

    An incomplete last line is removed. A table that a spreadsheet has saved is rewritten in the form of this program.

    Raises
    ------
    InputError
        The name ends in neither .csv nor .jsonl, or the file is not a table of this program.
    OutputError
        It cannot be written.
    """
    _check_suffix(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            file.seek(0)
            data = file.read()
    except OSError as error:
        raise _unwritable(path, error) from error
    complete = data[: data.rfind(b"\n") + 1] or data
    rows = _parse(path, complete)  # before the file is changed: it may be somebody else's
    if data and data != _lines(path, rows, header=True):  # a line was cut off, or a spreadsheet saved the table
        write(path, rows)


def append(path: Path, row: Row) -> None:
    """Append a row and sync it to the disk, so that a killed run keeps it."""
    try:
        with path.open("ab") as file:
            file.write(_lines(path, [row], header=not file.tell()))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _unwritable(path, error) from error


def read(path: Path) -> list[Row]:
    """Read the rows of a table, in the order written.

    Raises
    ------
    InputError
        There is no such file, or it is not a table of this program.
    """
    try:
        return _parse(path, path.read_bytes())
    except OSError as error:
        raise _not_a_table(path, error.strerror) from error


def _parse(path: Path, data: bytes) -> list[Row]:
    text = decode_text(data)
    if path.suffix == ".csv":
        separator = ";" if text.startswith(f"{COLUMNS[0]};") else ","
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
        try:
            rows = list(reader)
        except csv.Error as error:  # a cell of more than 131,072 letters
            raise _not_a_table(path, error) from error
        is_ours = tuple(reader.fieldnames or ()) == COLUMNS
        if text and not (is_ours and all(None not in row and None not in row.values() for row in rows)):
            raise _not_a_table(path, "other columns")
        if separator == ";":  # of a spreadsheet whose decimal sign is the comma
            rows = [{name: _with_point(name, cell) for name, cell in row.items()} for row in rows]
        return [{name: unescape_formula(cell) for name, cell in row.items()} for row in rows]
    try:
        rows = [json.loads(line, parse_constant=_refuse_constant) for line in text.splitlines()]
    except (ValueError, RecursionError):
        raise _not_a_table(path, "other lines") from None
    if not all(map(_is_row, rows)):
        raise _not_a_table(path, "other lines")
    return rows


def _is_row(row: Any) -> bool:
    """Whether a line of JSON has the fields that a table is merged and converted by."""
    if not (isinstance(row, dict) and row.keys() >= ROW_FIELDS.keys()):
        return False
    if not all(isinstance(row[name], kind) for name, kind in ROW_FIELDS.items()):
        return False
    messages = [*row["warnings"], row["error"] or "", row["model"].get("name") or "", row["model"].get("version") or ""]
    return row["model"].keys() >= {"name", "version"} and all(isinstance(text, str) for text in messages)


def _refuse_constant(word: str) -> None:
    raise ValueError(word)  # NaN and Infinity are not JSON


def write(path: Path, rows: Sequence[Row]) -> None:
    """Write a complete table, or leave the existing one unchanged."""
    check_rows_fit(path, rows)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as stream:
            stream.write(_lines(path, rows, header=True))
    except OSError as error:
        raise _unwritable(path, error) from error


def check_rows_fit(path: Path, rows: Sequence[Row]) -> None:
    """Refuse a name that is not that of a table, or of one that can hold rows.

    Raises
    ------
    InputError
        The name ends in neither .csv nor .jsonl, or rows of a CSV file lack the fields of JSON lines.
    """
    _check_suffix(path)
    if path.suffix == ".jsonl" and any("percentiles" not in row for row in rows):
        raise InputError(
            f"--table {path}",
            found="rows of a .csv table, which lack fields",
            expected="rows of .jsonl tables",
            try_="choose a name that ends in .csv",
        )


def check_replaceable(path: Path) -> None:
    """Refuse to replace a file that is not a table of this program.

    Raises
    ------
    InputError
        The file is something else.
    """
    if os.path.lexists(path):
        read(path)


def colour_limits(path: Path) -> tuple[float, float]:
    """Return one colour range (Å) for all maps of a finished table: from the lowest p2.5 to the highest p97.5.

    Raises
    ------
    InputError
        The table cannot be read, or holds no map with a local resolution.
    """
    from cryores_lite.figures.palette import MIN_COLOUR_RANGE

    rows = [csv_row(row) for row in latest_rows(read(path))]
    limits = [(row["p2.5"], row["p97.5"]) for row in rows if row["p2.5"] and row["p97.5"]]
    try:
        low, high = min(float(low) for low, _ in limits), max(float(high) for _, high in limits)
    except ValueError:
        raise InputError(
            f"--range-from {path}",
            found="a table without local resolutions",
            expected="the table of finished maps",
            try_="run the maps first, with --table",
        ) from None
    return low, max(high, low + MIN_COLOUR_RANGE)


def latest_rows(rows: Iterable[Row]) -> list[Row]:
    """Select one row per map, the latest (of equal times the last in the table), in the order of first appearance."""
    latest: dict[str, Row] = {}
    for row in rows:
        earlier = latest.get(row["input"])
        if earlier is None or row["time"] >= earlier["time"]:
            latest[row["input"]] = row
    return list(latest.values())


def _with_point(column: str, cell: str) -> str:
    return cell.replace(",", ".") if column in NUMBER_COLUMNS else cell


def _check_suffix(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise InputError(
            f"--table {path}", found=path.suffix or "no suffix", expected=".csv or .jsonl", try_="rename it"
        )


def _lines(path: Path, rows: Iterable[Row], header: bool) -> bytes:
    if path.suffix == ".jsonl":
        return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows({name: escape_formula(cell) for name, cell in csv_row(row).items()} for row in rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


def _not_a_table(path: Path, found: object) -> InputError:
    return InputError(
        f"the table {path}", found=found, expected="a table written by cryores-lite", try_="name another file"
    )


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"the table {path}",
        found=error.strerror or error,
        expected="a writable file",
        try_="check the folder and the disk",
    )
