"""Merge the tables of the parts of a cluster job: one row per map, and the names of missing maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cryores_lite.batch import table
from cryores_lite.batch.map_list import read_list
from cryores_lite.console import configure_process, errors_to_exit_code, user_errors_to_exit_code

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def merged_rows(rows: Sequence[table.Row], listed: Sequence[str]) -> tuple[list[table.Row], list[str]]:
    """Choose the latest row of each map, those of `listed` first and in its order.

    Returns
    -------
    rows, and the names of `listed` that have none
    """
    by_name = {row["input"]: row for row in table.latest_rows(rows)}
    ordered = {name: by_name[name] for name in listed if name in by_name}
    return list({**ordered, **by_name}.values()), [name for name in listed if name not in by_name]


@app.command()
def merge(
    tables: Annotated[list[Path], typer.Argument(metavar="TABLE...", help="Tables of the parts, .csv or .jsonl.")],
    out: Annotated[Path, typer.Option("--table", "-o", metavar="FILE", help="The table to write, .csv or .jsonl.")],
    maps_from: Annotated[
        str | None, typer.Option("--maps-from", metavar="LIST", help="The list of all maps, to report missing maps.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace FILE even if it is not a table of this program.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print only errors and the names of maps.")] = False,
) -> None:
    """Merge the tables of cryores-lite --shard into one, with the latest row of each map.

    Exits with 0 if all maps are done, 1 if one failed or is missing, 2 if the command is wrong.
    """
    with user_errors_to_exit_code(2):
        if not overwrite:
            table.check_replaceable(out)
        listed = [str(path) for path in read_list(maps_from)] if maps_from else []
        rows, missing = merged_rows([row for path in tables for row in table.read(path)], listed)
        table.check_rows_fit(out, rows)
    with user_errors_to_exit_code():
        table.write(out, rows)
    failed = [row for row in rows if row["outcome"] != "done"]
    for row in failed:
        _print_name("failed", row["input"])
    for name in missing:
        _print_name("missing", name)
    if not quiet:
        typer.echo(f"{len(rows)} maps: {len(rows) - len(failed)} done, {len(failed)} failed; {len(missing)} missing")
    raise typer.Exit(int(bool(failed or missing)))


def _print_name(state: str, name: str) -> None:
    typer.echo(f"{state}: {' '.join(name.split())}", err=True)  # one line, whatever is in the name


def main() -> None:
    """Run the command."""
    configure_process()
    with errors_to_exit_code():
        app()
