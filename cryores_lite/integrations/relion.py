"""RELION's External job: its flags in, its exit files and output nodes out. The work is that of the other command.

RELION 3.1 to 5 run ``EXE --o External/job012/ --in_3dref FILE --LABEL VALUE --j N`` from the project directory, and
then watch the job's folder for one of the exit files. Without any, they take the job for running for ever.
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

SUCCESS, FAILURE, ABORTED = (f"RELION_JOB_EXIT_{how}" for how in ("SUCCESS", "FAILURE", "ABORTED"))
ABORT_NOW = "RELION_JOB_ABORT_NOW"  # what RELION's Abort button makes; whoever obeys removes it
NODES = "RELION_OUTPUT_NODES.star"
WORDS = {**dict.fromkeys(("yes", "true", "on", "1"), True), **dict.fromkeys(("no", "false", "off", "0"), False)}
UNUSED = ("movies", "mics", "parts", "coords", "mask")  # inputs that RELION offers and that are not needed
CONTROL = ("--pipeline_control", "--pipeline-control")  # the job's folder once more, from some RELIONs
WIDTHS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)  # Å, of the histogram's bins
MOST_BINS = 25
STOPPED = 143  # exit code of a polite stop, that of SIGTERM too


class Aborted(SystemExit):
    """The user pressed Abort. No `Exception`: it ends the command, not only the map."""


def main() -> None:
    """Run as an External job: whatever happens, RELION is told how it ended."""
    configure_process()
    words = sys.argv[1:]
    with _ending_told(_job_folder(words)), errors_to_exit_code():
        work(_parser().parse_args(words))


def work(options: argparse.Namespace) -> None:
    """Estimate, print a summary and a histogram, and list what was made for RELION."""
    for name in UNUSED:
        if getattr(options, f"in_{name}"):
            typer.echo(f"note: --in_{name} is not needed and not used")
    requested = [kind.name for kind in ON_REQUEST if getattr(options, kind.name)]
    # The folder is this job's own, and the job may be run again in it.
    job = plan(options.in_3dref, options.o, requested, atoms=options.atoms, voxel_size=options.angpix, overwrite=True)
    network = lazy_model(RunOptions(options.model, options.device, options.j))
    result = run_job(job, network, options.j, partial(until_aborted, folder=options.o))
    print_outcome(result, Reporting())
    if result.local_resolution is None:
        sys.exit(1)
    typer.echo("Voxels inside the mask, by their local resolution in Å:")
    for line in histogram(result.local_resolution.values[result.local_resolution.mask]):
        typer.echo(line)
    (options.o / NODES).write_text(output_nodes(job), encoding="utf-8")


def until_aborted(tiles: Sequence[Any], folder: Path) -> Iterator[Any]:
    """Hand on tiles until RELION asks the job in `folder` to stop."""
    for tile in tiles:
        if (folder / ABORT_NOW).exists():
            raise Aborted(STOPPED)
        yield tile


def output_nodes(job: Job) -> str:
    """Give the STAR file that tells RELION which maps a job made."""
    columns = [f"_rlnPipeLineNode{name} #{n}" for n, name in enumerate(("Name", "TypeLabel", "Type"), 1)]
    nodes = [(path, KIND[name].node) for name, path in job.outputs.items()]
    rows = [f"{path.as_posix()} {node.label} {node.number}" for path, node in nodes if node and node.number is not None]
    return "\n".join(("", "data_output_nodes", "", "loop_", *columns, *rows, "", ""))


def binned(values: npt.NDArray[np.float32]) -> tuple[list[float], list[int]]:
    """Count values in Å in bins of a round width: the edges of the bins, and what is in them."""
    import numpy as np

    if not values.size:
        return [], []
    extent = float(values.max() - values.min())
    width = next((width for width in WIDTHS if extent / width < MOST_BINS), WIDTHS[-1])
    places = np.floor(values / width).astype(int)
    first, counts = int(places.min()), np.bincount(places - places.min()).tolist()
    return [(first + n) * width for n in range(len(counts) + 1)], counts


def histogram(values: npt.NDArray[np.float32]) -> list[str]:
    """Write the bins of values in Å as RELION does: ``[3.2, 3.4): 1234``."""
    edges, counts = binned(values)
    return [f"[{low:.1f}, {high:.1f}): {count}" for (low, high), count in zip(pairwise(edges), counts, strict=True)]


@contextlib.contextmanager
def _ending_told(folder: Path | None) -> Iterator[None]:
    """Remove what an earlier run left in the job's folder; at the very end, leave the file that says how it went."""
    if folder is None:  # nowhere to tell; the command is refused
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (SUCCESS, FAILURE, ABORTED, NODES):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        sys.exit(f"error: {folder}: {error.strerror or error}")
    ending = FAILURE
    try:
        yield
        sys.stdout.flush()
        ending = SUCCESS
    except Aborted:
        ending = ABORTED
        raise
    finally:
        (folder / ABORT_NOW).unlink(missing_ok=True)
        (folder / ending).touch()


def _job_folder(words: Sequence[str]) -> Path | None:
    """Find the job's folder, even in a command that is wrong."""
    flat = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    given = dict(pairwise(flat))
    folders = (given.get(flag, "-") for flag in ("--o", *CONTROL))
    return next((Path(folder) for folder in folders if not folder.startswith("-")), None)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cryores-lite-relion",
        description="Estimate the local resolution of a cryo-EM map, in Å per voxel, as an External job of RELION.",
        epilog="A switch stands alone or is followed by Yes or No. RELION puts no quotes: let paths have no blanks.",
        allow_abbrev=False,
    )
    parser.add_argument("--o", type=Path, required=True, metavar="JOBDIR", help="The job's folder.")
    parser.add_argument("--in_3dref", type=Path, required=True, metavar="MAP", help="'Input 3D reference': the map.")
    parser.add_argument("--angpix", "--voxel-size", "--apix", type=_length, metavar="Å", help="Default: the map's.")
    parser.add_argument("--device", choices=[device.value for device in Device], default=Device.auto.value)
    parser.add_argument("--j", "--threads", type=_count, metavar="N", help="Threads. Default: the cores it may use.")
    parser.add_argument("--model", type=Path, metavar="FILE", help="An ONNX network. Default: the one shipped.")
    parser.add_argument("--atoms", type=Path, metavar="FILE", help="PDB or mmCIF: also write residues' values.")
    for kind in ON_REQUEST:
        parser.add_argument(
            kind.option, type=_switch, nargs="?", const=True, default=False, metavar="YES", help=kind.option_help
        )
    for name in UNUSED:
        parser.add_argument(f"--in_{name}", metavar="FILE", help="Not needed and not used.")
    parser.add_argument(*CONTROL, metavar="JOBDIR", help="From RELION; the same as --o.")
    return parser


def _switch(word: str) -> bool:
    if word.lower() not in WORDS:
        raise argparse.ArgumentTypeError(f"{word} is neither Yes nor No")
    return WORDS[word.lower()]


def _length(word: str) -> float:
    value = float(word)
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"{word} is not a length in Å")
    return value


def _count(word: str) -> int:
    value = int(word)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{word} is less than 1")
    return value
