"""Make training patches, once, on as many cores as there are; read them back, turned at random.

    python -m training.data --structures FOLDER --split train --signals 1000 --out runs/train
    python -m training.data --labels maps.csv --out runs/real

A signal (one molecule in one pose) is a file with the patches of all maps drawn from it. File n depends on the
seed and n alone, so that a run can be stopped, resumed or shared between machines. With `--labels`, a file is a real
map whose local resolution is known otherwise, from its half maps above all (`labels.py` has the columns of the CSV).
Both kinds of files may share a folder.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from cryores_lite.fourier.interpolation import interpolate
from cryores_lite.method.band_features import band_features
from cryores_lite.method.network_inputs import network_inputs
from cryores_lite.method.prepare import Frame, Spectra, prepare
from cryores_lite.method.solvent_noise import SolventEstimate, solvent_estimate
from cryores_lite.types import Density, Grid, MapResolution, Shape, Volume
from training.maps.labels import labelled, read_labels
from training.maps.processing import nearest_inside
from training.maps.simulate import Recipe, SimulatedMap, draw_map, draw_signal, truth_of
from training.maps.structures import Structure, read_manifest

EDGE = 48  # working voxels
EMPTY = 22  # bytes of a file of no patches
MAPS, PATCHED, PATCHES = 6, 3, 3  # maps drawn from a signal, how many of them give patches, patches cut from a map
FEWEST = 200  # voxels of a map's molecule that are worth learning from; of the quarter grid an eighth as many
ODD = 1.5  # maps that come out this much coarser than wanted are left out
TAKEN, MIXED = 3, 8  # patches taken from a file when it is read, and files whose patches are shuffled together
LEVELS = "levels"  # folder of the maps' evidence, beside their patches

Record = dict[str, np.ndarray]


def truth_on(frame: Frame, simulated: SimulatedMap, shape: Shape) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Local resolution and mask on the quarter grid, and the mask on the working grid of `shape` points."""

    def places(step: int) -> list[np.ndarray]:
        return [
            np.arange(0, m, step) * (length / m / simulated.voxel_size) - before + start
            for m, length, before, start in zip(shape, frame.lengths, frame.before, frame.box.start, strict=True)
        ]

    rimmed = np.pad(simulated.mask.astype(np.float32), 1)[None]
    coarse = [
        (p * simulated.stride + first) * (n / w)
        for p, first, n, w in zip(places(4), simulated.start, simulated.truth.shape, simulated.whole, strict=True)
    ]
    local = interpolate(simulated.truth[None], tuple(coarse))[0]
    quarter, fine = (interpolate(rimmed, tuple(p + 1 for p in places(step)))[0] > 0.5 for step in (4, 1))
    return local, quarter, fine


def cut_patches(
    frame: Frame,
    spectra: Spectra,
    solvent: SolventEstimate,
    features: Volume,
    simulated: SimulatedMap,
    level: float,
    count: int,
    recipe: Recipe,
    rng: np.random.Generator,
) -> list[Record]:
    """Random cubes of a map that hold molecule, with their truth.

    The network is told a wrong level on purpose, and how wrong it may be: it learns to correct the guess it will get.
    """
    doubt = float(np.exp(rng.uniform(*np.log(recipe.doubt))))
    guess = max(level * float(np.exp(rng.normal(0, doubt))), 1.8 * simulated.voxel_size)
    inputs = network_inputs(spectra, solvent, features, MapResolution(math.nan, guess, doubt))
    local, inside, mask = truth_on(frame, simulated, inputs.shape)
    if inside.sum() < FEWEST / 8:
        return []
    where = np.argwhere(inside)
    edge = EDGE // 4
    records = []
    for _ in range(count):
        low = where[rng.integers(len(where))] - rng.integers(edge // 4, edge - edge // 4, 3)
        low = np.clip(low, 0, np.maximum(np.array(inside.shape) - edge, 0))
        coarse = (..., *(slice(a, a + edge) for a in low))
        half, fine = ((..., *(slice(n * a, n * (a + edge)) for a in low)) for n in (2, 4))
        records.append(
            {
                "evidence": features,
                "density": _filled(inputs.density[half], EDGE // 2),
                "bands": _filled(inputs.bands[coarse], edge),
                "context": inputs.context,
                "level": np.float32(inputs.median_resolution),
                "local": _filled(local[coarse], edge).astype(np.float16),
                "inside": _filled(inside[coarse], edge),
                "mask": _filled(mask[fine], EDGE),
                "overall": np.float32(max(simulated.global_resolution, simulated.limit)),
                "kind": np.array(list(simulated.kind.values())),
            }
        )
    return records


def _filled(values: np.ndarray, edge: int) -> np.ndarray:
    pad = [(0, 0)] * (values.ndim - 3) + [(0, edge - n) for n in values.shape[-3:]]
    return np.pad(values, pad)


def make_file(structure: Structure, seed: int, number: int, recipe: Recipe, out: Path) -> int:
    """Write the evidence of all maps drawn from one signal, and patches of some. Returns the number of patches."""
    rng = np.random.default_rng([seed, number])
    signal = draw_signal(structure, recipe, rng)
    records: list[Record] = []
    levels: list[Record] = []
    for n in range(MAPS):
        simulated = draw_map(signal, recipe, rng)
        simulated.kind["molecule"] = structure.kind
        known, patches = learn_from(simulated, PATCHES if n < PATCHED else 0, recipe, rng)
        if known and known["median"] < ODD * max(signal.resolution, simulated.limit):  # else its FSC dips on the way
            levels.append(known)
            records += patches
    _write(f"{number:06d}", records, levels, out)
    return len(records)


def make_labelled_file(row: dict[str, str], folder: Path, seed: int, out: Path) -> int:
    """Write evidence and patches of a real map with labels. Returns the number of patches."""
    found = labelled(row, folder)
    name, density = found.name.strip("./").replace("/", "-"), found.density  # maps of many folders share a name
    known = SimulatedMap(
        density.values,
        found.inside,
        float(np.mean(density.grid.voxel_size)),
        nearest_inside(found.local, found.inside),
        (0.0, 0.0, 0.0),
        density.grid.shape,
        found.global_resolution,
        found.limit,
        {"processing": "real", "masking": "real", "molecule": "real"},
    )
    rng = np.random.default_rng([seed, *name.encode()])
    level, patches = learn_from(known, PATCHED * PATCHES, Recipe(), rng)
    _write(f"real-{name}", patches, [level] if level else [], out)
    return len(patches)


def learn_from(
    simulated: SimulatedMap, patches: int, recipe: Recipe, rng: np.random.Generator
) -> tuple[Record, list[Record]]:
    """A map's evidence with its level, and some of its patches; nothing of a map with next to no molecule."""
    truth = truth_of(simulated)
    if (truth > 0).sum() < FEWEST:
        return {}, []
    level = float(np.median(truth[truth > 0]))
    frame, spectra = prepare(Density(simulated.density, Grid(simulated.density.shape, (simulated.voxel_size,) * 3)))
    solvent = solvent_estimate(spectra.powers, spectra.outline)
    features = band_features(spectra.powers, solvent)
    known = {
        "evidence": features,
        "median": np.float32(level),
        "overall": np.float32(max(simulated.global_resolution, simulated.limit)),
        "physical": np.float32(solvent.median_resolution),
        "kind": np.array(list(simulated.kind.values())),
    }
    if not patches:
        return known, []
    return known, cut_patches(frame, spectra, solvent, features, simulated, level, patches, recipe, rng)


def _write(name: str, records: list[Record], levels: list[Record], out: Path) -> None:
    for folder, rows in ((out, records), (out / LEVELS, levels)):
        part = folder / f"{name}.part"
        with part.open("wb") as file:
            np.savez(file, **{key: np.stack([r[key] for r in rows]) for key in (rows[0] if rows else {})})
        part.replace(folder / f"{name}.npz")


def written(folder: Path) -> list[Path]:
    """The files of a folder that hold patches, in order."""
    return sorted(path for path in folder.glob("*.npz") if path.stat().st_size > EMPTY)


def _job(job: tuple[Structure, int, int, Recipe, Path]) -> int:
    return make_file(*job)


def read_levels(folder: Path) -> tuple[dict[str, torch.Tensor], np.ndarray]:
    """Evidence, truth and kind of every map of a folder, in one batch."""
    rows: dict[str, list[np.ndarray]] = {}
    for path in written(folder / LEVELS):
        with np.load(path) as file:
            for key in file.files:
                rows.setdefault(key, []).append(file[key])
    whole = {key: np.concatenate(parts) for key, parts in rows.items()}
    kinds = whole.pop("kind")
    return {key: torch.from_numpy(values) for key, values in whole.items()}, kinds


@dataclass(frozen=True)
class Patches(torch.utils.data.IterableDataset[dict[str, torch.Tensor]]):
    """Patches of a folder, shuffled, each turned and mirrored at random; endless, the same for the same seed.

    A file is read for `TAKEN` of its patches at a time: reading costs more than learning.
    """

    folder: Path
    seed: int
    start: int = 0  # patches already seen, for an exact resume

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        done = 0
        for epoch in range(1_000_000):
            files = written(self.folder)
            order = np.random.default_rng([self.seed, epoch]).permutation(len(files))
            for first in range(0, len(order), MIXED):
                some = order[first : first + MIXED]
                if done + TAKEN * len(some) <= self.start:
                    done += TAKEN * len(some)
                    continue
                choice = np.random.default_rng([self.seed, epoch, first])
                records = [record for index in some for record in drawn(files[index], choice)]
                for n in choice.permutation(len(records)):
                    turned = augment(records[n], choice)
                    done += 1
                    if done > self.start:
                        yield turned


def drawn(path: Path, choice: np.random.Generator) -> list[Record]:
    """`TAKEN` patches of a file."""
    with np.load(path) as file:
        count = len(file["level"])
        chosen = choice.choice(count, TAKEN, replace=count < TAKEN)
        arrays = {key: file[key][chosen] for key in file.files if key != "kind"}
    return [{key: values[n] for key, values in arrays.items()} for n in range(TAKEN)]


def augment(record: Record, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    """A record as tensors, its axes permuted and mirrored at random."""
    order, flips = rng.permutation(3), rng.random(3) < 0.5
    out = {}
    for key, value in record.items():
        if value.ndim >= 3:
            lead = value.ndim - 3
            value = value.transpose(*range(lead), *(lead + order))
            mirrored = [lead + a for a in range(3) if flips[a]]
            value = np.roll(np.flip(value, mirrored), 1, mirrored)  # i → -i keeps fine and coarse grid together
            if key == "inside":
                for axis in mirrored:  # the plane that came round from the other side has lost its neighbours
                    value.swapaxes(0, axis)[0] = False
        out[key] = torch.from_numpy(np.array(value, dtype=np.float32))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--structures", type=Path, help="folder of structures to simulate")
    source.add_argument("--labels", type=Path, help="CSV of real maps with known local resolution")
    parser.add_argument("--split", choices=("train", "validation"), default="train")
    parser.add_argument("--signals", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    (args.out / LEVELS).mkdir(parents=True, exist_ok=True)
    if args.labels:
        for row in tqdm(read_labels(args.labels), unit="map"):
            make_labelled_file(row, args.labels.parent, args.seed, args.out)
        return
    structures = read_manifest(args.structures, args.split)
    order = [structures[i] for i in np.random.default_rng(args.seed).permutation(len(structures))]
    jobs = [
        (order[n % len(order)], args.seed, n, Recipe(), args.out)
        for n in range(args.signals)
        if not (args.out / f"{n:06d}.npz").exists()
    ]
    with get_context("spawn").Pool(args.workers) as pool:
        for _ in tqdm(pool.imap_unordered(_job, jobs), total=len(jobs), unit="signal"):
            pass
    with (args.out / "structures.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("signal", "structure"))
        numbers = [path.stem for path in written(args.out) if path.stem.isdigit()]
        rows.writerows((number, order[int(number) % len(order)].id) for number in numbers)


if __name__ == "__main__":
    main()
