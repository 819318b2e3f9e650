"""Plant faults in a copy of the package, one at a time, and count how many of them the identity network finds.

    python tests/planted_faults.py [WORD...]

Each fault is a change of one line of source. `tests/runtime/test_identity_network.py` runs against the changed copy,
in a temporary folder, and must fail. Words choose the faults whose names hold one of them. About 10 s a fault.

Exit code 0: all chosen faults were found. 1: one was missed, or its line is no longer in the package: then give it the
new line. Run this by hand after changes to the tests or to the geometry of the method.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = "tests/runtime/test_identity_network.py"
COPIED = ("cryores_lite", "pyproject.toml", "tests/conftest.py", "tests/runtime")
SECONDS = 300  # of one run of the tests, after which a fault that hangs counts as found


@dataclass(frozen=True)
class Fault:
    """A replacement (of `re.sub`) for the one place in the package where a pattern matches."""

    name: str
    pattern: str
    replacement: str

    def plant(self, package: Path) -> None:
        """Change the source; LookupError if the pattern does not match exactly once."""
        sources = {path: path.read_text("utf-8") for path in package.rglob("*.py")}
        matches = {path: len(re.findall(self.pattern, text)) for path, text in sources.items()}
        if sum(matches.values()) != 1:
            raise LookupError(f"{sum(matches.values())} matches of {self.pattern}")
        (path,) = (path for path, count in matches.items() if count)
        path.write_text(re.sub(self.pattern, self.replacement, sources[path]), "utf-8")


FAULTS = (
    Fault("axes swapped in the written header", r"(= header\.axes)\n", r"\1[1], header.axes[0], header.axes[2]\n"),
    Fault("origin lost in the written header", r"(\w+\.origin) = header\.origin\n", r"\1 = (0, 0, 0)\n"),
    Fault("start lost in the written header", r"(nzstart) = header\.nstart\n", r"\1 = (0, 0, 0)\n"),
    Fault(
        "voxel sizes of z and x swapped",
        r"Grid\(shape, \(section, row, column\)\)",
        "Grid(shape, (column, row, section))",
    ),
    Fault("crop offset dropped on both ways", r"slice\(a, a \+ n\) (for a, n in zip\(self\.start)", r"slice(0, n) \1"),
    Fault(
        "crop offset dropped on the way back",
        r"\[box\.slices\](\[inside\]\[part\])",
        r"[tuple(slice(0, n) for n in box.shape)]\1",
    ),
    Fault("half a voxel added", r"(\(np\.arange\(n, dtype=np\.float64\) \+ \w+)\)", r"\1 + 0.5)"),
    Fault(
        "voxel size forgotten",
        r"transform_box\((\w+), density\.grid\.voxel_size, threads\)",
        r"transform_box(\1, (1.0, 1.0, 1.0), threads)",
    ),
    Fault("mask skipped", r"threshold \* \w+, (out=)", r"-1, \1"),
    Fault(
        "core taken from the other side of a tile",
        r"slice\(\(c\.start - v\.start\) // step, \(c\.stop - v\.start\) // step\)",
        "slice((v.stop - c.stop) // step, (v.stop - c.start) // step)",
    ),
    Fault("tiles turned over", r"(\w+\[\w+\] = values)\n(    return \w+\n\n\ndef depth_to_space)", r"\1[::-1]\n\2"),
    Fault(
        "tiles one voxel off on a coarser grid",
        r"slice\(s\.start // step, s\.stop // step\)",
        "slice(s.start // step + 1, s.stop // step + 1)",
    ),
    Fault("wrong stride of the density", r"(inputs\.density\[.*)2\)", r"\g<1>4)"),
    Fault("wrong stride of the band powers", r"(inputs\.bands\[.*)4\)", r"\g<1>8)"),
    Fault("parts of a voxel in the order x, y, z", r"\(z, y, x\) (in zip\(parts, np\.ndindex)", r"(x, y, z) \1"),
    Fault("padding off by one", r"before=\(z, y, x\)", "before=(z + 1, y, x)"),
    Fault(
        "grid made for the edges in reverse order",
        r"(int\(np\.ceil\(length / step / 2 .* for length in lengths)\)",
        r"\1[::-1])",
    ),
    Fault("interpolation without its share", r"second \*= share", "second *= 0"),
    Fault("factor on the error dropped", r"model\.error_scale\(resolution\.editing\) \* ", ""),
    Fault("atoms placed on the wrong side", r"positions - (start if)", r"positions + \1"),
)


def failures(folder: Path) -> str:
    """Run the tests on the package in a folder: the names of those that fail until the first, or what else ended."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", TESTS]
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        finished = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return "nothing within the time"
    if finished.returncode == 0:
        return ""
    names = re.findall(r"^(?:FAILED|ERROR) \S*?::(\w+)", finished.stdout, re.MULTILINE)
    return ", ".join(names) or finished.stdout[-500:]


def attempt(fault: Fault | None) -> str:
    """Say which test finds a fault (None: the package as it is), or that none does."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in COPIED:
            source, target = ROOT / part, folder / part
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
        if fault:
            fault.plant(folder / "cryores_lite")
        return failures(folder)


def main(words: list[str]) -> int:
    """Try the chosen faults and write one line each."""
    chosen = [fault for fault in FAULTS if not words or any(word in fault.name for word in words)]
    if found := attempt(None):
        sys.stdout.write(f"The tests fail without any fault: {found}\n")
        return 1
    found_count = 0
    for fault in chosen:
        try:
            found = attempt(fault)
        except LookupError as error:
            line = f"not planted: {error}"
        else:
            line = f"found by {found}" if found else "MISSED"
            found_count += bool(found)
        sys.stdout.write(f"{fault.name:45} {line}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{found_count} of {len(chosen)} faults were found.\n")
    return int(found_count < len(chosen))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
