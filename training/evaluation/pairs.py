"""Score cryores-lite-compare on pairs of simulated maps: one molecule, two different known local resolutions.

python -m training.evaluation.pairs --structures FOLDER --out FOLDER

Pairs are of three kinds. "mobile": in the second map, the mobility of the molecule varies more from place to place, as
in another class or before a local refinement. "coarser": the same, and the second map is 20 % coarser as a whole, as
from fewer particles. "regions": both maps have four times the noise power in one region, another one in each; so large
steps are rare in real maps, and hard for the network. Scores are those of voxels whose true difference exceeds 0.5 Å:
the share with the right sign, and the share that is called clear and has the wrong sign.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from cryores_lite.comparison.compare import CompareJob, compare
from cryores_lite.comparison.measure import CLEAR_Z
from cryores_lite.comparison.sides import read_side
from cryores_lite.fourier.spectrum import radius
from cryores_lite.io.mrc import write_map
from cryores_lite.io.mrc_header import Header
from cryores_lite.method.network import Model
from cryores_lite.types import Density, Grid, Mask, Volume
from training.maps import truth
from training.maps.known_map import KnownMap, MapKind, Placement
from training.maps.processing import process
from training.maps.recipe import UNEDITED, Recipe
from training.maps.simulate import Signal, draw_noise, draw_signal, with_noise
from training.maps.structures import Structure, read_manifest

SEED = 2026
STRUCTURES = ("1qvr", "6q20", "1gk9", "9be6", "1b5f", "6bqn")
KINDS = ("mobile", "coarser", "regions")
COARSER = 1.2  # resolution of the second map over that of the first
MOBILITY = ((0.3, 0.3), (1.5, 1.5))  # spread of the mobility in the first and the second map, log units
MIN_TRUE_DIFFERENCE = 0.5  # Å
RECIPE = replace(
    UNEDITED,
    resolution=(4.0, 4.0),
    usual_share=0.0,
    oversampling=(3.0, 3.0),
    box=(64, 96),
    missing_views=0.0,
)


@dataclass(frozen=True, kw_only=True)
class PairScore:
    """How a comparison agrees with the known difference.

    Attributes
    ----------
    name : of the pair
    voxels : number with a true difference above 0.5 Å inside both molecules
    negative : share of them in which B is truly finer
    right_sign : share of them in which the estimated difference has the sign of the true one
    wrong_and_clear : share of them with the wrong sign and |z| > 2
    rmse : Å, of the estimated difference, over all compared voxels
    r : correlation of the estimated and the true difference, over all compared voxels
    within_error : share of all compared voxels with an error below one standard deviation
    """

    name: str
    voxels: int
    negative: float
    right_sign: float
    wrong_and_clear: float
    rmse: float
    r: float
    within_error: float


def known_map(signal: Signal, recipe: Recipe, rng: np.random.Generator) -> KnownMap:
    """Add noise to a signal and post-process the map, without any other edit."""
    noise = draw_noise(signal, recipe, rng)
    k, frequencies = radius(signal.density.shape, signal.lengths), truth.bands(signal.voxel_size)
    average = with_noise(signal, noise, 0.5, rng)
    values, limit = process(
        average, k, frequencies, noise.curve, noise.global_resolution, kind="postprocess", recipe=recipe, rng=rng
    )
    z, y, x = signal.density.shape
    return KnownMap(
        density=Density(values.astype(np.float32), Grid((z, y, x), (signal.voxel_size,) * 3)),
        mask=signal.mask,
        truth=np.maximum(noise.local, limit),
        placement=Placement((z, y, x)),
        global_resolution=noise.global_resolution,
        low_pass_limit=limit,
        kind=MapKind("postprocess", "none", signal.molecule_kind, "none"),
    )


def draw_pair(structure: Structure, kind: str, seed: int) -> tuple[KnownMap, KnownMap]:
    """Two maps of one molecule, at one place, that differ as their `kind` says (see above)."""
    if kind == "regions":
        recipe = replace(RECIPE, composite=1.0, composite_noise=(0.7, 0.7))
        rng = np.random.default_rng([SEED, seed])
        signal = draw_signal(structure, recipe, rng)
        return known_map(signal, recipe, rng), known_map(signal, recipe, rng)
    recipes = [replace(RECIPE, mobility_spread=spread) for spread in MOBILITY]
    first, second = (draw_signal(structure, recipe, np.random.default_rng([SEED, seed])) for recipe in recipes)
    second = replace(second, resolution=(COARSER if kind == "coarser" else 1.0) * second.resolution)
    rng = np.random.default_rng([SEED, seed, 1])
    return known_map(first, recipes[0], rng), known_map(second, recipes[1], rng)


def score(name: str, estimated: Volume, z: Volume, error: Volume, true: Volume, inside: Mask) -> PairScore:
    """Score a difference map against the true difference, over the voxels `inside`; lengths in Å."""
    d, t, zs, errors = (field[inside].astype(np.float64) for field in (estimated, true, z, error))
    large = np.abs(t) > MIN_TRUE_DIFFERENCE
    wrong = np.sign(d[large]) != np.sign(t[large])
    return PairScore(
        name=name,
        voxels=int(large.sum()),
        negative=_share(t[large] < 0),
        right_sign=_share(~wrong),
        wrong_and_clear=_share(wrong & (np.abs(zs[large]) > CLEAR_Z)),
        rmse=float(np.sqrt(np.mean((d - t) ** 2))),
        r=float(np.corrcoef(d, t)[0, 1]),
        within_error=_share(np.abs(d - t) < errors),
    )


def _share(voxels: Mask) -> float:
    return float(voxels.mean()) if voxels.size else math.nan


def _write(path: Path, values: Volume, voxel_size: float) -> Path:
    z, y, x = values.shape
    header = Header(
        cella=(x * voxel_size, y * voxel_size, z * voxel_size),
        cellb=(90.0,) * 3,
        m=(x, y, z),
        nstart=(0,) * 3,
        axes=(1, 2, 3),
        origin=(0.0,) * 3,
    )
    return write_map(path, values, header, label="simulated", overwrite=True)


def compared(
    name: str, pair: tuple[KnownMap, KnownMap], folder: Path, threads: int, network: Callable[[], Model]
) -> PairScore:
    """Write two maps, compare them, and score the difference; files are named after `name`."""
    voxel_size = pair[0].density.grid.voxel_size[0]
    first, second = (
        _write(folder / f"{name}_{letter}.mrc", known.density.values, voxel_size)
        for letter, known in zip("ab", pair, strict=True)
    )
    job = CompareJob(folder=folder, overwrite=True, threads=threads)
    result = compare((read_side(first), read_side(second)), job, network).difference
    assert result.z is not None, "maps have errors"
    assert result.error is not None, "maps have errors"
    a, b = (known.local_resolution() for known in pair)
    return score(name, result.values, result.z, result.error, b - a, result.common & (a > 0) & (b > 0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the maps and comparisons")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    by_name = {structure.id: structure for structure in read_manifest(args.structures, "validation")}
    network = cache(lambda: Model.open(None, device="cpu", threads=args.threads))
    args.out.mkdir(parents=True, exist_ok=True)
    print("| pair | voxels | B finer | right sign | wrong and clear | RMSE | r | within 1 s.d. |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for kind in KINDS:
        for n, name in enumerate(STRUCTURES):
            pair = draw_pair(by_name[name], kind, n)
            s = compared(f"{name}_{kind}", pair, args.out, args.threads, network)
            print(
                f"| {name}, {kind} | {s.voxels} | {s.negative:.2f} | {s.right_sign:.4f} | {s.wrong_and_clear:.4f} | "
                f"{s.rmse:.2f} Å | {s.r:.2f} | {s.within_error:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
