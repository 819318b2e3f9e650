r"""Fit the threshold of the mask and the scales of the stated errors on validation maps.

    python -m export.calibrate --weights training/weights/v6.safetensors --validation runs/validation \
        --structures ../shared/data/structures --out training/weights/v6.calibration.json

`export` writes these settings into the contract of the model file. The threshold is the highest at which the mask of
the median map keeps 95 % of its molecule: to keep it in every map would widen all masks because of a few maps in which
hardly any molecule is visible. The standard deviation of the map's log resolution is calibrated with a power law, so
that its 80 % interval contains 80 % of the errors of certain and of uncertain maps; then the error of local resolution,
which depends on it, is scaled, by the voxels in the mask, for each kind of editing that the network sees. For this,
maps of every kind of editing are added to the others. All maps are simulated from validation structures;
`training.evaluation` uses other seeds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from cryores_lite.method.assemble import aggregate
from cryores_lite.method.mask import likely_pieces
from cryores_lite.method.network import Model
from cryores_lite.method.predict import PROBABILITY_ONE, predict_tiles
from cryores_lite.method.restore import resample_to_crop
from cryores_lite.resources import available_threads
from cryores_lite.types import EDITINGS
from export.export import export
from training.data import read_levels
from training.evaluation.cases import Case, simulated_cases
from training.evaluation.metrics import INTERVAL, Scores, score
from training.losses import INTERVAL_SHARE
from training.maps.recipe import Recipe
from training.prepared_map import prepare_map

Numbers = npt.NDArray[np.floating]

SEED = 4052
MIN_COVERAGE = 0.95  # median over maps, share of the molecule that the mask keeps
TRIED_POWERS = np.linspace(0.5, 2.5, 41)
VOXELS_PER_MAP = 1000  # equal, so that large maps do not weigh more
EDITED_SHARE = 3  # one further map of each kind of editing per so many maps
MASK_THRESHOLDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)


def fit_power_law(stated: Numbers, errors: Numbers) -> tuple[float, float]:
    """Scale and power of the law with which `INTERVAL` deviations contain the share `INTERVAL_SHARE` of the errors.

    Linear quantile regression of log error on log deviation (Koenker & Bassett 1978, Econometrica 46, 33).
    """
    log_stated, log_errors = np.log(np.maximum(stated, 1e-6)), np.log(np.maximum(errors, 1e-6) / INTERVAL)
    best = (np.inf, 0.0, 1.0)  # loss, scale, power
    for power in TRIED_POWERS:
        excess = log_errors - power * log_stated
        log_scale = np.quantile(excess, INTERVAL_SHARE)
        excess -= log_scale
        loss = float(np.maximum(INTERVAL_SHARE * excess, (INTERVAL_SHARE - 1) * excess).mean())
        best = min(best, (loss, float(np.exp(log_scale)), float(power)))
    return round(best[1], 3), round(best[2], 3)


def fit_map_uncertainty(model: Model, folder: Path) -> tuple[float, float]:
    """Fit the power law of the standard deviation of maps' log median resolution."""
    levels, _ = read_levels(folder)
    estimates = [model.map_resolution(evidence.numpy()) for evidence in levels["evidence"]]
    errors = np.abs(np.log([e.median for e in estimates]) - np.log(levels["median"].numpy()))
    return fit_power_law(np.array([e.log_std for e in estimates]), errors)


def fit_error_scales(
    stated: Sequence[Numbers], true: Sequence[Numbers], editing: Sequence[Sequence[float]]
) -> list[float]:
    """Fit the factors with which `INTERVAL` deviations contain the share `INTERVAL_SHARE` of the errors.

    Parameters
    ----------
    stated, true : (voxels,) relative errors of each map
    editing : of each map, the probability of each of `EDITINGS`, by which its voxels count

    Returns
    -------
    One factor for each of `EDITINGS`
    """
    ratios = np.concatenate(true) / (INTERVAL * np.concatenate(stated))
    weights = np.repeat(np.array(editing), [len(errors) for errors in true], axis=0)
    order = np.argsort(ratios)
    sums = np.cumsum(weights[order], axis=0)
    at = [np.searchsorted(column, INTERVAL_SHARE * column[-1]) for column in sums.T]
    return [round(float(ratios[order[n]]), 3) for n in at]


def edited_cases(structures: Path, maps: int, recipe: Recipe) -> Iterator[Case]:
    """Simulated maps of validation structures, `maps` of each kind of editing."""
    for n, kind in enumerate(EDITINGS[1:], 1):
        yield from simulated_cases(structures, maps, SEED + n, replace(recipe, editing={kind: 1.0}))


def measure(case: Case, model: Model, rng: np.random.Generator) -> tuple[list[Scores], Numbers, Sequence[float]]:
    """Score a map at every threshold, and measure it at random voxels of its molecule.

    Returns
    -------
    Scores; (3, VOXELS_PER_MAP) stated and true relative errors, and probabilities of the mask; and the probability of
    each of `EDITINGS`
    """
    threads = available_threads()
    prepared = prepare_map(case.density, threads)
    resolution = model.map_resolution(prepared.features)
    fields = predict_tiles(model, prepared.inputs(resolution, threads), prepared.solvent.molecule)
    relative, error, probability = resample_to_crop(prepared.frame, *fields)
    truth = case.truth[prepared.frame.box.slices]
    everywhere, limit = np.ones(truth.shape, bool), 2 * max(case.density.grid.voxel_size)
    scale = prepared.scale  # of the network's lengths
    error *= model.error_scale(resolution.editing)
    values, uncertainty = aggregate(scale * resolution.global_, scale * relative, error, everywhere, limit)
    scores = []
    for threshold in MASK_THRESHOLDS:
        mask, _ = likely_pieces(probability > threshold * PROBABILITY_ONE, probability)
        scores.append(score(np.where(mask, values, 0), truth, mask, case.low_pass_limit))
    inside = truth > 0
    limit = case.low_pass_limit
    errors = np.abs(np.maximum(values[inside], limit) - np.maximum(truth[inside], limit))
    chosen = rng.integers(len(errors), size=VOXELS_PER_MAP)
    relative_errors = np.stack([uncertainty[inside], errors]) / values[inside]
    numbers = np.vstack([relative_errors, probability[inside] / PROBABILITY_ONE])[:, chosen]
    return scores, numbers, resolution.editing


def calibrate(
    weights: Path, validation: Path, structures: Path, maps: int, recipe: Recipe | None = None
) -> dict[str, float | list[float]]:
    """Fit the calibration of trained weights on the band features in `validation` and on simulated maps.

    `maps` is the number of maps of the recipe; those of `edited_cases` are added for the scales of the errors.
    """
    recipe = recipe or Recipe()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export(weights, path, "uncalibrated", "0")
        model = Model.open(path, device="cpu")
    doubt_scale, doubt_power = fit_map_uncertainty(model, validation)
    model = replace(model, spec=replace(model.spec, doubt_scale=doubt_scale, doubt_power=doubt_power))
    rng = np.random.default_rng(SEED)
    cases = tqdm(simulated_cases(structures, maps, SEED, recipe), total=maps, unit="map")
    measured = [measure(case, model, rng) for case in cases]
    coverage = np.median([[s.coverage for s in scores] for scores, _, _ in measured], 0)
    iou = np.median([[s.mask_iou for s in scores] for scores, _, _ in measured], 0)
    for threshold, covered, overlap in zip(MASK_THRESHOLDS, coverage, iou, strict=True):
        print(f"mask from {threshold:.2f}: median coverage {covered:.3f}, IoU {overlap:.3f}")
    sufficient = np.flatnonzero(coverage >= MIN_COVERAGE)
    mask_threshold = MASK_THRESHOLDS[sufficient[-1]] if len(sufficient) else MASK_THRESHOLDS[0]
    edited = tqdm(edited_cases(structures, max(1, maps // EDITED_SHARE), recipe), unit="edited map")
    measured += [measure(case, model, rng) for case in edited]
    numbers = [errors[:, errors[2] > mask_threshold] for _, errors, _ in measured]  # other voxels get no value
    stated, true, _ = zip(*numbers, strict=True)
    return {
        "mask_threshold": mask_threshold,
        "doubt_scale": doubt_scale,
        "doubt_power": doubt_power,
        "error_scales": fit_error_scales(stated, true, [editing for _, _, editing in measured]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--validation", type=Path, required=True, help="folder of training.data")
    parser.add_argument("--structures", type=Path, required=True, help="folder of structures")
    parser.add_argument("--maps", type=int, default=36, help="number of simulated maps")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the settings")
    args = parser.parse_args()
    settings = calibrate(args.weights, args.validation, args.structures, args.maps)
    print(json.dumps(settings))
    args.out.write_text(json.dumps(settings, indent=1) + "\n")


if __name__ == "__main__":
    main()
