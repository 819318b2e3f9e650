"""The bare inference session on one tile: every execution provider that this onnxruntime has, and 8-bit convolutions.

    python -m benchmarks.session --threads 2 --validation runs/validation

Prints a Markdown table: seconds to open the session, to run a tile for the first time, and at best; how far the
answer is from the CPU provider's; and, with `--validation`, the errors over a folder of patches (see `training.train`).
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

from benchmarks.__main__ import table
from cryores_lite.io.mrc import read_map
from cryores_lite.method.band_features import band_features
from cryores_lite.method.network import CPU, INPUTS, OUTPUTS, Model, shipped
from cryores_lite.method.network_inputs import network_inputs
from cryores_lite.method.prepare import prepare
from cryores_lite.method.solvent_noise import solvent_estimate
from export.export import EXAMPLE
from training.network import Heads
from training.train import validate

EDGE = 160  # working voxels of the tile that is timed
RUNS = 5
Feed = dict[str, np.ndarray]


def example() -> Feed:
    """The network's inputs for all of the example map."""
    _, spectra = prepare(read_map(EXAMPLE).density)
    solvent = solvent_estimate(spectra.powers, spectra.outline)
    features = band_features(spectra.powers, solvent)
    level = Model.open(device="cpu").map_resolution(features)
    inputs = network_inputs(spectra, solvent, features, level)
    arrays = (features, inputs.density, inputs.bands, inputs.context, np.array([level.median]))
    return {name: np.asarray(a, np.float32)[None] for name, a in zip(INPUTS, arrays, strict=True)}


def tile(feed: Feed) -> Feed:
    """The same, its fields repeated to fill `EDGE`³ working voxels."""

    def filled(values: np.ndarray, edge: int) -> np.ndarray:
        return np.pad(values, [(0, 0), (0, 0), *((0, max(0, edge - n)) for n in values.shape[2:])], mode="wrap")[
            ..., :edge, :edge, :edge
        ]

    return {**feed, "density": filled(feed["density"], EDGE // 2), "bands": filled(feed["bands"], EDGE // 4)}


def in_8_bits(model: Path, feed: Feed, out: Path) -> Path:
    """The model with its 3³ convolutions in 8 bits, their ranges taken from `feed`."""

    class Once(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter([feed])

        def get_next(self) -> Feed | None:
            return next(self.left, None)

    graph = onnx.load(model).graph
    cubes = {t.name for t in graph.initializer if tuple(t.dims[2:]) == (3, 3, 3)}
    nodes = [node.name for node in graph.node if node.op_type == "Conv" and cubes & set(node.input)]
    quantize_static(model, out, Once(), quant_format=QuantFormat.QDQ, per_channel=True, nodes_to_quantize=nodes)
    return out


class Network:
    """A session that `training.train.validate` takes for the network."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def eval(self) -> None: ...

    def train(self) -> None: ...

    def __call__(self, *inputs: torch.Tensor) -> Heads:
        feed = {name: values.numpy() for name, values in zip(INPUTS, inputs, strict=True)}
        heads = Heads(*(torch.from_numpy(values) for values in self.session.run(OUTPUTS, feed)))
        return heads._replace(mask=torch.logit(heads.mask))


def variants(folder: Path, feed: Feed) -> Iterator[tuple[str, Path, str]]:
    """Name, model file and provider of all that is compared, the CPU first."""
    providers = [name for name in onnxruntime.get_available_providers() if name.startswith(("CUDA", "OpenVINO"))]
    yield "CPU", shipped(), CPU
    yield "CPU, 8 bits", in_8_bits(shipped(), feed, folder / "8.onnx"), CPU
    for provider in providers:
        yield provider.removesuffix("ExecutionProvider"), shipped(), provider


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--validation", type=Path, help="folder of patches")
    args = parser.parse_args()
    feed = example()
    large, rows, right = tile(feed), [], None
    with tempfile.TemporaryDirectory() as folder:
        for name, file, provider in variants(Path(folder), feed):
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads, options.enable_cpu_mem_arena, options.log_severity_level = args.threads, 0, 3
            chosen = [(provider, {"num_of_threads": str(args.threads)})] if name == "OpenVINO" else [provider]
            begun = time.perf_counter()
            session = onnxruntime.InferenceSession(file, options, providers=chosen)
            opened, seconds = time.perf_counter() - begun, []
            for _ in range(RUNS):
                begun = time.perf_counter()
                session.run(OUTPUTS[3:], large)
                seconds.append(time.perf_counter() - begun)
            relative, _, mask = session.run(OUTPUTS[3:], feed)
            right = right or (relative, mask)
            apart = [float(np.sqrt(np.mean((a - b) ** 2))) for a, b in zip((relative, mask), right, strict=True)]
            scores = validate(Network(session), args.validation, "cpu") if args.validation else {}
            rows.append(
                (
                    name,
                    *(f"{s:.2f}" for s in (opened, seconds[0], min(seconds))),
                    *(f"{a:.1e}" for a in apart),
                    *(f"{scores[k]:.4f}" for k in ("error", "pattern", "iou") if scores),
                )
            )
    validated = ("error", "pattern", "IoU") if args.validation else ()
    columns = ("provider", "open s", "first run s", "best run s", "rms difference Å", "of the mask", *validated)
    print(table(columns, rows))


if __name__ == "__main__":
    main()
