"""Fit what is read off validation maps, not trained: where the mask begins, and how large stated errors must be.

    python -m export.calibrate --weights training/weights/v5.safetensors --validation runs/validation \\
        --structures ../shared/data/structures --out training/weights/v5.calibration.json

`export` writes the numbers into the model's contract. The mask begins at the highest probability that keeps 95 % of
the typical (median) map's molecule: a few maps in which hardly any molecule can be seen would widen all others'
masks. The level's doubt goes through a power law with which 80 % intervals hold 80 % of easy and of hard maps alike
(errors that were learnt from seen maps are too small where a map is hard), then the local error, which knows that
doubt, is scaled. All on simulated maps of validation structures, none of which `training.evaluation` scores.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from cryores_lite.method.assemble import CERTAIN, SPECK, aggregate, resample_to_crop
from cryores_lite.method.crop import without_specks
from cryores_lite.method.network import Model
from cryores_lite.method.network_inputs import network_inputs
from cryores_lite.method.pipeline import predict
from cryores_lite.method.prepare import prepare
from cryores_lite.resources import available_threads
from export.export import export
from training.data import read_levels
from training.evaluation.cases import Case, simulated_cases
from training.evaluation.metrics import INTERVAL, Scores, score
from training.losses import HELD

SEED = 4052
COVERED = 0.95  # share of its molecule that the typical map's mask keeps
POWERS = np.linspace(0.5, 2.5, 41)
VOXELS = 1000  # of every map, so that large ones do not weigh more
THRESHOLDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)


def fit_law(stated: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Scale and power of the law after which `INTERVAL` deviations hold the share `HELD` of the errors.

    Linear quantile regression of log error on log deviation (Koenker & Bassett 1978, Econometrica 46, 33).
    """
    sizes, wanted = np.log(np.maximum(stated, 1e-6)), np.log(np.maximum(errors, 1e-6) / INTERVAL)
    best = (np.inf, 0.0, 1.0)
    for power in POWERS:
        over = wanted - power * sizes
        scale = np.quantile(over, HELD)
        over -= scale
        best = min(best, (float(np.maximum(HELD * over, (HELD - 1) * over).mean()), float(np.exp(scale)), float(power)))
    return round(best[1], 3), round(best[2], 3)


def fit_doubt(model: Model, folder: Path) -> tuple[float, float]:
    """The law of the level's doubt."""
    levels, _ = read_levels(folder)
    found = [model.level(evidence.numpy()) for evidence in levels["evidence"]]
    off = np.abs(np.log([level.median for level in found]) - np.log(levels["median"].numpy()))
    return fit_law(np.array([level.doubt for level in found]), off)


def answers(case: Case, model: Model, rng: np.random.Generator) -> tuple[list[Scores], np.ndarray]:
    """Scores at every threshold; stated and true relative errors at `VOXELS` voxels of the molecule."""
    threads = available_threads()
    prepared = prepare(case.density, threads)
    level = model.level(prepared.evidence)
    inputs = network_inputs(prepared.spectrum, prepared.powers, prepared.solvent, level.median, level.doubt, threads)
    relative, deviation, probability = predict(prepared, inputs, model)
    local, error, sure = resample_to_crop(prepared, relative, deviation, probability.astype(np.float32))
    truth = case.truth[prepared.box.slices]
    everywhere = np.ones(truth.shape, bool)
    values, uncertainty = aggregate(level.overall, local, error, everywhere, 2 * max(case.density.grid.voxel_size))
    scores = []
    for threshold in THRESHOLDS:
        mask = without_specks(sure > threshold * CERTAIN, SPECK)
        scores.append(score(np.where(mask, values, 0), truth, mask, case.low_pass_limit))
    inside = truth > 0
    apart = np.abs(np.maximum(values[inside], case.low_pass_limit) - np.maximum(truth[inside], case.low_pass_limit))
    drawn = rng.integers(len(apart), size=VOXELS)
    return scores, (np.stack([uncertainty[inside], apart]) / values[inside])[:, drawn]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--validation", type=Path, required=True, help="folder of training.data")
    parser.add_argument("--structures", type=Path, required=True)
    parser.add_argument("--maps", type=int, default=36)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export(args.weights, path, "uncalibrated", "0")
        model = Model.open(path, device="cpu")
    doubt_scale, doubt_power = fit_doubt(model, args.validation)
    model = replace(model, spec=replace(model.spec, doubt_scale=doubt_scale, doubt_power=doubt_power))
    scores, errors, rng = [], [], np.random.default_rng(SEED)
    for case in tqdm(simulated_cases(args.structures, args.maps, SEED), total=args.maps, unit="map"):
        found, both = answers(case, model, rng)
        scores.append(found)
        errors.append(both)
    coverage = np.median([[s.coverage for s in row] for row in scores], 0)
    iou = np.median([[s.mask_iou for s in row] for row in scores], 0)
    for threshold, kept, overlap in zip(THRESHOLDS, coverage, iou, strict=True):
        print(f"mask from {threshold:.2f}: typical coverage {kept:.3f}, IoU {overlap:.3f}")
    stated, true = np.concatenate(errors, 1)
    enough = np.flatnonzero(coverage >= COVERED)
    fitted = {
        "mask_threshold": THRESHOLDS[enough[-1]] if len(enough) else THRESHOLDS[0],
        "doubt_scale": doubt_scale,
        "doubt_power": doubt_power,
        "error_scale": round(float(np.quantile(true / (INTERVAL * stated), HELD)), 3),
    }
    print(json.dumps(fitted))
    args.out.write_text(json.dumps(fitted, indent=1) + "\n")


if __name__ == "__main__":
    main()
