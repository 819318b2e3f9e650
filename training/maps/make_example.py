"""Make the example map of the README and its truth, from a structure of the validation set.

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
from training.maps.recipe import UNEDITED
from training.maps.simulate import draw_map, draw_signal
from training.maps.structures import read_manifest

STRUCTURE, SEED = "1b5f", 3
EXAMPLE_RECIPE = replace(
    UNEDITED,
    resolution=(3.6, 3.6),
    oversampling=(3.0, 3.0),
    box=(80, 80),
    processing={"postprocess": 1.0},
    masking={"none": 1.0},
    molecule_noise=0.0,
    missing_views=0.0,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("examples"))
    args = parser.parse_args()
    structure = next(s for s in read_manifest(args.structures, "validation") if s.id == STRUCTURE)
    rng = np.random.default_rng(SEED)
    known = draw_map(draw_signal(structure, EXAMPLE_RECIPE, rng), EXAMPLE_RECIPE, rng)
    truth = known.local_resolution()
    n, voxel_size = truth.shape[0], known.density.grid.voxel_size[0]
    header = Header(
        cella=(n * voxel_size,) * 3,
        cellb=(90.0,) * 3,
        m=(n,) * 3,
        nstart=(0,) * 3,
        axes=(1, 2, 3),
        origin=(0.0,) * 3,
    )
    label = f"cryores_lite: simulated from {STRUCTURE.upper()}"
    density = known.density.values / known.density.values.std()
    write_map(args.out / "example_map.mrc", density, header, label=label, overwrite=True)
    uncompressed = write_map(args.out / "example_truth.mrc", truth, header, label=f"{label}, truth in A")
    (args.out / "example_truth.mrc.gz").write_bytes(gzip.compress(uncompressed.read_bytes(), mtime=0))
    uncompressed.unlink()
    percentiles = np.percentile(truth[known.mask], (2.5, 50, 97.5)).round(2)
    print(f"{n}³ voxels of {voxel_size:.2f} Å, truth {percentiles} Å")


if __name__ == "__main__":
    main()
