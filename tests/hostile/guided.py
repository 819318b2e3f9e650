"""`python -m tests.hostile.guided map --folder finds`: fuzzing guided by code coverage.

Only this module needs `pip install atheris` (libFuzzer for Python). A "map" is read as by the command; a "model" gets
the checks that precede its opening. libFuzzer stops with an exit code other than 0 at the first input that is neither
read nor refused with a message, or that takes 10 s or 2 GB. It saves the input in the folder as `crash-…`, `timeout-…`
or `oom-…`.
"""

import argparse
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["cryores_lite", "mrcfile"]):
    from cryores_lite.method import onnx_file
    from cryores_lite.method.network import shipped_model
    from tests.hostile import fuzz
    from tests.hostile.files import BZ2, GZ

MAX_SEED_MODEL_SIZE = 4000  # bytes
GRAPH_FIELD = 7  # number of the field of an ONNX file that holds the network


class Fault(Exception):
    """An input was neither read nor refused with a message."""


def main():
    """Fuzz; libFuzzer ends the process."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.guided", description=__doc__)
    parser.add_argument("what", choices=("map", "model"))
    parser.add_argument(
        "--folder", type=Path, required=True, help="For inputs that reach new code; a later run continues from them."
    )
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    (corpus := options.folder / options.what).mkdir(parents=True, exist_ok=True)
    try_one, seeds = _map_target(options.folder / "tried.mrc") if options.what == "map" else _model_target()
    for number, raw in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(raw)
    flags = (f"-runs={options.runs}", f"-seed={options.seed}", "-timeout=10", "-max_len=8192", "-print_final_stats=1")
    artifacts = f"-artifact_prefix={options.folder}/"
    atheris.Setup([sys.argv[0], *flags, artifacts, str(corpus)], try_one)
    atheris.Fuzz()


def _map_target(path):
    """A function that tries a map, which it writes to `path`, and seed maps."""

    def try_one(raw):
        path.write_bytes(raw)
        faults = []
        fuzz.read_and_judge(path, faults.append)
        if faults:
            raise Fault(faults[0])

    maps = fuzz.seed_maps()
    return try_one, [*maps, *(pack(raw) for raw in maps[:2] for pack in (GZ, BZ2))]


def _model_target():
    """A function that tries a model file, and seed models."""

    def try_one(raw):
        try:
            next(onnx_file.violations(raw), None)
        except ValueError:
            return

    return try_one, [_small_model()]


def _small_model():
    """A complete model file with the first nodes and smallest weights of the shipped network."""
    (graph,) = (
        part for field, part in onnx_file._fields(memoryview(shipped_model().read_bytes())) if field == GRAPH_FIELD
    )
    graph_fields = b""
    for field, part in onnx_file._fields(graph):
        if (
            field < 16
            and isinstance(part, memoryview)
            and len(part) < 128
            and len(graph_fields) + len(part) < MAX_SEED_MODEL_SIZE
        ):
            graph_fields += bytes((field << 3 | 2, len(part))) + part
    return bytes((GRAPH_FIELD << 3 | 2, len(graph_fields) & 127 | 128, len(graph_fields) >> 7)) + graph_fields


if __name__ == "__main__":
    main()
