"""The External job of RELION: its command-line flags, exit files and output nodes.

RELION 3.1 to 5 run ``EXE --o External/job012/ --in_3dref FILE --LABEL VALUE --j N`` from the project directory, and
then watch the job's folder for an exit file. A job without an exit file is shown as running.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cryores_lite.console import Reporting, configure_process, errors_to_exit_code, print_outcome
from cryores_lite.job import Device, RunOptions, lazy_model, plan, run_job
from cryores_lite.outputs.catalogue import KIND, ON_REQUEST
from cryores_lite.outputs.result import Job

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SUCCESS, FAILURE, ABORTED = (f"RELION_JOB_EXIT_{status}" for status in ("SUCCESS", "FAILURE", "ABORTED"))
ABORT_NOW = "RELION_JOB_ABORT_NOW"  # made by RELION's Abort button; the job removes it when it stops
NODES_FILE = "RELION_OUTPUT_NODES.star"
SWITCH_VALUES = {**dict.fromkeys(("yes", "true", "on", "1"), True), **dict.fromkeys(("no", "false", "off", "0"), False)}
UNUSED_INPUTS = ("movies", "mics", "parts", "coords", "mask")  # offered by RELION, not used
PIPELINE_CONTROL = ("--pipeline_control", "--pipeline-control")  # some versions of RELION pass the job's folder again
BIN_WIDTHS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)  # Å, of the histogram
MAX_BINS = 25
ABORT_EXIT_CODE = 143  # as after SIGTERM


class Aborted(SystemExit):
    """The user pressed Abort. A SystemExit ends the command; an Exception would only fail the map."""


def main() -> None:
    """Run as an External job."""
    configure_process()
    command(sys.argv[1:])


def command(arguments: Sequence[str]) -> None:
    """Run with the arguments of the command line. An exit file for RELION is written even after an error."""
    with _exit_file(_job_folder(arguments)), errors_to_exit_code():
        run(_parser().parse_args(arguments))


def run(options: argparse.Namespace) -> None:
    """Estimate, print a summary and a histogram, and list the output files for RELION."""
    for name in UNUSED_INPUTS:
        if getattr(options, f"in_{name}"):
            typer.echo(f"note: --in_{name} is not needed and not used")
    requested = [kind.name for kind in ON_REQUEST if getattr(options, kind.name)]
    # The job owns its folder and may be repeated in it, so files are overwritten.
    job = plan(options.in_3dref, options.o, requested, atoms=options.atoms, voxel_size=options.angpix, overwrite=True)
    network = lazy_model(RunOptions(options.model, options.device, options.j))
    result = run_job(job, network, options.j, partial(until_aborted, folder=options.o))
    print_outcome(result, Reporting())
    if result.local_resolution is None:
        sys.exit(1)
    typer.echo("Voxels inside the mask, by their local resolution in Å:")
    for line in histogram(result.local_resolution.values[result.local_resolution.mask]):
        typer.echo(line)
    (options.o / NODES_FILE).write_text(output_nodes(job), encoding="utf-8")


def until_aborted(tiles: Sequence[Any], folder: Path) -> Iterator[Any]:
    """Yield tiles until RELION asks the job in `folder` to stop."""
    for tile in tiles:
        if (folder / ABORT_NOW).exists():
            raise Aborted(ABORT_EXIT_CODE)
        yield tile


def output_nodes(job: Job) -> str:
    """Format the STAR file that lists a job's maps for RELION."""
    columns = [f"_rlnPipeLineNode{name} #{n}" for n, name in enumerate(("Name", "TypeLabel", "Type"), 1)]
    nodes = [(path, KIND[name].node) for name, path in job.outputs.items()]
    rows = [f"{path.as_posix()} {node.label} {node.number}" for path, node in nodes if node and node.number is not None]
    return "\n".join(("", "data_output_nodes", "", "loop_", *columns, *rows, "", ""))


def histogram(values: npt.NDArray[np.float32]) -> list[str]:
    """Format a histogram of values (Å) as RELION does, one line per bin: ``[3.2, 3.4): 1234``."""
    from cryores_lite.outputs.histogram import binned

    edges, counts = binned(values, MAX_BINS, BIN_WIDTHS)
    return [f"[{low:.1f}, {high:.1f}): {count}" for (low, high), count in zip(pairwise(edges), counts, strict=True)]


@contextlib.contextmanager
def _exit_file(folder: Path | None) -> Iterator[None]:
    """Remove the exit files of an earlier run from the job's folder, and write the exit file of this run at the end."""
    if folder is None:  # the parser refuses the command
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (SUCCESS, FAILURE, ABORTED, NODES_FILE):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        sys.exit(f"error: {folder}: {error.strerror or error}")
    exit_file = FAILURE
    try:
        yield
        sys.stdout.flush()
        exit_file = SUCCESS
    except Aborted:
        exit_file = ABORTED
        raise
    finally:
        (folder / ABORT_NOW).unlink(missing_ok=True)
        (folder / exit_file).touch()


def _job_folder(arguments: Sequence[str]) -> Path | None:
    """Find the job's folder, even in a command that the parser refuses."""
    split = [part for word in arguments for part in (word.split("=", 1) if word.startswith("--") else [word])]
    values = dict(pairwise(split))
    folders = (values.get(flag, "-") for flag in ("--o", *PIPELINE_CONTROL))
    return next((Path(folder) for folder in folders if not folder.startswith("-")), None)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cryores-lite-relion",
        description="Estimate the local resolution of a cryo-EM map, in Å per voxel, as an External job of RELION.",
        epilog="A switch may be followed by Yes or No. RELION does not quote paths: use paths without blanks.",
        allow_abbrev=False,
    )
    parser.add_argument("--o", type=Path, required=True, metavar="JOBDIR", help="The job's folder.")
    parser.add_argument("--in_3dref", type=Path, required=True, metavar="MAP", help="'Input 3D reference': the map.")
    parser.add_argument("--angpix", "--voxel-size", "--apix", type=_length, metavar="Å", help="Default: the map's.")
    parser.add_argument("--device", choices=[device.value for device in Device], default=Device.auto.value)
    parser.add_argument(
        "--j", "--threads", type=_count, metavar="N", help="Threads. Default: the cores that the job may use."
    )
    parser.add_argument("--model", type=Path, metavar="FILE", help="ONNX network. Default: the one of this package.")
    parser.add_argument("--atoms", type=Path, metavar="FILE", help="PDB or mmCIF: also write values of residues.")
    for kind in ON_REQUEST:
        parser.add_argument(
            kind.option, type=_switch, nargs="?", const=True, default=False, metavar="YES", help=kind.option_help
        )
    for name in UNUSED_INPUTS:
        parser.add_argument(f"--in_{name}", metavar="FILE", help="Not needed and not used.")
    parser.add_argument(*PIPELINE_CONTROL, metavar="JOBDIR", help="Passed by RELION; the same as --o.")
    return parser


def _switch(word: str) -> bool:
    if word.lower() not in SWITCH_VALUES:
        raise argparse.ArgumentTypeError(f"{word} is neither Yes nor No")
    return SWITCH_VALUES[word.lower()]


def _length(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"{word} is not a length in Å")
    return value


def _count(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word} is not a whole number of at least 1")
    return int(word)
