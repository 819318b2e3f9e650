"""How simulated maps differ from real ones, as an experimentalist looks: spectra, histograms, slices, a classifier.

    python -m training.evaluation.realism --shared ../shared --structures FOLDER --out docs/REALISM.md

The classifier sees patches as the network sees them, and is scored on maps that it was not fitted to: at 0.5 it cannot
tell, at 1 something in every patch gives simulated maps away. It is fitted for the simulator as it is, and with each
effect left out in turn. Its weights name the inputs that differ most. Nothing here chooses a weight of the network.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import optimize, stats

from cryores_lite.fourier.interpolation import resample_periodic
from cryores_lite.io.mrc import read_map
from cryores_lite.method.band_features import band_features
from cryores_lite.method.network import Model
from cryores_lite.method.network_inputs import BAND_SPAN, BANDS, NetworkInputs, network_inputs
from cryores_lite.method.prepare import Frame, Spectra, prepare
from cryores_lite.method.solvent_noise import SolventEstimate, solvent_estimate
from cryores_lite.types import Density, Grid
from training.evaluation.__main__ import insert
from training.evaluation.cases import bench_cases
from training.maps.simulate import Recipe, draw_map, draw_signal
from training.maps.structures import Structure, read_manifest

PATCH, PATCHES = 8, 12  # voxels of the coarse grid, patches from a map
FOLDS, PENALTY = 5, 1.0
SEED = 99
WITHOUT: dict[str, dict[str, object]] = {
    "everything": {},
    "no processing": {"processing": {"average": 1.0}},
    "no masking": {"masking": {"none": 1.0}},
    "no local filter or sharpening": {
        "processing": {"postprocess": 0.5, "average": 0.2, "sharpened": 0.15, "lowpass": 0.15}
    },
    "no falling noise": {"falling_noise": 0.0},
    "no uneven noise": {"uneven_noise": 0.0},
    "no noise that follows the signal": {"following_noise": 0.0},
    "no missing views": {"missing_views": 0.0},
    "even mobility": {"unevenness": (1e-3, 1e-3)},
    "no envelope": {"envelope": (1e-6, 1e-6)},
    "no resampling, padding, 8 bits": {"resampled": 0.0, "padded": 0.0, "quantised": 0.0},
    "not sharpened or blurred afterwards": {"resharpened": 0.0},
}


@dataclass(frozen=True, eq=False)
class Seen:
    """A map as the network sees it. `patches` is (patches, features)."""

    name: str
    density: Density
    inputs: NetworkInputs
    frame: Frame
    spectra: Spectra
    solvent: SolventEstimate
    patches: np.ndarray


def see(name: str, density: Density, model: Model) -> Seen:
    """Prepare a map and describe its patches."""
    frame, spectra = prepare(density)
    solvent = solvent_estimate(spectra.powers, spectra.outline)
    features = band_features(spectra.powers, solvent)
    inputs = network_inputs(spectra, solvent, features, model.map_resolution(features))
    return Seen(name, density, inputs, frame, spectra, solvent, np.array(list(describe(solvent, inputs))))


def feature_names() -> list[str]:
    """What `describe` gives, in order."""
    bands = [f"{f:.2f}/level" for f in np.geomspace(*BAND_SPAN, BANDS)]
    coarse = [f"{what} at {band}" for what in ("P/N", "P/median") for band in bands] + ["share of map", "estimate"]
    fine = [f"{what} of density" for what in ("mean", "spread", "skewness", "kurtosis")]
    return [f"{what} of {name}" for what in ("mean", "spread") for name in coarse] + fine


def describe(solvent: SolventEstimate, inputs: NetworkInputs) -> Iterator[np.ndarray]:
    """Numbers of patches around molecule: moments of every input over the molecule's voxels."""
    grid = inputs.bands.shape[1:]
    inside = resample_periodic(solvent.molecule.astype(np.float32), (grid[0], grid[1], grid[2])) > 0.5
    where = np.argwhere(inside)
    rng = np.random.default_rng(SEED)
    for place in where[rng.permutation(len(where))[:PATCHES]]:
        low = np.clip(place - PATCH // 2, 0, np.maximum(np.array(grid) - PATCH, 0))
        coarse = tuple(slice(a, a + PATCH) for a in low)
        half = tuple(slice(2 * a, 2 * a + 2 * PATCH) for a in low)
        there = inside[coarse]
        bands = inputs.bands[(..., *coarse)][:, there].astype(np.float32)
        density = inputs.density[(0, *half)][there.repeat(2, 0).repeat(2, 1).repeat(2, 2)].astype(np.float32)
        moments = density.mean(), density.std(), stats.skew(density), stats.kurtosis(density)
        yield np.nan_to_num(np.concatenate([bands.mean(1), bands.std(1), moments]))


def tell_apart(simulated: list[np.ndarray], real: list[np.ndarray]) -> tuple[float, np.ndarray]:
    """Balanced accuracy of a logistic regression on maps left out, and its mean weights on standardised features."""
    rng = np.random.default_rng(SEED)
    folds = [np.array_split(rng.permutation(len(group)), FOLDS) for group in (simulated, real)]
    hits, weights = [], []
    for n in range(FOLDS):
        out = [set(group[n]) for group in folds]
        parts = {}
        for left_out in (False, True):
            chosen = [
                np.concatenate([m for i, m in enumerate(group) if (i in out[g]) == left_out])
                for g, group in enumerate((simulated, real))
            ]
            parts[left_out] = np.concatenate(chosen), np.repeat([-1.0, 1.0], [len(c) for c in chosen])
        x, y = parts[False]
        middle, spread = x.mean(0), x.std(0) + 1e-6
        w = fit((x - middle) / spread, y)
        weights.append(w[1:])
        x, y = parts[True]
        right = np.sign(np.clip((x - middle) / spread, -5, 5) @ w[1:] + w[0]) == y
        hits.append(np.mean([right[y < 0].mean(), right[y > 0].mean()]))
    return float(np.mean(hits)), np.mean(weights, 0)


def fit(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Logistic regression, both classes weighing alike, with a squared penalty: intercept and weights."""
    share = np.where(y > 0, 0.5 / (y > 0).mean(), 0.5 / (y < 0).mean()) / len(y)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        margin = y * (x @ w[1:] + w[0])
        slope = -share * y / (1 + np.exp(np.clip(margin, -50, 50)))
        gradient = np.concatenate([[slope.sum()], x.T @ slope + PENALTY * w[1:] / len(w)])
        return float(share @ np.logaddexp(0, -margin) + 0.5 * PENALTY * w[1:] @ w[1:] / len(w)), gradient

    return optimize.minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B").x


def simulate(structures: list[Structure], recipe: Recipe, count: int, model: Model) -> list[Seen]:
    """Simulated maps of as many structures; the same noise seeds for every recipe."""
    seen = []
    for n in range(count):
        rng = np.random.default_rng([SEED, n])
        structure = structures[n % len(structures)]
        simulated = draw_map(draw_signal(structure, recipe, rng), recipe, rng)
        density = Density(simulated.density, Grid(simulated.density.shape, (simulated.voxel_size,) * 3))
        seen.append(see(f"simulated {structure.id}", density, model))
    return seen


def draw(groups: dict[str, list[Seen]], path: Path) -> None:
    """Spectra in units of the level, histograms and slices of every group."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    columns = 6
    figure, axes = plt.subplots(2 + len(groups), columns, figsize=(15, 4 + 2.6 * len(groups)), layout="constrained")
    for axis in axes[:2].ravel():
        axis.remove()
    grid = axes[0, 0].get_gridspec()
    spectra = [figure.add_subplot(grid[:2, 2 * n : 2 * n + 2]) for n in range(3)]
    for colour, (name, group) in zip(("tab:blue", "tab:orange", "tab:green"), groups.items(), strict=False):
        for n, one in enumerate(group):
            powers, solvent = one.spectra.powers, one.solvent
            relative = powers.frequencies * one.inputs.median_resolution
            inside = np.log10(np.maximum(solvent.molecule_power / solvent.molecule_power.max(), 1e-8))
            label = {"color": colour, "alpha": 0.5, "lw": 0.8, "label": name if n == 0 else None}
            spectra[0].plot(relative, inside, **label)
            spectra[1].plot(
                relative,
                np.log10(np.maximum(solvent.molecule_power / np.maximum(solvent.noise_power, 1e-30), 1e-4)),
                **label,
            )
            values = (one.density.values - np.median(one.density.values)) / one.density.values.std()
            counts, edges = np.histogram(values, 80, (-4, 12), density=True)
            spectra[2].semilogy(edges[1:], counts + 1e-6, **label)
    for axis, title in zip(
        spectra, ("power in the molecule (log10)", "power / noise (log10)", "density / σ"), strict=True
    ):
        axis.set_title(title)
        axis.legend(fontsize="small")
    for axis in spectra[:2]:
        axis.set_xlim(0, 2.5)
        axis.set_xlabel("frequency × level")
    for row, group in zip(axes[2:], groups.values(), strict=True):
        for axis, one in zip(row, group, strict=False):
            values = one.density.values[one.frame.box.slices]
            axis.imshow(values[len(values) // 2], cmap="gray")
            axis.set_title(one.name, fontsize="small")
            axis.set_axis_off()
        for axis in row[len(group) :]:
            axis.set_axis_off()
    figure.savefig(path, dpi=70)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with bench/ and data/maps/")
    parser.add_argument("--structures", type=Path, required=True)
    parser.add_argument("--simulated", type=int, default=40, help="maps for every recipe")
    parser.add_argument("--out", type=Path, help="Markdown page to write the table into, and a picture beside it")
    args = parser.parse_args()
    model = Model.open(device="cpu")
    structures = read_manifest(args.structures, "validation")
    bench = [see(case.name, case.density, model) for case in bench_cases(args.shared / "bench")]
    folder = args.shared / "data" / "maps"
    with (folder / "maps.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if "LOCAL RESOLUTION" not in row["kind"]]
    real = [see(row["name"], read_map(folder / row["file"]).density, model) for row in rows]
    lines = ["| simulator | told from real maps | and from the independent maps too |", "|---|---:|---:|"]
    parts, names = [], feature_names()
    for name, change in WITHOUT.items():
        simulated = simulate(structures, replace(Recipe(), **change), args.simulated, model)
        patches = [s.patches for s in simulated]
        apart, weights = tell_apart(patches, [s.patches for s in real])
        both, _ = tell_apart(patches, [s.patches for s in (*real, *bench)])
        lines.append(f"| {name} | {apart:.2f} | {both:.2f} |")
        print(lines[-1], flush=True)
        if not change:
            top = np.argsort(-np.abs(weights))[:10]
            listed = ", ".join(f"{names[i]} ({'+' if weights[i] > 0 else '−'})" for i in top)
            parts.append(f"What gives real maps away most (sign: larger or smaller in real maps): {listed}.")
            if args.out:
                draw({"real": real, "independent": bench, "simulated": simulated}, args.out.with_name("realism.png"))
    text = "\n\n".join(["\n".join(lines), *parts])
    print(text)
    if args.out:
        insert(args.out, f"{text}\n\n![Spectra, histograms and slices](realism.png)")


if __name__ == "__main__":
    main()
