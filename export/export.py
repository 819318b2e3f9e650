r"""Convert trained weights to the ONNX file that the runtime opens, and check that both give the same output.

    python -m export --weights training/weights/v6.safetensors --calibration training/weights/v6.calibration.json \
        --out models/cryores_v6.onnx

The file has its contract in its metadata. The export fails and writes nothing if onnx.checker reports an error, or if
torch and onnxruntime differ by more than 1e-3 Å or 1e-4 of mask probability on the tiles of a map.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from safetensors.torch import load_file
from torch import Tensor

from cryores_lite.io.mrc import read_map
from cryores_lite.method import band_features, network_inputs
from cryores_lite.method.network import INPUTS, OUTPUTS, Model
from cryores_lite.method.tiles import coarser, cover
from cryores_lite.types import EDITINGS, Density
from training.network import HALO, Heads, LocalResolutionNet
from training.prepared_map import prepare_map

OPSET = 18
TILE_EDGE = 256  # working voxels, of the largest tile at run time
CHECKED_TILE_EDGE = 80  # working voxels; small, so that the example map needs several tiles
TOLERANCE_ANGSTROM, TOLERANCE_PROBABILITY = 1e-3, 1e-4

UNCALIBRATED: Mapping[str, object] = {
    "mask_threshold": 0.5,
    "doubt_scale": 1.0,
    "doubt_power": 1.0,
    "error_scales": [1.0] * len(EDITINGS),
}
EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "example_map.mrc"


def export(
    weights: Path,
    out: Path,
    name: str,
    version: str,
    calibration: Mapping[str, object] = UNCALIBRATED,
    example: Path = EXAMPLE,
) -> tuple[float, float]:
    """Write the ONNX file `out`. Returns the largest differences (Å, probability) between torch and onnxruntime."""
    network = LocalResolutionNet()
    network.load_state_dict(load_file(weights))
    network.eval()
    contract = {
        "name": name,
        "version": version,
        "conditioning": network_inputs.VERSION,
        "evidence": band_features.FEATURES,
        "channels": network_inputs.CHANNELS,
        "context": network_inputs.CONTEXT,
        "halo": HALO,
        "tile": TILE_EDGE,
        **calibration,
        "training": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        part = Path(folder) / out.name
        write(network, part, contract)
        differences: tuple[float, float] = compare(network, Model.open(part, device="cpu"), read_map(example).density)
        if not (differences[0] <= TOLERANCE_ANGSTROM and differences[1] <= TOLERANCE_PROBABILITY):
            raise SystemExit(
                f"torch and onnxruntime differ by {differences[0]:.2e} Å, {differences[1]:.2e} in the mask"
            )
        part.replace(out)
    return differences


class NetworkWithProbability(torch.nn.Module):
    """The network with probabilities of the mask and of the kinds of editing instead of logits."""

    def __init__(self, network: LocalResolutionNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, evidence: Tensor, density: Tensor, bands: Tensor, context: Tensor, given_median: Tensor) -> Heads:
        heads: Heads = self.network(evidence, density, bands, context, given_median)
        return heads._replace(mask=heads.mask.sigmoid(), editing=heads.editing.exp())


def write(network: LocalResolutionNet, path: Path, contract: dict[str, object]) -> None:
    """Trace the network with variable tile sizes and save it in one file, with its weights and its contract."""
    arguments = (
        torch.randn(2, band_features.FEATURES, band_features.MAX_BANDS),
        torch.randn(2, 1, 16, 20, 24),
        torch.randn(2, network_inputs.CHANNELS, 8, 10, 12),
        torch.randn(2, network_inputs.CONTEXT),
        torch.full((2, 1), 3.0),
    )
    batch = torch.export.Dim("batch", min=1)
    z, y, x = (torch.export.Dim(f"eighth_{axis}", min=2) for axis in "zyx")
    shapes = (
        {0: batch},
        {0: batch, 2: 4 * z, 3: 4 * y, 4: 4 * x},
        {0: batch, 2: 2 * z, 3: 2 * y, 4: 2 * x},
        {0: batch},
        {0: batch},
    )
    torch.onnx.export(
        NetworkWithProbability(network),
        arguments,
        path,
        input_names=list(INPUTS),
        output_names=list(OUTPUTS),
        dynamic_shapes=shapes,
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    model = onnx.load(path)
    for part in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info, model.graph):
        del part.metadata_props[:]  # source files and lines on this machine
    onnx.helper.set_model_props(model, {"contract": json.dumps(contract)})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


@torch.no_grad()
def compare(network: LocalResolutionNet, model: Model, density: Density) -> tuple[float, float]:
    """Largest differences between torch and onnxruntime over the tiles of a map, in Å and in mask probability."""
    prepared = prepare_map(density)
    resolution = model.map_resolution(prepared.features)
    inputs = prepared.inputs(resolution)
    torch_resolution = network.level(torch.from_numpy(prepared.features)[None])
    angstrom = max(
        abs(resolution.global_ - torch_resolution.global_.item()),
        abs(resolution.median - torch_resolution.median.item()),
    )
    probability = float(np.abs(np.array(resolution.editing) - torch_resolution.editing[0].exp().numpy()).max())
    for tile in cover(prepared.solvent.outline.in_map, inputs.shape, HALO, CHECKED_TILE_EDGE**3):
        values, bands = inputs.density[(..., *coarser(tile.view, 2))], inputs.bands[(..., *coarser(tile.view, 4))]
        relative, error, mask = model.predict(
            prepared.features, values, bands, inputs.context, inputs.median_resolution
        )
        tensors = (prepared.features, values, bands, inputs.context)
        heads = network(
            *(torch.from_numpy(v)[None].float() for v in tensors), torch.tensor([[inputs.median_resolution]])
        )
        expected = (heads.relative[0, 0].numpy(), resolution.median * heads.error[0, 0].numpy())
        pairs = zip((relative, resolution.median * error), expected, strict=True)
        differences = (np.abs(a - b).max() for a, b in pairs)
        angstrom = float(np.max([angstrom, *differences]))
        probability = float(np.max([probability, np.abs(mask - heads.mask.sigmoid()[0].numpy()).max()]))
    return angstrom, probability


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--name", default="cryores")
    parser.add_argument("--version", default="6")
    parser.add_argument("--calibration", type=Path, help="JSON file of export.calibrate")
    parser.add_argument("--map", type=Path, default=EXAMPLE, help="map for the comparison")
    args = parser.parse_args()
    calibration = json.loads(args.calibration.read_text()) if args.calibration else UNCALIBRATED
    angstrom, probability = export(args.weights, args.out, args.name, args.version, calibration, args.map)
    print(f"{args.out}: torch and onnxruntime agree within {angstrom:.1e} Å and {probability:.1e} of mask probability")


if __name__ == "__main__":
    main()
