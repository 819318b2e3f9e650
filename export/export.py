"""Turn trained weights into the ONNX file that the runtime opens, and prove that both give the same answer.

    python -m export --weights training/weights/v5.safetensors --calibration training/weights/v5.calibration.json \\
        --out models/cryores_v5.onnx

The file carries its contract in its metadata. The export fails, and writes nothing, when onnx.checker objects or
when torch and onnxruntime differ by more than 1e-3 Å or 1e-4 of mask probability on the tiles of a real map.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from safetensors.torch import load_file
from torch import Tensor

from cryores_lite.io.mrc import read_map
from cryores_lite.method import band_features as evidence
from cryores_lite.method import network_inputs as condition
from cryores_lite.method.network import INPUTS, OUTPUTS, Model
from cryores_lite.method.prepare import prepare
from cryores_lite.method.solvent_noise import solvent_estimate
from cryores_lite.method.tiles import coarser, cover
from cryores_lite.types import Density
from training.network import HALO, Heads, LocalResolutionNet

OPSET = 18
TILE = 256
TOLERANCE_ANGSTROM, TOLERANCE_PROBABILITY = 1e-3, 1e-4
CHECKED_TILE = 80  # small enough that the example map needs several


UNCALIBRATED = {"mask_threshold": 0.5, "doubt_scale": 1.0, "doubt_power": 1.0, "error_scale": 1.0}
EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "example_map.mrc"


def export(
    weights: Path,
    out: Path,
    name: str,
    version: str,
    calibration: dict[str, float] = UNCALIBRATED,
    example: Path = EXAMPLE,
) -> tuple[float, float]:
    """Write `out` and return the largest differences (Å, probability) between torch and onnxruntime on a map."""
    network = LocalResolutionNet()
    network.load_state_dict(load_file(weights))
    network.eval()
    contract = {
        "name": name,
        "version": version,
        "conditioning": condition.VERSION,
        "evidence": evidence.FEATURES,
        "channels": condition.CHANNELS,
        "context": condition.CONTEXT,
        "halo": HALO,
        "tile": TILE,
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


class Served(torch.nn.Module):  # type: ignore[misc]
    """The network with the mask's probability in place of its logit."""

    def __init__(self, network: LocalResolutionNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, evidence: Tensor, density: Tensor, bands: Tensor, context: Tensor, level: Tensor) -> Heads:
        heads: Heads = self.network(evidence, density, bands, context, level)
        return heads._replace(mask=heads.mask.sigmoid())


def write(network: LocalResolutionNet, path: Path, contract: dict[str, object]) -> None:
    """Trace the network with free tile sizes and save it with its contract, weights inside."""
    arguments = (
        torch.randn(2, evidence.FEATURES, evidence.MAX_BANDS),
        torch.randn(2, 1, 16, 20, 24),
        torch.randn(2, condition.CHANNELS, 8, 10, 12),
        torch.randn(2, condition.CONTEXT),
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
        Served(network),
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
        del part.metadata_props[:]  # where in which file on this machine it came from
    onnx.helper.set_model_props(model, {"contract": json.dumps(contract)})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


@torch.no_grad()
def compare(network: LocalResolutionNet, model: Model, density: Density) -> tuple[float, float]:
    """Largest difference between torch and onnxruntime over the tiles of a map, in Å and mask probability."""
    _, spectra = prepare(density)
    solvent = solvent_estimate(spectra.powers, spectra.outline)
    features = evidence.band_features(spectra.powers, solvent)
    level = model.map_resolution(features)
    inputs = condition.network_inputs(spectra, solvent, features, level)
    told = network.level(torch.from_numpy(features)[None])
    angstrom = max(abs(level.global_ - told.overall.item()), abs(level.median - told.median.item()))
    probability = 0.0
    for tile in cover(solvent.outline.in_map, inputs.shape, HALO, CHECKED_TILE**3):
        values, bands = inputs.density[(..., *coarser(tile.view, 2))], inputs.bands[(..., *coarser(tile.view, 4))]
        relative, error, mask = model.predict(features, values, bands, inputs.context, inputs.median_resolution)
        given = (features, values, bands, inputs.context)
        heads = network(*(torch.from_numpy(v)[None].float() for v in given), torch.tensor([[inputs.median_resolution]]))
        stated = model.spec.error_scale * heads.error[0, 0].numpy()
        ours = (heads.relative[0, 0].numpy(), level.median * stated)
        apart = (np.abs(a - b).max() for a, b in zip((relative, level.median * error), ours, strict=True))
        angstrom = float(np.max([angstrom, *apart]))
        probability = float(np.max([probability, np.abs(mask - heads.mask.sigmoid()[0].numpy()).max()]))
    return angstrom, probability


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--name", default="cryores")
    parser.add_argument("--version", default="5")
    parser.add_argument("--calibration", type=Path, help="JSON of export.calibrate")
    parser.add_argument("--map", type=Path, default=EXAMPLE, help="map for the comparison")
    args = parser.parse_args()
    calibration = json.loads(args.calibration.read_text()) if args.calibration else UNCALIBRATED
    angstrom, probability = export(args.weights, args.out, args.name, args.version, calibration, args.map)
    print(f"{args.out}: torch and onnxruntime agree within {angstrom:.1e} Å and {probability:.1e} of mask probability")


if __name__ == "__main__":
    main()
