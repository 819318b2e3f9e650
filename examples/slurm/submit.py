"""Estimate a list of maps in a Slurm job array, with the memory that the largest map needs.

    python submit.py maps.txt answers --tasks 20 --cpus 2

Other options, for example --partition or --time, are passed to sbatch for the array.
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
from cryores_lite.io.mrc import grid_and_memory
from cryores_lite.job import plan
from cryores_lite.resources import estimated_memory, memory_per_voxel

SCRIPTS = Path(__file__).resolve().parent
MEMORY_MARGIN = 1.15  # factor on the estimate


def voxels_and_memory(path: Path) -> tuple[int, float]:
    """Number of voxels of a map, and bytes that it takes if its molecule fills the box.

    Both are 0 for a file that cannot be read: the array reports it.
    """
    try:
        grid, file_memory = grid_and_memory(path)
    except (CryoresError, OSError):
        return 0, 0.0
    return prod(grid.shape), estimated_memory(grid.shape, memory_per_voxel(grid.voxel_size)) + 2 * file_memory


def largest_first(sizes: Mapping[Path, tuple[int, float]]) -> list[Path]:
    """Sort maps by size, so that tasks of every n-th map have nearly equal work and begin with large maps."""
    return sorted(sizes, key=lambda path: (-sizes[path][0], path))


def sbatch(*arguments: object) -> str:
    """Submit a script and return the number of its job."""
    try:
        command = ["sbatch", "--parsable", *map(str, arguments)]
        finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    except FileNotFoundError:
        sys.exit("error: sbatch: found nothing on the PATH, expected Slurm's program; run this on a login node")
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: sbatch: found exit code {error.returncode}, expected 0; see its message above")
    return finished.stdout.strip().split(";")[0]


def submit() -> None:
    """Write the sorted list into the output folder; submit the array and the job that merges its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("maps", help="text file with one map per line")
    parser.add_argument("answers", type=Path, help="output folder, on a disk of all nodes")
    parser.add_argument("--tasks", type=int, default=20, help="in the array")
    parser.add_argument("--cpus", type=int, default=2, help="per task")
    options, sbatch_options = parser.parse_known_args()
    listed = read_list(options.maps)
    check_no_duplicates([plan(path, options.answers) for path in listed])
    sizes = {path: voxels_and_memory(path) for path in listed}
    paths, tasks = largest_first(sizes), min(options.tasks, len(listed))
    options.answers.mkdir(parents=True, exist_ok=True)
    sorted_list = options.answers / "cryores_lite_maps.txt"  # a user may keep a maps.txt there
    sorted_list.write_text("".join(f"{path}\n" for path in paths), encoding="utf-8", errors="surrogateescape")
    megabytes = ceil(MEMORY_MARGIN * max(memory for _, memory in sizes.values()) / 2**20) or 1024
    array_options = (f"--array=1-{tasks}", f"--cpus-per-task={options.cpus}", f"--mem={megabytes}M", *sbatch_options)
    job = sbatch(*array_options, SCRIPTS / "array.sh", sorted_list, options.answers)
    gather = sbatch(f"--dependency=afterany:{job}", SCRIPTS / "gather.sh", sorted_list, options.answers)
    sys.stdout.write(f"array {job}: {len(paths)} maps in {tasks} tasks of {megabytes} MB; gather {gather}\n")


if __name__ == "__main__":
    try:
        submit()
    except CryoresError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.filename}: found {error.strerror}, expected a writable folder; choose another one")
