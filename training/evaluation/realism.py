"""Compare simulated maps with real ones: spectra, histograms, slices, and a classifier.

    python -m training.evaluation.realism --shared ../shared --structures FOLDER --out docs/REALISM.md

The classifier gets patches of the network's inputs, and is scored on maps that it was not fitted to: an accuracy of
0.5 is chance, at 1 every patch of a simulated map is recognised. It is fitted for the simulator as it is, and with
each effect left out in turn. Its weights show which inputs differ most. No weight of the network is chosen here.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from cryores_lite.fourier.interpolation import resample_periodic
from cryores_lite.io.mrc import read_map
from cryores_lite.method.network import Model
from cryores_lite.method.network_inputs import BAND_SPAN, BANDS, NetworkInputs
from cryores_lite.types import Density, Volume
from training.evaluation.cases import bench_cases, case_of
from training.evaluation.page import insert
from training.maps.recipe import Recipe
from training.maps.simulate import draw_map, draw_signal
from training.maps.structures import Structure, read_manifest
from training.prepared_map import PreparedMap, prepare_map

Numbers = npt.NDArray[np.float64]

PATCH_EDGE = 8  # voxels of the quarter grid
PATCHES_PER_MAP = 12
FOLDS, PENALTY = 5, 1.0
SEED = 99
CHANGES: dict[str, dict[str, Any]] = {
    "all effects": {},
    "no processing": {"processing": {"average": 1.0}},
    "no masking": {"masking": {"none": 1.0}},
    "no local filter": {"processing": {"postprocess": 0.5, "average": 0.2, "sharpened": 0.15, "lowpass": 0.15}},
    "noise does not decrease from the centre": {"radial_noise": 0.0},
    "noise not stronger or weaker at the molecule": {"molecule_noise": 0.0},
    "no noise from pose errors": {"pose_noise": 0.0},
    "no missing views": {"missing_views": 0.0},
    "uniform mobility": {"mobility_spread": (1e-3, 1e-3)},
    "no envelope": {"amplitude_falloff": (1e-6, 1e-6)},
    "no resampling, padding": {"resampled": 0.0, "padded": 0.0},
    "no editing": {"editing": {"none": 1.0}, "composite": 0.0, "solvent_level": 0.0},
    "not sharpened or blurred afterwards": {"resharpened": 0.0},
}


@dataclass(frozen=True, eq=False, kw_only=True)
class DescribedMap:
    """A map, the network's inputs made of it, and features of its patches.

    Attributes
    ----------
    name : of the map
    density, prepared, inputs : the map in three stages
    patches : (patches, features), as `feature_names` lists them
    """

    name: str
    density: Density
    prepared: PreparedMap
    inputs: NetworkInputs
    patches: Numbers


def describe_map(name: str, density: Density, model: Model) -> DescribedMap:
    """Make the network's inputs of a map and describe its patches."""
    prepared = prepare_map(density)
    inputs = prepared.inputs(model.map_resolution(prepared.features))
    patches = np.array(list(patch_features(prepared, inputs)))
    return DescribedMap(name=name, density=density, prepared=prepared, inputs=inputs, patches=patches)


def feature_names() -> list[str]:
    """Names of the values of `patch_features`, in order."""
    bands = [f"{f:.2f}/median resolution" for f in np.geomspace(*BAND_SPAN, BANDS)]
    coarse = [f"{ratio} at {band}" for ratio in ("P/N", "P/median") for band in bands] + [
        "share not masked out",
        "initial estimate",
    ]
    fine = [f"{moment} of density" for moment in ("mean", "spread", "skewness", "kurtosis")]
    return [f"{moment} of {name}" for moment in ("mean", "spread") for name in coarse] + fine


def patch_features(prepared: PreparedMap, inputs: NetworkInputs) -> Iterator[Numbers]:
    """Features of random patches around the molecule: moments of every input over the molecule's voxels."""
    grid = inputs.bands.shape[1:]
    inside = resample_periodic(prepared.solvent.molecule.astype(np.float32), (grid[0], grid[1], grid[2])) > 0.5
    molecule = np.argwhere(inside)
    rng = np.random.default_rng(SEED)
    for voxel in molecule[rng.permutation(len(molecule))[:PATCHES_PER_MAP]]:
        low = np.clip(voxel - PATCH_EDGE // 2, 0, np.maximum(np.array(grid) - PATCH_EDGE, 0))
        z, y, x = (slice(n, n + PATCH_EDGE) for n in low)
        in_patch = inside[z, y, x]
        bands = inputs.bands[:, z, y, x][:, in_patch].astype(np.float32)
        z, y, x = (slice(2 * n, 2 * (n + PATCH_EDGE)) for n in low)
        in_half_grid = in_patch.repeat(2, 0).repeat(2, 1).repeat(2, 2)
        density = inputs.density[0, z, y, x][in_half_grid].astype(np.float32)
        moments = density.mean(), density.std(), stats.skew(density), stats.kurtosis(density)
        yield np.nan_to_num(np.concatenate([bands.mean(1), bands.std(1), moments]))


def classify(simulated: list[Numbers], real: list[Numbers]) -> tuple[float, Numbers]:
    """Cross-validate a logistic regression on the patches of two groups of maps.

    Returns its balanced accuracy on maps left out, and its mean weights on standardised features.
    """
    rng = np.random.default_rng(SEED)
    groups = (simulated, real)
    folds = [np.array_split(rng.permutation(len(group)), FOLDS) for group in groups]
    accuracies, weights = [], []
    for n in range(FOLDS):
        left_out = [set(group[n]) for group in folds]

        def patches(of_left_out: bool, left_out: list[set[int]] = left_out) -> tuple[Numbers, Numbers]:
            chosen = [
                np.concatenate([m for i, m in enumerate(group) if (i in left_out[g]) == of_left_out])
                for g, group in enumerate(groups)
            ]
            return np.concatenate(chosen), np.repeat([-1.0, 1.0], [len(c) for c in chosen])

        x, y = patches(False)
        centre, spread = x.mean(0), x.std(0) + 1e-6
        w = fit((x - centre) / spread, y)
        weights.append(w[1:])
        x, y = patches(True)
        correct = np.sign(np.clip((x - centre) / spread, -5, 5) @ w[1:] + w[0]) == y
        accuracies.append(np.mean([correct[y < 0].mean(), correct[y > 0].mean()]))
    return float(np.mean(accuracies)), np.mean(weights, 0)


def fit(x: Numbers, y: Numbers) -> Numbers:
    """Logistic regression with equal weights of both classes and a squared penalty: intercept and coefficients."""
    share = np.where(y > 0, 0.5 / (y > 0).mean(), 0.5 / (y < 0).mean()) / len(y)

    def loss(w: Numbers) -> tuple[float, Numbers]:
        margin = y * (x @ w[1:] + w[0])
        slope = -share * y / (1 + np.exp(np.clip(margin, -50, 50)))
        gradient = np.concatenate([[slope.sum()], x.T @ slope + PENALTY * w[1:] / len(w)])
        return float(share @ np.logaddexp(0, -margin) + 0.5 * PENALTY * w[1:] @ w[1:] / len(w)), gradient

    w: Numbers = optimize.minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B").x
    return w


def simulate(structures: list[Structure], recipe: Recipe, count: int, model: Model) -> list[DescribedMap]:
    """One simulated map of each of `count` structures, with the same noise seeds for every recipe."""
    described = []
    for n in range(count):
        rng = np.random.default_rng([SEED, n])
        structure = structures[n % len(structures)]
        case = case_of(structure.id, draw_map(draw_signal(structure, recipe, rng), recipe, rng))
        described.append(describe_map(f"simulated {structure.id}", case.density, model))
    return described


def draw(groups: dict[str, list[DescribedMap]], path: Path) -> None:
    """Draw spectra in units of the median resolution, histograms and slices of every group."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    columns = 6
    figure, axes = plt.subplots(2 + len(groups), columns, figsize=(15, 4 + 2.6 * len(groups)), layout="constrained")
    for axis in axes[:2].ravel():
        axis.remove()
    grid = axes[0, 0].get_gridspec()
    curve_axes = [figure.add_subplot(grid[:2, 2 * n : 2 * n + 2]) for n in range(3)]
    for colour, (name, group) in zip(("tab:blue", "tab:orange", "tab:green"), groups.items(), strict=False):
        draw_curves(curve_axes, name, group, colour)
    for row, group in zip(axes[2:], groups.values(), strict=True):
        draw_slices(row, group)
    figure.savefig(path, dpi=70)
    plt.close(figure)


def draw_curves(axes: list[Any], name: str, group: list[DescribedMap], colour: str) -> None:
    """Draw the power in the molecule, the ratio of power and noise, and the histogram of every map of a group."""
    for n, described in enumerate(group):
        solvent = described.prepared.solvent
        frequencies = described.prepared.spectra.powers.frequencies * described.inputs.median_resolution
        style = {"color": colour, "alpha": 0.5, "lw": 0.8, "label": name if n == 0 else None}
        axes[0].plot(
            frequencies, np.log10(np.maximum(solvent.molecule_power / solvent.molecule_power.max(), 1e-8)), **style
        )
        ratio = solvent.molecule_power / np.maximum(solvent.noise_power, 1e-30)
        axes[1].plot(frequencies, np.log10(np.maximum(ratio, 1e-4)), **style)
        values: Volume = described.density.values
        counts, edges = np.histogram((values - np.median(values)) / values.std(), 80, (-4, 12), density=True)
        axes[2].semilogy(edges[1:], counts + 1e-6, **style)
    titles = ("power in the molecule (log10)", "power / noise (log10)", "density / σ")
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title)
        axis.legend(fontsize="small")
    for axis in axes[:2]:
        axis.set_xlim(0, 2.5)
        axis.set_xlabel("frequency × median resolution")


def draw_slices(axes: list[Any], group: list[DescribedMap]) -> None:
    """Draw the central slices of the first maps of a group."""
    for axis, described in zip(axes, group, strict=False):
        values = described.density.values[described.prepared.frame.box.slices]
        axis.imshow(values[len(values) // 2], cmap="gray")
        axis.set_title(described.name, fontsize="small")
    for axis in axes:
        axis.set_axis_off()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with bench/ and data/maps/")
    parser.add_argument("--structures", type=Path, required=True)
    parser.add_argument("--simulated", type=int, default=40, help="number of simulated maps for every recipe")
    parser.add_argument("--out", type=Path, help="Markdown page for the table, with a picture beside it")
    args = parser.parse_args()
    model = Model.open(device="cpu")
    structures = read_manifest(args.structures, "validation")
    bench = [describe_map(case.name, case.density, model) for case in bench_cases(args.shared / "bench")]
    folder = args.shared / "data" / "maps"
    with (folder / "maps.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if "LOCAL RESOLUTION" not in row["kind"]]
    real = [describe_map(row["name"], read_map(folder / row["file"]).density, model) for row in rows]
    lines = [
        "| simulator | accuracy against real maps | accuracy against real and independent maps |",
        "|---|---:|---:|",
    ]
    parts, names = list[str](), feature_names()
    for name, change in CHANGES.items():
        simulated = simulate(structures, replace(Recipe(), **change), args.simulated, model)
        patches = [s.patches for s in simulated]
        accuracy, weights = classify(patches, [s.patches for s in real])
        accuracy_with_bench, _ = classify(patches, [s.patches for s in (*real, *bench)])
        lines.append(f"| {name} | {accuracy:.2f} | {accuracy_with_bench:.2f} |")
        print(lines[-1], flush=True)
        if not change:
            top = np.argsort(-np.abs(weights))[:10]
            listed = "\n".join(f"- {names[i]} ({'+' if weights[i] > 0 else '−'})" for i in top)
            parts.append(f"The features with the largest weights (+ larger, − smaller in real maps):\n\n{listed}")
            if args.out:
                draw({"real": real, "independent": bench, "simulated": simulated}, args.out.with_name("realism.png"))
    text = "\n\n".join(["\n".join(lines), *parts])
    print(text)
    if args.out:
        insert(args.out, f"{text}\n\n![Spectra, histograms and slices](realism.png)")


if __name__ == "__main__":
    main()
