"""Share a list of maps among the tasks of a Slurm job array, with the memory that the largest map needs.

    python submit.py maps.txt answers --tasks 20 --cpus 2

Options that it does not know are passed on to sbatch for the array, for example --partition or --time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping
from math import ceil, prod
from pathlib import Path

from cryores_lite import CryoresError
from cryores_lite.batch.map_list import check_no_duplicates, read_list
from cryores_lite.io.mrc import extent
from cryores_lite.job import plan
from cryores_lite.resources import needed

HERE = Path(__file__).resolve().parent
SPARE = 1.15  # for what the estimate does not know


def size(path: Path) -> tuple[int, float]:
    """Voxels of a map, which tell its cost, and bytes that it takes if its molecule fills the box.

    Nothing for what is no map: it fails by itself.
    """
    try:
        shape, held = extent(path)
    except (CryoresError, OSError):
        return 0, 0.0
    return prod(shape), needed(shape) + 2 * held


def largest_first(sizes: Mapping[Path, tuple[int, float]]) -> list[Path]:
    """Sort maps by size: dealt out in turn, they make parts of nearly equal work, whose long maps come first."""
    return sorted(sizes, key=lambda path: (-sizes[path][0], path))


def sbatch(*words: object) -> str:
    """Submit a script; return the number of the job."""
    try:
        done = subprocess.run(["sbatch", "--parsable", *map(str, words)], stdout=subprocess.PIPE, text=True, check=True)
    except FileNotFoundError:
        sys.exit("error: found no sbatch, expected it on the PATH; run this where jobs are submitted")
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: found that sbatch ended with {error.returncode}, expected 0; it says why above")
    return done.stdout.strip().split(";")[0]


def submit() -> None:
    """Write the sorted list beside the answers, submit the array, and the gathering of its tables after it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("maps", help="a file of maps, one a line")
    parser.add_argument("answers", type=Path, help="folder for the answers, on a disk that all nodes see")
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--cpus", type=int, default=2, help="per task")
    options, others = parser.parse_known_args()
    listed = read_list(options.maps)
    check_no_duplicates([plan(path, options.answers) for path in listed])
    sizes = {path: size(path) for path in listed}
    paths, tasks = largest_first(sizes), min(options.tasks, len(listed))
    options.answers.mkdir(parents=True, exist_ok=True)
    ordered = options.answers / "maps.txt"
    ordered.write_text("".join(f"{path}\n" for path in paths), encoding="utf-8", errors="surrogateescape")
    megabytes = ceil(SPARE * max(held for _, held in sizes.values()) / 2**20) or 1024
    words = (f"--array=1-{tasks}", f"--cpus-per-task={options.cpus}", f"--mem={megabytes}M", *others)
    job = sbatch(*words, HERE / "array.sh", ordered, options.answers)
    after = sbatch(f"--dependency=afterany:{job}", HERE / "gather.sh", ordered, options.answers)
    sys.stdout.write(f"array {job}: {len(paths)} maps in {tasks} tasks of {megabytes} MB; gather {after}\n")


if __name__ == "__main__":
    try:
        submit()
    except CryoresError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.filename}: found {error.strerror}, expected to write there; name another folder")
