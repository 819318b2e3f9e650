"""Share a list of maps among the tasks of a Slurm job array, with the memory that the largest map needs.

    python submit.py maps.txt answers --tasks 20 --cpus 2

Options that it does not know are passed on to sbatch for the array, for example --partition or --time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from math import ceil, prod
from pathlib import Path

from cryores_lite import CryoresError
from cryores_lite.maplist import read_list
from cryores_lite.memory import needed
from cryores_lite.mrc import extent

HERE = Path(__file__).resolve().parent
SPARE = 1.15  # for what the estimate does not know


def memory(path: Path) -> float:
    """Bytes that a map takes if its molecule fills the box; 0 for what is no map, which fails by itself."""
    try:
        shape, held = extent(path)
    except (CryoresError, OSError):
        return 0.0
    return needed(shape) + 2 * held


def voxels(path: Path) -> int:
    """Voxels of a map, which tell its cost; 0 for what is no map."""
    try:
        return prod(extent(path)[0])
    except (CryoresError, OSError):
        return 0


def largest_first(paths: Sequence[Path]) -> list[Path]:
    """Sort maps by size: dealt out in turn, they make parts of nearly equal work, whose long maps come first."""
    sizes = {path: voxels(path) for path in paths}
    return sorted(paths, key=lambda path: (-sizes[path], path))


def sbatch(*words: object) -> str:
    """Submit a script; return the number of the job."""
    done = subprocess.run(["sbatch", "--parsable", *map(str, words)], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip().split(";")[0]


def main() -> None:
    """Write the sorted list beside the answers, submit the array, and the gathering of its tables after it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("maps", help="a file of maps, one a line")
    parser.add_argument("answers", type=Path, help="folder for the answers, on a disk that all nodes see")
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--cpus", type=int, default=2, help="per task")
    options, others = parser.parse_known_args()
    listed = read_list(options.maps)
    tasks = min(options.tasks, len(listed))
    paths = largest_first(listed)
    options.answers.mkdir(parents=True, exist_ok=True)
    ordered = options.answers / "maps.txt"
    ordered.write_text("".join(f"{path}\n" for path in paths), encoding="utf-8", errors="surrogateescape")
    megabytes = ceil(SPARE * max(map(memory, paths)) / 2**20) or 1024
    words = (f"--array=1-{tasks}", f"--cpus-per-task={options.cpus}", f"--mem={megabytes}M", *others)
    job = sbatch(*words, HERE / "array.sh", ordered, options.answers)
    after = sbatch(f"--dependency=afterany:{job}", HERE / "gather.sh", ordered, options.answers)
    sys.stdout.write(f"array {job}: {len(paths)} maps in {tasks} tasks of {megabytes} MB; gather {after}\n")


if __name__ == "__main__":
    main()
