"""Score the resolution by direction on simulated half maps with missing views of known strength.

    python -m training.evaluation.directions --shared ../shared --out docs/directions.md

Prints the tables and writes them into the page between its markers. `directional_pairs` draws the half maps.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryores_lite.half_maps.directions import WIDE_RANGE, measure_directions
from cryores_lite.half_maps.fsc_curves import fsc_curves, soft_mask
from cryores_lite.half_maps.local_directions import measure_local_directions
from cryores_lite.half_maps.local_fsc import checked_local_fsc
from cryores_lite.io.mrc import read_map
from training.evaluation.directional_pairs import (
    MAX_STRENGTH_ERROR,
    RATIOS,
    RECIPE,
    SEED,
    STRUCTURES,
    DirectionalPair,
    draw_pair,
    random_axis,
    structures_for,
)
from training.evaluation.page import insert, text_table
from training.maps.simulate import draw_signal

Curve = npt.NDArray[np.float64]

UNSEEN = 9  # structures that no setting was chosen on
SAME_RATIO = 0.01  # the range of a pair with all views ends this near to a ratio of 1
ISOTROPIC_PAIRS = 3  # of every structure


@dataclass(frozen=True, kw_only=True)
class Score:
    """How the measured resolution by direction of a pair agrees with the truth.

    Attributes
    ----------
    strength : true ratio of the worst to the best resolution
    kind : "equal", "across" (views across an axis are rare) or "along" (views along it are rare)
    found : whether views are said to be missing
    angle : degrees, between the true axis and the measured one
    ratio : measured
    low, high : range of the measured ratio
    true_ratio : of the pair
    fsc_ratio : ratio of the ellipsoid of the FSC by direction
    local : root mean square of the relative error of the local ratio inside the mask; NaN if not measured
    local_unequal : share of the voxels of the mask whose measured local ratio exceeds 1.02
    worst : the same error, of the local resolution in the worst direction
    seconds : CPU seconds of the measurement of the whole map
    """

    strength: float
    kind: str
    found: bool
    angle: float
    ratio: float
    low: float
    high: float
    true_ratio: float
    fsc_ratio: float
    local: float
    local_unequal: float
    worst: float
    seconds: float


def score_pair(pair: DirectionalPair, kind: str, strength: float, with_local: bool) -> Score:
    """Measure the resolution by direction of a pair, and compare it with the truth."""
    voxel_size, mask = pair.first.grid.voxel_size, pair.mask
    soft = soft_mask(mask, voxel_size)
    halves = pair.first.values, pair.second.values
    curves = fsc_curves(*halves, voxel_size, soft)
    start = time.process_time()
    found = measure_directions(*halves, voxel_size, soft, curves)
    seconds = time.process_time() - start
    measured = found.views.axes[2 if pair.along_is_worst else 0]
    local = worst = unequal = np.nan
    if with_local:
        fsc = checked_local_fsc(pair.first, pair.second)
        result = measure_local_directions(pair.first, pair.second, mask, found, fsc)
        local, worst = (
            float(np.sqrt(np.mean((values[mask] / true[mask] - 1) ** 2)))
            for values, true in ((result.anisotropy, pair.local_ratio), (result.worst, pair.local_worst))
        )
        unequal = float(np.mean(result.anisotropy[mask] > 1.02))
    return Score(
        strength=strength,
        kind=kind,
        found=found.significant,
        angle=float(np.degrees(np.arccos(min(1.0, abs(float(measured @ pair.axis)))))),
        ratio=found.views.ratio,
        low=found.ratio_range[0],
        high=found.ratio_range[1],
        true_ratio=pair.ratio,
        fsc_ratio=found.measured.ratio,
        local=local,
        local_unequal=unequal,
        worst=worst,
        seconds=seconds,
    )


def scored_pairs(folder: Path, number: int, unseen: bool = False) -> Iterator[Score]:
    """Scores of isotropic pairs of every structure and of pairs with missing views; local ones for every fourth."""
    seed = SEED + unseen
    for n, structure in enumerate(structures_for(folder, number, unseen)):
        signal = draw_signal(structure, RECIPE, np.random.default_rng([seed, n]))
        equal = [(1.0, "equal")] * ISOTROPIC_PAIRS
        for m, (strength, kind) in enumerate([*equal, *((ratio, "across") for ratio in RATIOS), (RATIOS[0], "along")]):
            rng = np.random.default_rng([seed, n, m])
            pair = draw_pair(signal, strength, kind != "along", random_axis(rng), RECIPE, rng)
            if abs(pair.ratio / strength - 1) < MAX_STRENGTH_ERROR:  # a flat curve can jump over the wanted ratio
                score = score_pair(pair, kind, strength, with_local=n % 4 == 0 and m > 0)
                print(structure.id, score, flush=True)
                yield score


def simulated_table(scores: list[Score]) -> str:
    """One row per strength."""
    rows = []
    for kind, strength in sorted({(s.kind, s.strength) for s in scores}, key=lambda key: (key[0] != "equal", key)):
        part = [s for s in scores if (s.kind, s.strength) == (kind, strength)]
        local = [s for s in part if np.isfinite(s.local)]
        ratios = [s.ratio for s in part]

        def mean(values: list[float]) -> str:
            return f"{np.mean(values):.3f}" if values else ""

        rows.append(
            (
                {"equal": "present everywhere"}.get(kind, f"rare {kind} an axis"),
                f"{strength:.1f}",
                f"{sum(s.found for s in part)} of {len(part)}",
                f"{np.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})",
                f"{sum(s.low - SAME_RATIO <= s.true_ratio <= s.high + SAME_RATIO for s in part)} of {len(part)}",
                str(sum(s.high > WIDE_RANGE * s.low for s in part if s.found)),
                f"{np.median([s.fsc_ratio for s in part]):.2f}",
                "" if kind == "equal" else f"{max(s.angle for s in part):.0f}°",
                mean([s.local for s in local]),
                mean([s.local_unequal for s in local]),
                mean([s.worst for s in local]),
            )
        )
    header = (
        "views",
        "true ratio",
        "found",
        "measured ratio, median (range)",
        "true ratio in the given range",
        "said to be uncertain",
        "of the FSC ellipsoid",
        "largest angle of the axis",
        "error of the local ratio",
        "voxels above 1.02",
        "error of the worst direction",
    )
    return text_table(header, rows, align="lr")


def bench_table(shared: Path) -> str:
    """The maps of another chain; only for reporting."""
    rows = []
    for folder in sorted(path for path in (shared / "bench").iterdir() if (path / "half1.mrc.gz").is_file()):
        first, second, mask = (read_map(folder / f"{name}.mrc.gz").density for name in ("half1", "half2", "mask"))
        voxel_size, soft = first.grid.voxel_size, soft_mask(mask.values > 0.5, first.grid.voxel_size)
        curves = fsc_curves(first.values, second.values, voxel_size, soft)
        start = time.process_time()
        found = measure_directions(first.values, second.values, voxel_size, soft, curves)
        seconds = time.process_time() - start
        chance, ratio = f"{found.chance:.1g}", f"{found.views.ratio:.3f}"
        rows.append((folder.name, found.sentence, ratio, f"{found.measured.ratio:.2f}", chance, f"{seconds:.2f}"))
    header = ("case", "sentence", "ratio", "of the FSC ellipsoid", "chance", "CPU seconds")
    return f"### Independent half maps\n\n{text_table(header, rows, align='llr')}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with bench/ and data/structures/")
    parser.add_argument("--structures", type=int, default=STRUCTURES, help="number of simulated structures")
    parser.add_argument("--unseen", type=int, default=UNSEEN, help="number of structures that no setting was chosen on")
    parser.add_argument("--out", type=Path, help="Markdown page for the tables")
    args = parser.parse_args()
    folder = args.shared / "data" / "structures"
    tables = "### Simulated half maps\n\n" + simulated_table(list(scored_pairs(folder, args.structures)))
    if args.unseen:
        unseen = simulated_table(list(scored_pairs(folder, args.unseen, unseen=True)))
        tables += f"\n\n### Simulated half maps of unseen structures\n\n{unseen}"
    tables += f"\n\n{bench_table(args.shared)}"
    print(tables)
    if args.out:
        insert(args.out, tables)


if __name__ == "__main__":
    main()
