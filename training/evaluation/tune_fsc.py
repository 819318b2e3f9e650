"""Decide three settings of half maps and of the statistical method on simulated half maps of validation structures.

    python -m training.evaluation.tune_fsc --structures ../shared/data/structures --out docs/fsc_method.md

Half maps are a simulated signal and fresh noise in each half; the statistical method gets their average. The rules:

- band step: the widest whose mean relative RMSE is at most 0.001 above the finest's.
- mask rule: the least reach with which no more than 5 % of the masked maps that are answered have moved by over 5 %
  from the answer of the map before it was masked. Both answers are crossings alone: where a low-pass is suspected the
  answer stands at its edge, whatever the noise.
- thresholds of copies: those that mistake the fewest pairs. The value in use stays where none mistakes fewer.

Prints what was measured, and writes a row for each into the page between its markers.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import fft

from cryores_lite.fourier.spectrum import radius
from cryores_lite.half_maps import independence as copies
from cryores_lite.half_maps.local_fsc import MEASURED_BAND_STEP, local_fsc
from cryores_lite.method import statistical
from cryores_lite.method.assemble import resample_to_crop
from cryores_lite.method.crop import cut
from cryores_lite.method.prepare import prepare
from cryores_lite.method.solvent_noise import SOLVENT_SHELL, highest_crossing, solvent_estimate
from cryores_lite.method.statistical import masked_out_share
from cryores_lite.types import Density, Grid, Volume
from training.evaluation.__main__ import insert
from training.evaluation.cases import Case, masked, sharpened
from training.evaluation.metrics import score
from training.maps.simulate import Recipe, draw_halves, draw_signal
from training.maps.structures import read_manifest

SEED = 2027  # another one than that of the tables of scores
SIGNALS = 12
STEPS = (1.05, 1.08, 1.12, 1.18, 1.25, 1.35)
WORSE = 0.001  # relative RMSE
REACHES = (19.0, 21.0, 23.0, 25.0, 27.0, 31.0, 35.0)  # Å
EXTENTS = (2.0, 6.0, 10.0, 14.0, 18.0, 24.0)  # Å from the molecule to where a mask begins to fall
EDGES = (4.0, 10.0)  # Å
MOVED, FEW = 0.05, 0.05  # of the median; share of the answered maps


@dataclass(frozen=True, eq=False)
class Pair:
    """Two simulated half maps with their truth (Å, 0 outside the molecule)."""

    name: str
    first: Density
    second: Density
    truth: Volume

    @property
    def average(self) -> Case:
        """What the statistical method gets."""
        values = copies.mean_map(self.first.values, self.second.values)
        return Case(self.name, Density(values, self.first.grid), self.truth, 0.0)


def pairs(structures: Path, count: int) -> Iterator[Pair]:
    """Half maps of signals spread over the validation structures; the same ones every time."""
    rows, recipe = read_manifest(structures, "validation"), Recipe()
    for n in range(count):
        rng = np.random.default_rng([SEED, n])
        structure = rows[n * len(rows) // count]
        signal = draw_signal(structure, recipe, rng)
        first, second, truth = draw_halves(signal, recipe, rng)
        grid = Grid(truth.shape, (signal.voxel_size,) * 3)
        yield Pair(structure.id, Density(first, grid), Density(second, grid), truth)


def by_step(pair: Pair) -> dict[float, tuple[float, float]]:
    """Relative RMSE and CPU seconds of every band step."""
    told = {}
    for step in STEPS:
        start = time.process_time()
        found = local_fsc(pair.first, pair.second, step=step).values
        seconds = time.process_time() - start
        told[step] = score(found, pair.truth, pair.truth > 0).relative_rmse, seconds
    return told


def by_noise(case: Case) -> tuple[float, bool, dict[float, float]]:
    """Median in Å, whether there is a ring of solvent, and what a mask has blanked up to every reach."""
    frame, spectra = prepare(case.density, 1)
    powers, solvent = spectra.powers, solvent_estimate(spectra.powers, spectra.outline)
    local = highest_crossing(
        powers, solvent.noise_power, np.ones(len(powers.frequencies), bool), 1 / powers.frequencies[-1]
    )
    (distance,) = resample_to_crop(frame, solvent.outline.distance)
    values = cut(case.density.values, frame.box)
    blank = {reach: masked_out_share(values, distance, reach) for reach in REACHES}
    return float(np.median(local[solvent.molecule])), solvent.has_solvent, blank


def by_mask(pair: Pair) -> list[tuple[float, float, float, dict[float, float]]]:
    """Of every mask whose map has a ring: its extent and edge, how far the answer moved, and what it has blanked."""
    before, valid, _ = by_noise(pair.average)
    print(f"{pair.name}: {before:.2f} Å from noise, {np.median(pair.truth[pair.truth > 0]):.2f} Å true")
    if not valid:
        return []
    told = []
    for extend in EXTENTS:
        for edge in EDGES:
            after, valid, blank = by_noise(masked(pair.average, extend, edge))
            if valid:
                told.append((extend, edge, abs(after / before - 1), blank))
    return told


def by_likeness(pair: Pair) -> dict[str, list[float]]:
    """Likeness of true half maps (also processed alike), of a half and the average, and of copies."""
    mean, size = pair.average.density.values, pair.first.grid.voxel_size[0]
    resolution = float(np.median(pair.truth[pair.truth > 0]))
    k = radius(mean.shape, tuple(n * size for n in mean.shape))

    def filtered(values: Volume, gain: Volume) -> Volume:
        return fft.irfftn(fft.rfftn(values) * gain, s=values.shape).astype(np.float32)

    def through(change: Callable[[Case], Case]) -> Callable[[Volume], Volume]:
        def changed(values: Volume) -> Volume:
            return change(Case("", Density(values, pair.first.grid), pair.truth, 0.0)).density.values

        return changed

    alike: dict[str, Callable[[Volume], Volume]] = {
        "soft mask": through(lambda case: masked(case, 6.0, 8.0)),
        "tight mask": through(lambda case: masked(case, 1.0, 3.0)),
        "hard mask": through(lambda case: masked(case, 4.0, 0.1)),
        "sharpened": through(lambda case: sharpened(case, -4 * resolution**2)),
        "blurred": through(lambda case: sharpened(case, 4 * resolution**2)),
        "low-passed": lambda values: filtered(values, k < 1 / resolution),
    }
    step = float(np.ptp(mean)) / 255
    alone = {**alike, "scaled": lambda values: 3 * values + 1, "rounded": lambda values: np.round(values / step) * step}
    a, b = pair.first.values, pair.second.values
    return {
        "halves": [copies.likeness(a, b), *(copies.likeness(change(a), change(b)) for change in alike.values())],
        "half": [copies.likeness(a, mean)],
        "copies": [copies.likeness(a, a), *(copies.likeness(a, change(a)) for change in alone.values())],
    }


def decide_step(told: list[dict[float, tuple[float, float]]]) -> str:
    """The row of the band step."""
    errors, seconds = ({step: float(np.mean([t[step][n] for t in told])) for step in STEPS} for n in (0, 1))
    chosen = max(step for step in STEPS if errors[step] <= errors[STEPS[0]] + WORSE)
    said = ", ".join(f"{100 * (s - 1):.0f} %: {errors[s]:.4f} ({seconds[s] / seconds[STEPS[0]]:.2f})" for s in STEPS)
    rule = f"widest with a mean relative RMSE at most {WORSE:g} above the finest's"
    return row(
        "band step",
        f"{100 * (MEASURED_BAND_STEP - 1):.0f} %",
        rule,
        f"{said} (CPU time)",
        f"{100 * (chosen - 1):.0f} %",
    )


def decide_reach(told: list[tuple[float, float, float, dict[float, float]]]) -> str:
    """The row of the mask rule."""
    said, good = [], []
    for reach in REACHES:
        moved = [m for _, _, m, blank in told if blank[reach] <= statistical.MAX_MASKED_OUT]
        wrong = sum(m > MOVED for m in moved)
        said.append(f"{reach:g} Å: {wrong} of {len(moved)}")
        if moved and wrong <= FEW * len(moved):
            good.append(reach)
    rule = f"least reach with which at most {FEW:.0%} of the answered masked maps moved by over {MOVED:.0%}"
    used = f"{SOLVENT_SHELL[1] + statistical.MASK_EDGE_WIDTH:g} Å"
    return row("mask rule", used, rule, ", ".join(said), f"{min(good):g} Å" if good else f"none: {used} stays")


def decide_likeness(told: list[dict[str, list[float]]]) -> str:
    """The row of the copies' thresholds."""
    halves, half, same = (np.array([v for t in told for v in t[kind]]) for kind in ("halves", "half", "copies"))
    refused = best(copies.COPY_FSC, np.concatenate([halves, half]), same)
    warned = best(copies.DEPENDENT_FSC, halves, half)
    said = (
        f"halves {spread(halves)}, half and average {spread(half)}, copies {spread(same)}; mistaken: "
        f"{wrong(copies.COPY_FSC, np.concatenate([halves, half]), same)} refused or let through, "
        f"{wrong(copies.DEPENDENT_FSC, halves, half)} warned of or not"
    )
    rule = "fewest pairs mistaken"
    return row("refuse, warn", f"{copies.COPY_FSC:g}, {copies.DEPENDENT_FSC:g}", rule, said, f"{refused:g}, {warned:g}")


def wrong(threshold: float, below: np.ndarray, above: np.ndarray) -> int:
    """How many values lie on the wrong side."""
    return int((below > threshold).sum() + (above <= threshold).sum())


def best(used: float, below: np.ndarray, above: np.ndarray) -> float:
    """The threshold in use if none mistakes fewer, else the middle of those that mistake the fewest."""
    tried = np.round(np.arange(0.02, 1, 0.01), 2)
    counts = np.array([wrong(t, below, above) for t in tried])
    if wrong(used, below, above) <= counts.min():
        return used
    return float(np.round(np.median(tried[counts == counts.min()]), 2))


def spread(values: np.ndarray) -> str:
    """Lowest, 5 %, 95 %, highest."""
    low, few, most, high = np.percentile(values, (0, 5, 95, 100))
    return f"{low:.2f} to {high:.2f} (95 %: {few:.2f} to {most:.2f})"


def row(*cells: str) -> str:
    """A line of the table."""
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=Path, required=True, help="folder of structures")
    parser.add_argument("--signals", type=int, default=SIGNALS)
    parser.add_argument("--out", type=Path, help="Markdown page for the table")
    args = parser.parse_args()
    steps, masks, likenesses = [], [], []
    for pair in pairs(args.structures, args.signals):
        steps.append(by_step(pair))
        masks += by_mask(pair)
        likenesses.append(by_likeness(pair))
        print(pair.name, steps[-1], likenesses[-1], flush=True)
    for told in masks:
        print(*told)
    lines = ["| setting | before | rule | found | decided |", "|---|---|---|---|---|"]
    text = "\n".join((*lines, decide_step(steps), decide_reach(masks), decide_likeness(likenesses)))
    print(text)
    if args.out:
        insert(args.out, text)


if __name__ == "__main__":
    main()
