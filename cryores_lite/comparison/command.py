"""Options of `cryores-lite-compare`. Heavy libraries are imported when the work begins."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from cryores_lite.console import Reporting, configure_process, errors_to_exit_code, user_errors_to_exit_code
from cryores_lite.job import Device, RunOptions, lazy_model

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="A map, its NAME_locres.mrc, or its record NAME_locres.json.")],
    b: Annotated[Path | None, typer.Argument(metavar="[B]", help="The same of the other map.")] = None,
    half_maps: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--half-maps", metavar="H1 H2", help="In place of B: the local FSC of the half maps of A."),
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option("-o", "--output-dir", metavar="DIR", file_okay=False, help="Default: the folder of A."),
    ] = None,
    atoms: Annotated[
        Path | None, typer.Option("--atoms", metavar="MODEL", help="PDB or mmCIF fitted to A: also compare its chains.")
    ] = None,
    colour_range: Annotated[
        str | None, typer.Option("--range", metavar="LO,HI", help="Å of the first and the last colour of A and B.")
    ] = None,
    device: Annotated[Device, typer.Option("-d", "--device", help="Where the network runs.")] = Device.auto,
    threads: Annotated[
        int | None,
        typer.Option("-j", "--threads", metavar="N", min=1, help="Default: the cores this process may use."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", metavar="FILE", help="ONNX network. Default: the one of this package.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print only errors, and the line of --json.")] = False,
) -> None:
    """Compare the local resolution of two maps of one molecule: which is better resolved, and where.

    Writes the difference B - A in Å (negative: B is finer), its z-score, a page, a picture and JSON: A_vs_B.*
    B is put on the grid of A by the positions in the headers. Maps that do not overlap are refused.
    Exits with 0 if all went well, 1 if the maps cannot be compared, 2 if the command is wrong.
    """
    if (b is None) == (half_maps is None):
        raise typer.BadParameter("Name two maps, or one map with --half-maps H1 H2.")
    with user_errors_to_exit_code(2):
        from cryores_lite.figures.palette import limits_argument

        colours = limits_argument(colour_range, "--range") if colour_range is not None else None
    with user_errors_to_exit_code():
        from cryores_lite.comparison.compare import CompareJob
        from cryores_lite.comparison.compare import compare as run
        from cryores_lite.comparison.result import row, summary
        from cryores_lite.comparison.sides import half_maps_side, read_side
        from cryores_lite.resources import available_threads

        count = threads or available_threads()
        other = half_maps_side(half_maps) if b is None and half_maps else read_side(b or a)
        sides = read_side(a), other
        job = CompareJob(
            folder=output_dir or a.parent, atoms=atoms, colours=colours, overwrite=overwrite, threads=count
        )
        network = lazy_model(RunOptions(model, device.value, count))
        reporting = Reporting(as_json, quiet)
        with contextlib.redirect_stdout(sys.stderr):  # libraries print; stdout is for results
            result = run(sides, job, network, reporting.map_progress)
    for warning in () if quiet else result.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if as_json:
        typer.echo(json.dumps(row(result), allow_nan=False))
    elif not quiet:
        typer.echo(summary(result))


def main() -> None:
    """Run the command. An interrupted run leaves no half-written files."""
    configure_process()
    with errors_to_exit_code():
        app()
