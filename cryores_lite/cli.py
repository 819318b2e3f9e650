"""Options of the command, and checks of their use. Heavy libraries are imported when the work begins."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from functools import wraps
from inspect import Parameter, Signature, signature
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from cryores_lite.batch.map_list import check_no_duplicates, parse_shard, read_list, without_own_outputs
from cryores_lite.console import Reporting, configure_process, errors_to_exit_code, user_errors_to_exit_code, versions
from cryores_lite.fourier.criterion import Criterion
from cryores_lite.job import Device, RunOptions, plan
from cryores_lite.outputs.catalogue import KIND, ON_REQUEST, ON_REQUEST_WITH_ATOMS, ON_REQUEST_WITH_HALF_MAPS
from cryores_lite.outputs.result import SOFT_MASK_WIDTHS, Method

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
SOFT_MASK = KIND["soft_mask"]
WIDTHS = re.compile(r"[-+.,\d]+")  # the word after --soft-mask is its value; another word is a map or an option


def _version(requested: bool) -> None:
    if requested:
        typer.echo(versions())
        raise typer.Exit


def _check(requested: bool) -> None:
    if requested:
        from cryores_lite.installation.diagnostics import report

        text, all_passed = report()
        typer.echo(text)
        raise typer.Exit(int(not all_passed))


def _positive(value: float | None) -> float | None:
    if value is not None and not value > 0:
        raise typer.BadParameter(f"{value:g} is not a length in Å.")
    return value


def _widths(text: str) -> tuple[float, float]:
    """Read EXTEND,EDGE in Å."""
    try:
        extend, edge = (float(part) for part in text.split(","))
    except ValueError:
        extend = edge = math.nan
    if not all(0 <= width < math.inf for width in (extend, edge)):
        raise typer.BadParameter(f"{text} is not EXTEND,EDGE: two lengths in Å, for example 3,8.")
    return extend, edge


class _Command(typer.core.TyperCommand):
    """The command, with an option whose value may be left out."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give --soft-mask its default value where no value follows it, and parse the command line."""
        default = f"{SOFT_MASK.option}={','.join(f'{width:g}' for width in SOFT_MASK_WIDTHS)}"
        pairs = pairwise([*args, ""])
        with_values = [default if word == SOFT_MASK.option and not WIDTHS.fullmatch(to) else word for word, to in pairs]
        return super().parse_args(ctx, with_values)


def _with_output_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace a command's parameter `requested`, names of output files, by one switch per file of the catalogue."""
    requestable = (*ON_REQUEST, *ON_REQUEST_WITH_ATOMS, *ON_REQUEST_WITH_HALF_MAPS)
    kinds = [kind for kind in requestable if not kind.value]

    @wraps(command)
    def with_switches(**values: Any) -> None:
        command(requested=frozenset(kind.name for kind in kinds if values.pop(kind.name)), **values)

    switches = [
        Parameter(
            kind.name,
            Parameter.POSITIONAL_OR_KEYWORD,
            default=False,
            annotation=Annotated[bool, typer.Option(kind.option, help=kind.option_help)],
        )
        for kind in kinds
    ]
    parameters: list[Parameter] = []
    for parameter in signature(command, eval_str=True).parameters.values():
        parameters += switches if parameter.name == "requested" else [parameter]
    with_switches.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    with_switches.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_switches


@app.command(cls=_Command)
@_with_output_options
def estimate(
    maps: Annotated[
        list[Path] | None, typer.Argument(metavar="MAP...", help="MRC/CCP4 maps, plain, .gz or .bz2.")
    ] = None,
    maps_from: Annotated[
        str | None,
        typer.Option(
            "--maps-from", metavar="LIST", help="File with one map per line, or -. Finished maps are skipped."
        ),
    ] = None,
    table: Annotated[
        list[Path] | None,
        typer.Option("--table", metavar="FILE", help="One row per map, .csv or .jsonl. Finished maps are skipped."),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", help="Run part I of N of LIST; slurm: the part of this array task."),
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output-dir", "--o", metavar="DIR", file_okay=False, help="Default: the folder of each map."
        ),
    ] = None,
    voxel_size: Annotated[
        float | None,
        typer.Option("--voxel-size", "--angpix", "--apix", metavar="Å", callback=_positive, help="Default: the map's."),
    ] = None,
    half_maps: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--half-maps", metavar="H1 H2", help="Compare with their FSC. Without MAP, use their average."),
    ] = None,
    criterion: Annotated[
        Criterion, typer.Option("--criterion", help="Where the local FSC of the half maps is read.")
    ] = Criterion.fsc_0143,
    method: Annotated[
        Method, typer.Option("--method", help="statistical: no network, needs noisy solvent in the map.")
    ] = Method.network,
    device: Annotated[Device, typer.Option("-d", "--device", help="Where the network runs.")] = Device.auto,
    threads: Annotated[
        int | None,
        typer.Option("-j", "--threads", "--j", metavar="N", min=1, help="Default: the cores this process may use."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", metavar="FILE", help="ONNX network. Default: the one of this package.")
    ] = None,
    atoms: Annotated[
        Path | None,
        typer.Option(
            "--atoms", metavar="MODEL", help="PDB or mmCIF: also write values of residues: JSON, CSV, .defattr, EMV."
        ),
    ] = None,
    requested: frozenset[str] = frozenset(),
    soft_mask: Annotated[
        str | None,
        typer.Option(SOFT_MASK.option, metavar=SOFT_MASK.value, help=SOFT_MASK.option_help),
    ] = None,
    colour_range: Annotated[
        str | None,
        typer.Option("--range", metavar="LO,HI", help="Å of the first and the last colour. Default: of each map."),
    ] = None,
    range_from: Annotated[
        Path | None,
        typer.Option("--range-from", metavar="TABLE", help="One colour range for all maps of a finished table."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON per map.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print only errors, and the lines of --json.")] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the versions and exit.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", is_eager=True, callback=_check, help="Test this installation and exit.")
    ] = False,
) -> None:
    """Estimate the local resolution of cryo-EM maps, in Å per voxel.

    Writes NAME_locres.mrc (0 outside the molecule) and NAME_mask.mrc for each map.
    Exits with 0 if all went well, 1 if a map failed (the others are done), 2 if the command is wrong.
    """
    if method is Method.statistical and "uncertainty" in requested:
        raise typer.BadParameter("--method statistical gives no uncertainty. Leave out --uncertainty.")
    if criterion is not Criterion.fsc_0143 and not half_maps:
        raise typer.BadParameter("--criterion needs --half-maps H1 H2.")
    for kind in ON_REQUEST_WITH_ATOMS:
        if kind.name in requested and not atoms:
            raise typer.BadParameter(f"{kind.option} needs --atoms MODEL.")
    for kind in ON_REQUEST_WITH_HALF_MAPS:
        if kind.name in requested and not half_maps:
            raise typer.BadParameter(f"{kind.option} needs --half-maps H1 H2.")
    widths = SOFT_MASK_WIDTHS if soft_mask is None else _widths(soft_mask)
    if soft_mask is not None:
        requested |= {SOFT_MASK.name}
    _check_maps(maps or [], half_maps, maps_from, shard)
    with user_errors_to_exit_code(2):
        colours = _colours(colour_range, range_from)
        listed = read_list(maps_from) if maps_from else []
        without_map = [None] if half_maps and not maps else []
        jobs = [
            plan(
                path,
                output_dir,
                requested,
                atoms=atoms,
                half_maps=half_maps,
                method=method,
                criterion=criterion,
                voxel_size=voxel_size,
                soft_mask_widths=widths,
                colours=colours,
                overwrite=overwrite,
            )
            for path in (*(maps or ()), *listed, *without_map)
        ]
        jobs, own_outputs = without_own_outputs(jobs)
        check_no_duplicates(jobs)
        part = parse_shard(shard, os.environ) if shard else None
    for path in own_outputs if not quiet else ():
        typer.echo(f"left out: {path} is an output of this program", err=True)
    if part:
        jobs, table = part.select(jobs), [part.own_path(path) for path in table or ()]
    from cryores_lite.batch.runner import run_jobs

    options, reporting = RunOptions(model, device.value, threads), Reporting(as_json, quiet)
    with user_errors_to_exit_code():
        all_done = run_jobs(jobs, options, reporting, tables=table or (), resume=bool(maps_from or table))
    raise typer.Exit(int(not all_done))


def _check_maps(
    maps: Sequence[Path], half_maps: tuple[Path, Path] | None, maps_from: str | None, shard: str | None
) -> None:
    """Refuse options that contradict each other about the maps."""
    if half_maps and maps_from:
        raise typer.BadParameter("--half-maps belong to one MAP, not to a list. Run that map separately.")
    if half_maps and len(maps) > 1:
        raise typer.BadParameter("--half-maps belong to one MAP. Run the other maps separately.")
    if not maps and not maps_from and not half_maps:
        raise typer.BadParameter("Name a map, or a list of maps with --maps-from.")
    if shard and not maps_from:
        raise typer.BadParameter("--shard needs --maps-from: all parts need the same list.")


def _colours(text: str | None, table: Path | None) -> tuple[float, float] | None:
    """Return Å of the first and the last colour from the options; None: from each map."""
    if text is not None and table:
        raise typer.BadParameter("--range and --range-from exclude each other.")
    if text is not None:
        from cryores_lite.figures.palette import limits_argument

        return limits_argument(text, "--range")
    if table:
        from cryores_lite.batch.table import colour_limits

        return colour_limits(table)
    return None


def main() -> None:
    """Run the command. An interrupted run leaves no half-written files."""
    configure_process()
    with errors_to_exit_code():
        app()
