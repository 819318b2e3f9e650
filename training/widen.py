r"""Give the networks of version 5 the inputs that version 6 added, as weights to begin with.

    python -m training.widen --weights training/weights/v5.safetensors --out widened.safetensors

The new inputs have the weight 0: the widened networks give the output of version 5 until they are trained. The members
of the level network have no weights for the kind of editing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from cryores_lite.method.band_features import FEATURES
from cryores_lite.method.network_inputs import BANDS, CHANNELS, CONTEXT
from training.network import LocalResolutionNet

# Places of the old inputs among the new ones; the coupling comes after the powers, and its numbers before the flags.
KEPT_CHANNELS = (*range(2 * BANDS), *range(3 * BANDS, CHANNELS + BANDS))
KEPT_CONTEXT = (*range(4 * BANDS), *range(6 * BANDS, CONTEXT - 1))
KEPT_FEATURES = tuple(range(17))


def widened(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of version 5 with columns of 0 for the inputs that it did not have."""
    out = dict(weights)
    places = {
        **{key: (KEPT_FEATURES, FEATURES) for key in weights if key.endswith(".stem.weight")},
        "context.0.weight": (KEPT_CONTEXT, CONTEXT),
        "resolution.bands.weight": (KEPT_CHANNELS, CHANNELS + BANDS),
        "mask.bands.weight": (KEPT_CHANNELS, CHANNELS + BANDS),
    }
    for key, (kept, inputs) in places.items():
        old = out[key]
        if old.shape[1] != len(kept):
            raise SystemExit(f"{key} has {old.shape[1]} inputs, not the {len(kept)} of version 5")
        new = torch.zeros(old.shape[0], inputs, *old.shape[2:])
        new[:, list(kept)] = old
        out[key] = new
    new_parts = LocalResolutionNet().coupling.state_dict()
    return {**out, **{f"coupling.{key}": value for key, value in new_parts.items()}}


def widen(weights: Path, out: Path) -> Path:
    """Widen the weights in a file. Returns the path of the new file, `out`."""
    save_file(widened(load_file(weights)), out)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="of version 5")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    widen(args.weights, args.out)


if __name__ == "__main__":
    main()
