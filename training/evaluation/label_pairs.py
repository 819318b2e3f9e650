"""Measure the errors of labels from half maps that are not perfect, and which of them are refused.

    python -m training.evaluation.label_pairs --structures ../shared/data/structures --out docs/training.md

Prints a table and writes it into the page between its markers. The half maps are simulated; their truth is known.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cryores_lite.errors import InputError
from cryores_lite.half_maps.comparison import global_fsc_curves
from cryores_lite.half_maps.independence import lowest_shell_fsc
from cryores_lite.half_maps.local_fsc import checked_local_fsc
from cryores_lite.half_maps.pair import HalfMapPair
from cryores_lite.types import Density, Grid, Mask, Volume
from training.evaluation import directional_pairs
from training.evaluation.directional_pairs import MAX_STRENGTH_ERROR, RECIPE, draw_pair, random_axis, structures_for
from training.evaluation.half_map_pairs import masks, pairs, shifted, turned, with_common
from training.evaluation.page import insert, text_table
from training.evaluation.simulated_pairs import SimulatedPair
from training.maps.label_checks import check_label
from training.maps.simulate import draw_signal

SEED = 91
PAIRS = 4  # of each displacement, mask and share of common noise
STRUCTURES = 6  # with missing views
SHIFTS = (0.3, 0.5, 1.0)  # voxels
ANGLES = (1.0, 2.0)  # degrees
SCALES = (1.01, 1.02)
COMMON_SHARES = (0.1, 0.25, 0.5)
RATIOS = (1.0, *directional_pairs.RATIOS)  # of the worst to the best resolution by direction


@dataclass(frozen=True)
class LabelScore:
    """A label against the truth.

    Attributes
    ----------
    level : median relative error inside the molecule
    rms : root mean square of the relative error
    refusal : why the label is refused, or ""
    """

    level: float
    rms: float
    refusal: str


def score_label(first: Volume, second: Volume, grid: Grid, mask: Mask, truth: Volume) -> LabelScore:
    """Measure the local resolution of two half maps, compare it with the truth, and check the half maps."""
    halves = Density(first, grid), Density(second, grid)
    pair = HalfMapPair((Path("half1.mrc"), Path("half2.mrc")), *halves, lowest_shell_fsc(first, second))
    local = checked_local_fsc(*halves).values
    inside = mask & (local > 0) & (truth > 0)
    errors = local[inside] / truth[inside] - 1
    refusal = ""
    try:
        check_label(pair, mask, local, global_fsc_curves(pair, mask))
    except InputError as error:
        refusal = str(error)
    return LabelScore(float(np.median(errors)), float(np.sqrt(np.mean(errors**2))), refusal)


def changed(pair: SimulatedPair, seed: int) -> Iterator[tuple[str, Volume, Volume]]:
    """Yield half maps of a pair with each fault, by its name."""
    first, second = pair.first.values, pair.second.values
    yield "as they are", first, second
    for size in SHIFTS:
        yield f"shift of {size:g} voxels", first, shifted(second, (0.6 * size, 0.8 * size, 0.0))
    for angle in ANGLES:
        yield f"rotation by {angle:g}°", first, turned(second, angle, 1.0)
    for scale in SCALES:
        yield f"size × {scale:g}", first, turned(second, 0.0, scale)
    for name, mask in masks(pair).items():
        yield name, first * mask, second * mask
    common = np.random.default_rng(seed).permuted((first - second) / np.sqrt(2))
    for share in COMMON_SHARES:
        yield f"common noise, {share:.0%} of the power", *with_common(first, second, common, share)


def scores(structures: Path, count: int, directional: int, seed: int) -> dict[str, list[LabelScore]]:
    """Score labels by the fault of their half maps."""
    by_fault: dict[str, list[LabelScore]] = {}

    def note(name: str, score: LabelScore) -> None:
        by_fault.setdefault(name, []).append(score)
        print(f"{name}: {score}", flush=True)

    for n, pair in enumerate(pairs(structures, count, seed)):
        for name, first, second in changed(pair, seed + n):
            note(name, score_label(first, second, pair.first.grid, pair.mask, pair.truth))
    for n, structure in enumerate(structures_for(structures, directional)):
        signal = draw_signal(structure, RECIPE, np.random.default_rng([seed, n]))
        for m, ratio in enumerate(RATIOS):
            rng = np.random.default_rng([seed, n, m])
            drawn = draw_pair(signal, ratio, True, random_axis(rng), RECIPE, rng)
            if abs(drawn.ratio / ratio - 1) < MAX_STRENGTH_ERROR:
                halves = drawn.first.values, drawn.second.values
                score = score_label(*halves, drawn.first.grid, drawn.mask, drawn.truth)
                note(f"resolution by direction, ratio {ratio:g}", score)
    return by_fault


def table(by_fault: dict[str, list[LabelScore]]) -> str:
    """One row per fault."""
    rows = []
    for name, part in by_fault.items():
        levels, rms = np.array([s.level for s in part]), np.array([s.rms for s in part])
        kept = [s.rms for s in part if not s.refusal]
        rows.append(
            (
                name,
                f"{np.mean(levels):+.3f}",
                f"{rms.mean():.3f}",
                f"{rms.max():.3f}",
                f"{len(part) - len(kept)} of {len(part)}",
                f"{max(kept):.3f}" if kept else "",
            )
        )
    header = ("half maps", "mean of the median error", "mean rms error", "largest", "refused", "largest of the others")
    return text_table(header, rows, align="lr")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=Path, required=True, help="folder of structures")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="number of pairs with each fault")
    parser.add_argument("--directional", type=int, default=STRUCTURES, help="number of structures with missing views")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path, help="Markdown page for the table")
    args = parser.parse_args()
    text = table(scores(args.structures, args.pairs, args.directional, args.seed))
    print(text)
    if args.out:
        insert(args.out, text)


if __name__ == "__main__":
    main()
