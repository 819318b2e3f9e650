"""Average the weights of two local networks, the second trained further from the first.

    python -m training.average first.safetensors second.safetensors --out mean.safetensors

The average is often better than either (Izmailov et al. 2018, arXiv:1803.05407). The level network and the metadata are
those of the second.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file


def average(first: Path, second: Path, out: Path) -> None:
    """Write the mean of two local networks' weights, with the level network and the metadata of the second."""
    weights = load_file(second)
    local, first_local = (
        {k: w for k, w in part.items() if not k.startswith("level.")} for part in (weights, load_file(first))
    )
    if {key: w.shape for key, w in first_local.items()} != {key: w.shape for key, w in local.items()}:
        raise SystemExit(f"{first} and {second} contain the weights of different networks")
    mean = {**weights, **{key: (first_local[key] + w) / 2 for key, w in local.items()}}
    with safe_open(second, "pt") as file:
        metadata = dict(file.metadata() or {})
    save_file(mean, out, {**metadata, "averaged": f"the local network's weights with those of {first.name}"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    average(args.first, args.second, args.out)


if __name__ == "__main__":
    main()
