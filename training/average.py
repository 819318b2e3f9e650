"""Average the weights of two local networks of which one went on from the other: often better than either.

    python -m training.average first.safetensors second.safetensors --out mean.safetensors

The level network, and how it was made, are the second's (Izmailov et al. 2018, arXiv:1803.05407, for such averages).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    first, second = load_file(args.first), load_file(args.second)
    if {key: w.shape for key, w in first.items()} != {key: w.shape for key, w in second.items()}:
        raise SystemExit(f"{args.first} and {args.second} hold the weights of different networks")
    mean = {key: w if key.startswith("level.") else (first[key] + w) / 2 for key, w in second.items()}
    with safe_open(args.second, "pt") as file:
        metadata = dict(file.metadata() or {})
    save_file(mean, args.out, {**metadata, "averaged": f"the local network's weights with those of {args.first.name}"})


if __name__ == "__main__":
    main()
