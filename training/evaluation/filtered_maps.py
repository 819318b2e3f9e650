"""Score maps filtered at their local resolution against the noise-free map of simulated half maps.

    python -m training.evaluation.filtered_maps --structures FOLDER --out docs/FILTER.md

A score is the correlation with the noise-free map inside the molecule: of the waves of each shell, with a soft mask,
and in total, of the voxels. Shells are given in units of the global resolution. RELION is scored where
`relion_postprocess` is installed. Prints the tables, and writes them into the page between its markers.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import fft

from cryores_lite.figures.display_map import extend_outwards
from cryores_lite.fourier.fsc import without_tail
from cryores_lite.fourier.spectrum import radius
from cryores_lite.half_maps.fsc_curves import FscCurves, box_lengths, fsc_curves, shape_of, soft_mask
from cryores_lite.half_maps.fsc_filter import figure_of_merit, filtered_by_fsc, filtered_by_weights
from cryores_lite.half_maps.local_fsc import local_fsc
from cryores_lite.io.mrc import read_map, write_map
from cryores_lite.io.mrc_header import Header
from cryores_lite.method.coarse_voxels import scale_factor
from cryores_lite.method.network import Model
from cryores_lite.method.pipeline import estimate_local_resolution
from cryores_lite.outputs.local_filter import locally_filtered
from cryores_lite.types import Density, Lengths, Volume
from training.evaluation.page import insert, text_table
from training.evaluation.simulated_pairs import SimulatedPair, simulated_pairs, spread_structures
from training.maps.recipe import Recipe

Numbers = npt.NDArray[np.float64]

SEED = 2028  # differs from those of other tables
PAIRS = 12
SHELL_EDGES = (0.0, 0.25, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5)  # frequency times global resolution
MIN_WAVES = 20  # in a shell; shells with fewer, or beyond Nyquist, have no score
EQUAL = 1e-3  # of a correlation: smaller differences are ties
RELION = "relion_postprocess"
AVERAGE, GLOBAL, ESTIMATE, LOW_PASS, RAW, OURS, SQUARED, THEIRS = (
    "average of the half maps",
    "weighted by the global FSC",
    "low-pass at the network's estimate (`filtered`)",
    "low-pass at local FSC 0.143",
    "weighted by local FSC, with the tail of each curve",
    "**weighted by local FSC (`filtered_fsc`)**",
    "squared weight (Wiener filter)",
    "RELION, `--locres`",
)
HEADER = ("map", *(f"{low:g} to {high:g}" for low, high in pairwise(SHELL_EDGES)), "total")


def shell_correlations(values: Volume, true: Volume, voxel_size: Lengths, resolution: float) -> Numbers:
    """Correlate the waves of two maps in each shell; shells that the grid does not hold are NaN."""
    one, other = fft.rfftn(values), fft.rfftn(true)
    k = radius(shape_of(values), box_lengths(shape_of(values), voxel_size))
    shells = np.digitize(k * resolution, SHELL_EDGES) - 1
    shells[k > 0.5 / max(voxel_size)] = -1
    scores = np.full(len(SHELL_EDGES) - 1, np.nan)
    for n in range(len(scores)):
        a, b = one[shells == n], other[shells == n]
        if a.size >= MIN_WAVES:
            scores[n] = np.vdot(b, a).real / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-30)
    return scores


def scores_of(values: Volume, pair: SimulatedPair, resolution: float) -> Numbers:
    """Correlations with the noise-free map: by shell, and in total."""
    voxel_size = pair.first.grid.voxel_size
    soft = soft_mask(pair.mask, scaled(voxel_size))
    by_shell = shell_correlations(values * soft, pair.noise_free * soft, voxel_size, resolution)
    return np.append(by_shell, np.corrcoef(values[pair.mask], pair.noise_free[pair.mask])[0, 1])


def scaled(voxel_size: Lengths) -> Lengths:
    """Voxels on the scale at which half maps are measured."""
    factor = scale_factor(voxel_size)
    z, y, x = (v / factor for v in voxel_size)
    return z, y, x


def globally_weighted(values: Volume, curves: FscCurves, voxel_size: Lengths) -> Volume:
    """Weight a map by the figure of merit of its global FSC."""
    k = radius(shape_of(values), box_lengths(shape_of(values), voxel_size))
    gain = np.interp(k, [0, *curves.frequencies], [1, *figure_of_merit(np.asarray(curves.best, np.float32))])
    out: Volume = fft.irfftn(fft.rfftn(values) * gain, s=values.shape).astype(np.float32)
    return out


def relion_filtered(pair: SimulatedPair) -> Volume:
    """RELION's locally filtered map of the half maps, without sharpening."""
    voxel_size = scaled(pair.first.grid.voxel_size)[0]  # its windows have a fixed size in Å
    with tempfile.TemporaryDirectory() as folder:
        for n, half in enumerate((pair.first, pair.second), 1):
            write_map(Path(folder) / f"h_half{n}_class001_unfil.mrc", half.values, header_for(half), label="simulated")
        words = [RELION, "--i", "h_half1_class001_unfil.mrc", "--i2", "h_half2_class001_unfil.mrc", "--o", "p"]
        words += ["--angpix", str(voxel_size), "--locres", "--adhoc_bfac", "0"]
        subprocess.run(words, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return read_map(Path(folder) / "p_locres_filtered.mrc").density.values


def header_for(density: Density) -> Header:
    """A header for a simulated map."""
    (z, y, x), v = density.grid.shape, density.grid.voxel_size[0]
    return Header(
        cella=(x * v, y * v, z * v),
        cellb=(90.0,) * 3,
        m=(x, y, z),
        nstart=(0,) * 3,
        axes=(1, 2, 3),
        origin=(0.0,) * 3,
    )


def score_pair(pair: SimulatedPair, model: Model, with_relion: bool) -> tuple[dict[str, Numbers], float]:
    """Scores of every filtered map of a pair, and the CPU seconds of our weight."""
    grid = pair.first.grid
    average = pair.average.density.values
    soft = soft_mask(pair.mask, scaled(grid.voxel_size))
    curves = fsc_curves(pair.first.values, pair.second.values, scaled(grid.voxel_size), soft)
    local = local_fsc(pair.first, pair.second)
    start = time.process_time()
    ours = filtered_by_fsc(average, local, grid.voxel_size)
    seconds = time.process_time() - start
    fsc = without_tail(local.fsc)
    estimate = estimate_local_resolution(Density(average, grid), model, threads=1)
    maps = {
        AVERAGE: average,
        GLOBAL: globally_weighted(average, curves, scaled(grid.voxel_size)),
        ESTIMATE: locally_filtered(average, extend_outwards(estimate.values, grid.voxel_size), grid.voxel_size),
        LOW_PASS: locally_filtered(average, local.values, grid.voxel_size),
        RAW: filtered_by_weights(average, local, figure_of_merit(local.fsc), grid.voxel_size),
        OURS: ours,
        SQUARED: filtered_by_weights(average, local, 2 * fsc / (1 + fsc), grid.voxel_size),
    }
    if with_relion:
        maps[THEIRS] = relion_filtered(pair)
    resolution = scale_factor(grid.voxel_size) * curves.resolution()
    return {name: scores_of(values, pair, resolution) for name, values in maps.items()}, seconds


def mean_table(scores: list[dict[str, Numbers]]) -> str:
    """Mean correlations of the pairs, by name of the map."""
    return text_table(
        HEADER,
        [
            (name, *(f"{score:.3f}" for score in np.nanmean([of_pair[name] for of_pair in scores], 0)))
            for name in scores[0]
        ],
        align="lr",
    )


def wins_table(scores: list[dict[str, Numbers]]) -> str:
    """Number of pairs in which the weighted map is better than, equal to and worse than each other map."""
    rows = []
    for name in scores[0]:
        if name != OURS:
            difference = np.stack([of_pair[OURS] - of_pair[name] for of_pair in scores])
            better, worse = (difference > EQUAL).sum(0), (difference < -EQUAL).sum(0)
            equal = np.isfinite(difference).sum(0) - better - worse
            rows.append((name, *(f"{b} / {e} / {w}" for b, e, w in zip(better, equal, worse, strict=True))))
    return text_table(HEADER, rows, align="lr")


def tables(scores: list[dict[str, Numbers]]) -> str:
    """The tables of all filters, and those beside RELION."""
    alone = [{name: values for name, values in of_pair.items() if name != THEIRS} for of_pair in scores]
    parts = [
        f"### Mean correlation with the noise-free map, {len(scores)} pairs",
        mean_table(alone),
        "### Pairs in which `filtered_fsc` is better / equal (within 0.001) / worse",
        wins_table(alone),
    ]
    if THEIRS in scores[0]:
        compared = [{name: of_pair[name] for name in (AVERAGE, LOW_PASS, OURS, THEIRS)} for of_pair in scores]
        parts += [
            f"### Beside RELION, {len(compared)} pairs: mean correlation, then better / equal / worse",
            mean_table(compared),
            wins_table(compared),
        ]
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--out", type=Path, help="Markdown page for the tables")
    args = parser.parse_args()
    model = Model.open(None, device="cpu", threads=1)
    scores, seconds = [], 0.0
    with_relion = shutil.which(RELION) is not None
    for n, pair in enumerate(simulated_pairs(spread_structures(args.structures, args.pairs), Recipe(), SEED)):
        of_pair, of_filter = score_pair(pair, model, with_relion)
        seconds += of_filter
        scores.append(of_pair)
        for name, values in of_pair.items():
            print(f"{n:3} {pair.name:24}", f"{name:52}", np.array2string(values, precision=3), flush=True)
    text = tables(scores)
    print(text, f"\n{seconds / args.pairs:.2f} CPU seconds per map for the weight")
    if args.out:
        insert(args.out, text)


if __name__ == "__main__":
    main()
