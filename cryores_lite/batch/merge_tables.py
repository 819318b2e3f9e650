"""One table of the tables that the parts of a cluster job wrote: every map once, and what is missing by name."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cryores_lite.batch import table
from cryores_lite.batch.map_list import read_list
from cryores_lite.errors import CryoresError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def gathered(rows: Sequence[table.Row], wanted: Sequence[str]) -> tuple[list[table.Row], list[str]]:
    """Choose one row per map, the latest, in the order of `wanted`, then those that nobody asked for.

    Returns
    -------
    rows, and the names of `wanted` that have none
    """
    found = {row["input"]: row for row in table.last_of_each(rows)}
    ordered = {name: found[name] for name in wanted if name in found}
    return list({**ordered, **found}.values()), [name for name in wanted if name not in found]


@app.command()
def gather(
    tables: Annotated[list[Path], typer.Argument(metavar="TABLE...", help="Tables of the parts, .csv or .jsonl.")],
    out: Annotated[Path, typer.Option("--table", "-o", metavar="FILE", help="The table to write, .csv or .jsonl.")],
    maps_from: Annotated[
        str | None, typer.Option("--maps-from", metavar="LIST", help="The list of all maps, to find what is missing.")
    ] = None,
) -> None:
    """Gather the tables of cryores-lite --shard into one: every map once, with its last outcome.

    Exits with 0 if all maps are done, 1 if one failed or is missing, 2 if the command is wrong.
    """
    try:
        wanted = [str(path) for path in read_list(maps_from)] if maps_from else []
        rows, missing = gathered([row for path in tables for row in table.read(path)], wanted)
        table.write(out, rows)
    except CryoresError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    failed = [row for row in rows if row["outcome"] != "done"]
    for row in failed:
        typer.echo(f"failed: {row['input']}", err=True)
    for name in missing:
        typer.echo(f"missing: {name}", err=True)
    typer.echo(f"{len(rows)} maps: {len(rows) - len(failed)} done, {len(failed)} failed; {len(missing)} missing")
    raise typer.Exit(int(bool(failed or missing)))


def main() -> None:
    """Run the command."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    app()
