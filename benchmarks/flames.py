"""Draw a flame graph of the command for the common map and every costly kind, with py-spy.

    python -m benchmarks.flames --out docs

Each picture is an SVG: open it in a browser, and click on a function to enlarge it. The width of a function is its
share of the samples, with all that it calls. The command uses one thread.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from benchmarks import maps
from benchmarks.process import COMMAND

SAMPLES_PER_SECOND = 20  # more samples add thin functions, and kilobytes
KINDS = {"common": (maps.BALL, 256, 0.15), **maps.COSTLY_KINDS}


def draw(name: str, out: Path) -> Path:
    """Draw the flame graph of one kind of map into the folder `out`. Returns its path."""
    kind, edge, filling = KINDS[name]
    path = out / f"flame_{name.replace(' ', '_').replace('.', '_').replace('Å', 'A')}.svg"
    with tempfile.TemporaryDirectory() as folder:
        map_path = maps.write(Path(folder) / "map.mrc", edge, filling, kind)
        command = [*COMMAND, str(map_path), "-o", folder, "-q", "-j", "1"]
        recorder = ["py-spy", "record", "--rate", str(SAMPLES_PER_SECOND), "--output", str(path)]
        subprocess.run([*recorder, "--", *command], check=True, capture_output=True)
    title = rf"\g<1>cryores-lite, {edge}³ voxels: {name}"
    text = re.sub(r'(<text id="title"[^>]*>)[^<]*', title, path.read_text(encoding="utf-8"))
    path.write_text(text, encoding="utf-8")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder")
    args = parser.parse_args()
    if not shutil.which("py-spy"):
        raise SystemExit("error: py-spy is not installed: pip install py-spy")
    for name in args.kinds:
        print(draw(name, args.out))


if __name__ == "__main__":
    main()
