"""Make the example map of the README, with its truth beside it: a validation structure, never trained on.

python -m training.maps.make_example --structures FOLDER --out examples
"""

from __future__ import annotations

import argparse
import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np

from cryores_lite.io.mrc import write_map
from cryores_lite.io.mrc_header import Header
from training.maps.simulate import Recipe, draw_map, draw_signal, truth_of
from training.maps.structures import read_manifest

STRUCTURE, SEED = "1b5f", 3
RECIPE = replace(
    Recipe(),
    resolution=(3.6, 3.6),
    oversampling=(3.0, 3.0),
    box=(80, 80),
    processing={"postprocess": 1.0},
    masking={"none": 1.0},
    uneven_noise=0.0,
    missing_views=0.0,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("examples"))
    args = parser.parse_args()
    structure = next(s for s in read_manifest(args.structures, "validation") if s.id == STRUCTURE)
    rng = np.random.default_rng(SEED)
    simulated = draw_map(draw_signal(structure, RECIPE, rng), RECIPE, rng)
    n, v = simulated.density.shape[0], simulated.voxel_size
    header = Header(
        cella=(n * v,) * 3, cellb=(90.0,) * 3, m=(n,) * 3, nstart=(0,) * 3, axes=(1, 2, 3), origin=(0.0,) * 3
    )
    note = f"cryores_lite: simulated from {STRUCTURE.upper()}"
    density = simulated.density / simulated.density.std()
    write_map(args.out / "example_map.mrc", density, header, label=note, overwrite=True)
    plain = write_map(args.out / "example_truth.mrc", truth_of(simulated), header, label=f"{note}, truth in A")
    (args.out / "example_truth.mrc.gz").write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
    plain.unlink()
    inside = truth_of(simulated)[simulated.mask]
    print(f"{n}³ voxels of {v:.2f} Å, truth {np.percentile(inside, (2.5, 50, 97.5)).round(2)} Å")


if __name__ == "__main__":
    main()
