"""`python -m tests.hostile.guided map --folder finds`: mutations that are guided by the code they reach.

Needs `pip install atheris` (libFuzzer for Python), which nothing else here does. A "map" is read as by the command; a
"model" is walked through as before it is opened. Ends with libFuzzer's exit code: not 0 at the first input that is
neither read nor refused in words, that takes 10 s or 2 GB. It is kept in the folder as `crash-…` or the like.
"""

import argparse
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["cryores_lite", "mrcfile"]):
    from cryores_lite.method import onnx_file
    from cryores_lite.method.network import shipped
    from tests.hostile import fuzz
    from tests.hostile.files import BZ2, GZ

MODEL, GRAPH = 4000, 7  # bytes of a model to begin with, at most; the number of the field that holds its network


class Found(Exception):
    """An input that was neither read nor refused in words."""


def main():
    """Fuzz. Does not return."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.guided", description=__doc__)
    parser.add_argument("what", choices=("map", "model"))
    parser.add_argument("--folder", type=Path, required=True, help="Keeps what reached new code; a later run goes on.")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    (corpus := options.folder / options.what).mkdir(parents=True, exist_ok=True)
    try_one, starts = _map(options.folder / "tried.mrc") if options.what == "map" else _model()
    for number, raw in enumerate(starts):
        (corpus / f"start-{number}").write_bytes(raw)
    words = (f"-runs={options.runs}", f"-seed={options.seed}", "-timeout=10", "-max_len=8192", "-print_final_stats=1")
    kept = f"-artifact_prefix={options.folder}/"
    atheris.Setup([sys.argv[0], *words, kept, str(corpus)], try_one)
    atheris.Fuzz()


def _map(path):
    """A way to try a map, which is written to `path`, and maps to begin with."""

    def try_one(raw):
        path.write_bytes(raw)
        said = []
        fuzz.judged(path, said.append)
        if said:
            raise Found(said[0])

    plain = fuzz.seeds()
    return try_one, [*plain, *(pack(raw) for raw in plain[:2] for pack in (GZ, BZ2))]


def _model():
    """A way to try a model file, and models to begin with."""

    def try_one(raw):
        try:
            next(onnx_file.violations(raw), None)
        except ValueError:
            return

    return try_one, [_small_model()]


def _small_model():
    """The shipped network's first nodes and smallest weights, as a whole file."""
    (graph,) = (part for field, part in onnx_file._fields(memoryview(shipped().read_bytes())) if field == GRAPH)
    found = b""
    for field, part in onnx_file._fields(graph):
        if field < 16 and isinstance(part, memoryview) and len(part) < 128 and len(found) + len(part) < MODEL:
            found += bytes((field << 3 | 2, len(part))) + part
    return bytes((GRAPH << 3 | 2, len(found) & 127 | 128, len(found) >> 7)) + found


if __name__ == "__main__":
    main()
