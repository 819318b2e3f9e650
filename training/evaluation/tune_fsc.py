"""Choose three settings of half maps and of the statistical method, on simulated half maps of validation structures.

    python -m training.evaluation.tune_fsc --structures ../shared/data/structures --out docs/fsc_method.md

Half maps are a simulated signal with fresh noise in each half; the statistical method gets their average. The rules:

- band step: the widest whose mean relative RMSE is at most 0.001 above that of the finest.
- mask rule: the least reach at which at most 5 % of the accepted masked maps differ by more than 5 % from the estimate
  of the unmasked map. Both estimates are crossings only: at a suspected low-pass filter, the estimate is the frequency
  of the filter, whatever the noise.
- thresholds of copies: those that misjudge the fewest pairs. The value in use stays unless another misjudges fewer.

Prints the measurements, and writes a row for each setting into the page between its markers.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import fft

from cryores_lite.fourier.spectrum import radius
from cryores_lite.half_maps import independence as copies
from cryores_lite.half_maps.local_fsc import MEASURED_BAND_STEP, local_fsc
from cryores_lite.method import statistical
from cryores_lite.method.crop import cut
from cryores_lite.method.restore import resample_to_crop
from cryores_lite.method.solvent_noise import SOLVENT_SHELL, highest_crossing
from cryores_lite.method.statistical import masked_out_share
from cryores_lite.types import Density, Mask, Volume
from training.evaluation.cases import Case, masked, sharpened
from training.evaluation.metrics import score
from training.evaluation.page import header_lines, insert
from training.evaluation.simulated_pairs import SimulatedPair, simulated_pairs, spread_structures
from training.maps.recipe import Recipe
from training.prepared_map import prepare_map

Numbers = npt.NDArray[np.float64]

SEED = 2027  # differs from that of the tables of scores
SIGNALS = 12
BAND_STEPS = (1.05, 1.08, 1.12, 1.18, 1.25, 1.35)
MAX_RMSE_INCREASE = 0.001  # of the relative RMSE
REACHES = (19.0, 21.0, 23.0, 25.0, 27.0, 31.0, 35.0)  # Å
MASK_EXTENTS = (2.0, 6.0, 10.0, 14.0, 18.0, 24.0)  # Å from the molecule to the beginning of a mask's edge
MASK_EDGES = (4.0, 10.0)  # Å, width of the edge
MAX_CHANGE = 0.05  # of the median, by masking
MAX_CHANGED_SHARE = 0.05  # of the accepted maps


def measure_band_steps(pair: SimulatedPair) -> dict[float, tuple[float, float]]:
    """Relative RMSE and CPU seconds of every band step."""
    measured = {}
    for step in BAND_STEPS:
        start = time.process_time()
        local = local_fsc(pair.first, pair.second, step=step).values
        seconds = time.process_time() - start
        measured[step] = score(local, pair.truth, pair.truth > 0).relative_rmse, seconds
    return measured


def estimate_from_noise(case: Case) -> tuple[float, bool, dict[float, float]]:
    """Median in Å, whether solvent is visible, and the share of voxels set to a constant within every reach."""
    prepared = prepare_map(case.density)
    solvent, powers = prepared.solvent, prepared.spectra.powers
    local = highest_crossing(
        powers, solvent.noise_power, np.ones(len(powers.frequencies), bool), 1 / powers.frequencies[-1]
    )
    (distance,) = resample_to_crop(prepared.frame, solvent.outline.distance)
    values = cut(case.density.values, prepared.frame.box)
    masked_out = {reach: masked_out_share(values, distance, reach) for reach in REACHES}
    return prepared.scale * float(np.median(local[solvent.molecule])), solvent.has_solvent, masked_out


@dataclass(frozen=True)
class MaskedEstimate:
    """A masked map with visible solvent: its mask, the relative change of its median, and its masked-out shares."""

    extend: float
    edge: float
    change: float
    masked_out: dict[float, float]  # by reach


def measure_masks(pair: SimulatedPair) -> list[MaskedEstimate]:
    """Mask the average of a pair in all ways that leave visible solvent, and estimate it again."""
    before, has_solvent, _ = estimate_from_noise(pair.average)
    print(f"{pair.name}: {before:.2f} Å from noise, {np.median(pair.truth[pair.truth > 0]):.2f} Å true")
    if not has_solvent:
        return []
    estimates = []
    for extend in MASK_EXTENTS:
        for edge in MASK_EDGES:
            after, has_solvent, masked_out = estimate_from_noise(masked(pair.average, extend, edge))
            if has_solvent:
                estimates.append(MaskedEstimate(extend, edge, abs(after / before - 1), masked_out))
    return estimates


def measure_likeness(pair: SimulatedPair) -> dict[str, list[float]]:
    """Likeness of independent half maps (also processed alike), of a half map and the average, and of copies."""
    average, voxel_size = pair.average.density.values, pair.first.grid.voxel_size[0]
    resolution = float(np.median(pair.truth[pair.truth > 0]))
    k = radius(average.shape, tuple(n * voxel_size for n in average.shape))

    def filtered(values: Volume, gain: Volume | Mask) -> Volume:
        out: Volume = fft.irfftn(fft.rfftn(values) * gain, s=values.shape).astype(np.float32)
        return out

    def on_values(change: Callable[[Case], Case]) -> Callable[[Volume], Volume]:
        def changed(values: Volume) -> Volume:
            case = Case(name="", density=Density(values, pair.first.grid), truth=pair.truth)
            return change(case).density.values

        return changed

    processings: dict[str, Callable[[Volume], Volume]] = {
        "soft mask": on_values(lambda case: masked(case, 6.0, 8.0)),
        "tight mask": on_values(lambda case: masked(case, 1.0, 3.0)),
        "hard mask": on_values(lambda case: masked(case, 4.0, 0.1)),
        "sharpened": on_values(lambda case: sharpened(case, -4 * resolution**2)),
        "blurred": on_values(lambda case: sharpened(case, 4 * resolution**2)),
        "low-passed": lambda values: filtered(values, k < 1 / resolution),
    }
    step = float(np.ptp(average)) / 255
    copyings: dict[str, Callable[[Volume], Volume]] = {
        **processings,
        "scaled": lambda values: 3 * values + 1,
        "rounded": lambda values: np.asarray(np.round(values / step) * step, np.float32),
    }
    a, b = pair.first.values, pair.second.values
    return {
        "halves": [
            copies.lowest_shell_fsc(a, b),
            *(copies.lowest_shell_fsc(change(a), change(b)) for change in processings.values()),
        ],
        "half": [copies.lowest_shell_fsc(a, average)],
        "copies": [
            copies.lowest_shell_fsc(a, a),
            *(copies.lowest_shell_fsc(a, change(a)) for change in copyings.values()),
        ],
    }


def band_step_row(measured: list[dict[float, tuple[float, float]]]) -> str:
    """The row of the band step."""
    errors, seconds = ({step: float(np.mean([m[step][n] for m in measured])) for step in BAND_STEPS} for n in (0, 1))
    finest = BAND_STEPS[0]
    chosen = max(step for step in BAND_STEPS if errors[step] <= errors[finest] + MAX_RMSE_INCREASE)
    listed = ", ".join(
        f"{100 * (step - 1):.0f} %: {errors[step]:.4f} ({seconds[step] / seconds[finest]:.2f})" for step in BAND_STEPS
    )
    rule = f"widest step whose mean relative RMSE is at most {MAX_RMSE_INCREASE:g} above that of the finest step"
    return row(
        "band step",
        f"{100 * (MEASURED_BAND_STEP - 1):.0f} %",
        rule,
        f"{listed} (CPU time)",
        f"{100 * (chosen - 1):.0f} %",
    )


def mask_rule_row(estimates: list[MaskedEstimate]) -> str:
    """The row of the mask rule."""
    listed, accepted_reaches = [], []
    for reach in REACHES:
        changes = [e.change for e in estimates if e.masked_out[reach] <= statistical.MAX_MASKED_OUT]
        changed = sum(change > MAX_CHANGE for change in changes)
        listed.append(f"{reach:g} Å: {changed} of {len(changes)}")
        if changes and changed <= MAX_CHANGED_SHARE * len(changes):
            accepted_reaches.append(reach)
    rule = (
        f"shortest reach at which the median of at most {MAX_CHANGED_SHARE:.0%} of the accepted masked maps changes by "
        f"more than {MAX_CHANGE:.0%}"
    )
    used = f"{SOLVENT_SHELL[1] + statistical.MASK_EDGE_WIDTH:g} Å"
    chosen = f"{min(accepted_reaches):g} Å" if accepted_reaches else f"no reach meets the rule: {used} is kept"
    return row("mask rule", used, rule, ", ".join(listed), chosen)


def likeness_row(measured: list[dict[str, list[float]]]) -> str:
    """The row of the copies' thresholds."""
    halves, half, same = (np.array([v for m in measured for v in m[kind]]) for kind in ("halves", "half", "copies"))
    independent = np.concatenate([halves, half])
    refused = best_threshold(copies.COPY_FSC, independent, same)
    warned = best_threshold(copies.DEPENDENT_FSC, halves, half)
    listed = (
        f"half maps {spread(halves)}, half map and average {spread(half)}, copies {spread(same)}; misclassified: "
        f"{count_misjudged(copies.COPY_FSC, independent, same)} by the threshold to refuse, "
        f"{count_misjudged(copies.DEPENDENT_FSC, halves, half)} by the threshold to warn"
    )
    rule = "fewest misclassified pairs"
    return row(
        "thresholds to refuse, to warn",
        f"{copies.COPY_FSC:g}, {copies.DEPENDENT_FSC:g}",
        rule,
        listed,
        f"{refused:g}, {warned:g}",
    )


def count_misjudged(threshold: float, below: Numbers, above: Numbers) -> int:
    """Number of values on the wrong side of a threshold."""
    return int((below > threshold).sum() + (above <= threshold).sum())


def best_threshold(used: float, below: Numbers, above: Numbers) -> float:
    """The threshold in use unless another misjudges fewer, else the median of those that misjudge the fewest."""
    tried = np.round(np.arange(0.02, 1, 0.01), 2)
    counts = np.array([count_misjudged(t, below, above) for t in tried])
    if count_misjudged(used, below, above) <= counts.min():
        return used
    return float(np.round(np.median(tried[counts == counts.min()]), 2))


def spread(values: Numbers) -> str:
    """The lowest and the highest value, and the 5th and 95th percentiles."""
    lowest, low, high, highest = np.percentile(values, (0, 5, 95, 100))
    return f"{lowest:.2f} to {highest:.2f} (95 %: {low:.2f} to {high:.2f})"


def row(*cells: str) -> str:
    """A row of the Markdown table."""
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=Path, required=True, help="folder of structures")
    parser.add_argument("--signals", type=int, default=SIGNALS)
    parser.add_argument("--out", type=Path, help="Markdown page for the table")
    args = parser.parse_args()
    steps, masks, likenesses = [], list[MaskedEstimate](), []
    for pair in simulated_pairs(spread_structures(args.structures, args.signals), Recipe(), SEED):
        steps.append(measure_band_steps(pair))
        masks += measure_masks(pair)
        likenesses.append(measure_likeness(pair))
        print(pair.name, steps[-1], likenesses[-1], flush=True)
    for estimate in masks:
        print(estimate.extend, estimate.edge, estimate.change, estimate.masked_out)
    header = header_lines(("setting", "old value", "rule", "measured", "new value"), align="l")
    text = "\n".join((header, band_step_row(steps), mask_rule_row(masks), likeness_row(likenesses)))
    print(text)
    if args.out:
        insert(args.out, text)


if __name__ == "__main__":
    main()
