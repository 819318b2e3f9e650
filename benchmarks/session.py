"""Measure the inference session on one tile: every execution provider of this onnxruntime, and 8-bit convolutions.

    python -m benchmarks.session --threads 2 --validation runs/validation

Prints a Markdown table: seconds to open the session, of the first run and of the fastest; the difference from the
output of the CPU provider; and, with `--validation`, the errors over a folder of patches (see `training.train`).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

from cryores_lite.io.mrc import read_map
from cryores_lite.method.network import CPU, INPUTS, OUTPUTS, Model, shipped_model
from export.export import EXAMPLE
from training.evaluation.page import text_table
from training.network import Heads
from training.prepared_map import prepare_map
from training.train import validate

TILE_EDGE = 160  # working voxels of the tile that is timed
RUNS = 5
Feed = dict[str, np.ndarray]


def example() -> Feed:
    """The network's inputs for all of the example map."""
    prepared = prepare_map(read_map(EXAMPLE).density)
    level = Model.open(device="cpu").map_resolution(prepared.features)
    inputs = prepared.inputs(level)
    arrays = (prepared.features, inputs.density, inputs.bands, inputs.context, np.array([level.median]))
    return {name: np.asarray(a, np.float32)[None] for name, a in zip(INPUTS, arrays, strict=True)}


def tile(feed: Feed) -> Feed:
    """The inputs with their fields repeated to fill `TILE_EDGE`³ working voxels."""

    def filled(values: np.ndarray, edge: int) -> np.ndarray:
        return np.pad(values, [(0, 0), (0, 0), *((0, max(0, edge - n)) for n in values.shape[2:])], mode="wrap")[
            ..., :edge, :edge, :edge
        ]

    return {**feed, "density": filled(feed["density"], TILE_EDGE // 2), "bands": filled(feed["bands"], TILE_EDGE // 4)}


def in_8_bits(model: Path, feed: Feed, out: Path) -> Path:
    """The model with its 3³ convolutions in 8 bits, whose ranges are those of `feed`."""

    class SingleFeed(CalibrationDataReader):
        def __init__(self) -> None:
            self.feeds = iter([feed])

        def get_next(self) -> Feed | None:
            return next(self.feeds, None)

    graph = onnx.load(model).graph
    cubes = {t.name for t in graph.initializer if tuple(t.dims[2:]) == (3, 3, 3)}
    nodes = [node.name for node in graph.node if node.op_type == "Conv" and cubes & set(node.input)]
    quantize_static(model, out, SingleFeed(), quant_format=QuantFormat.QDQ, per_channel=True, nodes_to_quantize=nodes)
    return out


class Network:
    """A session with the interface of the network, for `training.train.validate`."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def eval(self) -> None: ...

    def train(self) -> None: ...

    def __call__(self, *inputs: torch.Tensor) -> Heads:
        feed = {name: values.numpy() for name, values in zip(INPUTS, inputs, strict=True)}
        heads = Heads(*(torch.from_numpy(values) for values in self.session.run(OUTPUTS, feed)))
        return heads._replace(mask=torch.logit(heads.mask))


def variants(folder: Path, feed: Feed) -> Iterator[tuple[str, Path, str]]:
    """Yield name, model file and provider of each configuration, the CPU first."""
    providers = [name for name in onnxruntime.get_available_providers() if name.startswith(("CUDA", "OpenVINO"))]
    yield "CPU", shipped_model(), CPU
    yield "CPU, 8 bits", in_8_bits(shipped_model(), feed, folder / "8.onnx"), CPU
    for provider in providers:
        yield provider.removesuffix("ExecutionProvider"), shipped_model(), provider


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--validation", type=Path, help="folder of patches")
    args = parser.parse_args()
    feed = example()
    full_tile, rows = tile(feed), []
    reference: tuple[np.ndarray, np.ndarray] | None = None
    with tempfile.TemporaryDirectory() as folder:
        for name, file, provider in variants(Path(folder), feed):
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads, options.enable_cpu_mem_arena, options.log_severity_level = args.threads, 0, 3
            chosen = [(provider, {"num_of_threads": str(args.threads)})] if name == "OpenVINO" else [provider]
            start = time.perf_counter()
            session = onnxruntime.InferenceSession(file, options, providers=chosen)
            opened, seconds = time.perf_counter() - start, []
            for _ in range(RUNS):
                start = time.perf_counter()
                session.run(OUTPUTS[3:], full_tile)
                seconds.append(time.perf_counter() - start)
            relative, _, mask = session.run(OUTPUTS[3:], feed)
            reference = reference or (relative, mask)
            differences = [
                float(np.sqrt(np.mean((a - b) ** 2))) for a, b in zip((relative, mask), reference, strict=True)
            ]
            scores = validate(Network(session), args.validation, "cpu") if args.validation else {}
            rows.append(
                (
                    name,
                    *(f"{s:.2f}" for s in (opened, seconds[0], min(seconds))),
                    *(f"{a:.1e}" for a in differences),
                    *(f"{scores[k]:.4f}" for k in ("error", "pattern", "iou") if scores),
                )
            )
    validated = ("error", "pattern", "IoU") if args.validation else ()
    columns = ("provider", "open s", "first run s", "best run s", "rms difference Å", "of the mask", *validated)
    print(text_table(columns, rows))


if __name__ == "__main__":
    main()
