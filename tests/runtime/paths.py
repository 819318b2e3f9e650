"""Folders and files of the repository, or of the copy of the tests outside it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
EXAMPLE = EXAMPLES / "example_map.mrc"
EXAMPLE_TRUTH = EXAMPLES / "example_truth.mrc.gz"
SUBMIT = EXAMPLES / "slurm" / "submit.py"
EXPERIMENTAL = ROOT / "tests" / "data"  # three small maps, described in its README.md
SHARED = ROOT.parent / "shared"  # evaluation data beside the repository; tests skip without it
