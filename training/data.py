"""Make training patches on all CPU cores, and read them in random orientations.

    python -m training.data --structures FOLDER --split train --signals 1000 --out runs/train
    python -m training.data --labels maps.csv --out runs/real

A file holds the patches of all maps of one signal (one molecule in one pose). File n depends on the seed and n alone,
so that a run can be stopped, resumed or shared between machines. With `--labels`, a file holds the patches of a real
map with known local resolution, for example from its half maps (`maps/labels.py` lists the columns of the CSV).
Both kinds of files may share a folder.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from cryores_lite.errors import CryoresError
from cryores_lite.fourier.interpolation import interpolate
from cryores_lite.method.coarse_voxels import scale_factor
from cryores_lite.types import EDITINGS, MapResolution, Mask, Shape, Volume
from training.maps.known_map import KnownMap
from training.maps.labels import read_known_map, read_labels
from training.maps.recipe import Recipe, draw_log
from training.maps.simulate import draw_map, draw_signal
from training.maps.structures import Structure, read_manifest
from training.prepared_map import PreparedMap, prepare_map

PATCH_EDGE = 48  # working voxels
EMPTY_FILE_SIZE = 22  # bytes of a file without patches
MAPS_PER_SIGNAL, PATCHES_PER_MAP, PATCHES_PER_LABELLED_MAP = 6, 3, 9
MIN_MOLECULE_VOXELS = 200  # of a map; an eighth of this number on the quarter grid
MAX_RESOLUTION_RATIO = 1.5  # maps whose median resolution / drawn resolution is higher are left out
PATCHES_PER_READ = 6  # drawn from a file each time it is read
FILES_PER_SHUFFLE = 8  # files whose patches are shuffled together
LEVELS_FOLDER = "levels"  # subfolder with the band features of the maps

Array = npt.NDArray[Any]
Record = dict[str, Array]


def truth_on_working_grid(prepared: PreparedMap, known: KnownMap, shape: Shape) -> tuple[Volume, Mask, Mask]:
    """Local resolution and mask on the quarter grid, and the mask on the working grid of `shape` points."""

    def voxels(step: int) -> list[npt.NDArray[np.float64]]:
        return [
            np.arange(0, points, step, dtype=np.float64) * (length / points / voxel_size) - before + start
            for points, length, voxel_size, before, start in zip(
                shape,
                prepared.frame.lengths,
                known.density.grid.voxel_size,
                prepared.frame.before,
                prepared.frame.box.start,
                strict=True,
            )
        ]

    bordered = np.pad(known.mask.astype(np.float32), 1)[None]
    quarter, fine = (interpolate(bordered, tuple(v + 1 for v in voxels(step)))[0] > 0.5 for step in (4, 1))
    return known.truth_at(voxels(4)), quarter, fine


def cut_patches(
    prepared: PreparedMap, known: KnownMap, median: float, count: int, recipe: Recipe, rng: np.random.Generator
) -> list[Record]:
    """Cut random cubes that contain molecule from a map, with their truth.

    The inputs are made with a wrong median resolution and the standard deviation of its error, because the network gets
    an estimate at run time too.
    """
    guess_error = draw_log(recipe.guess_error, rng)
    guess = max(median * float(np.exp(rng.normal(0, guess_error))), 1.8 * known.density.grid.voxel_size[0])
    inputs = prepared.inputs(MapResolution(float("nan"), guess, guess_error))
    local, inside, mask = truth_on_working_grid(prepared, known, inputs.shape)
    if inside.sum() < MIN_MOLECULE_VOXELS / 8:
        return []
    molecule = np.argwhere(inside)
    edge = PATCH_EDGE // 4
    records = []
    for _ in range(count):
        low = molecule[rng.integers(len(molecule))] - rng.integers(edge // 4, edge - edge // 4, 3)
        low = np.clip(low, 0, np.maximum(np.array(inside.shape) - edge, 0))
        records.append(
            {
                "evidence": prepared.features,
                "density": _cube(inputs.density, 2 * low, 2 * edge),
                "bands": _cube(inputs.bands, low, edge),
                "context": inputs.context,
                "level": np.array(inputs.median_resolution, np.float32),
                "local": _cube(local, low, edge).astype(np.float16),
                "inside": _cube(inside, low, edge),
                "mask": _cube(mask, 4 * low, 4 * edge),
                "overall": np.array(known.visible_global_resolution, np.float32),
                "kind": np.array(known.kind.labels()),
            }
        )
    return records


def _cube(values: Array, low: Array, edge: int) -> Array:
    """Cut a cube from the last three axes, from `low` on, padded with zeros beyond their ends."""
    z, y, x = (slice(n, n + edge) for n in low)
    part = values[..., z, y, x]
    widths = [(0, 0)] * (values.ndim - 3) + [(0, edge - n) for n in part.shape[-3:]]
    return np.pad(part, widths)


def make_file(structure: Structure, seed: int, number: int, recipe: Recipe, out: Path) -> int:
    """Write the band features and patches of all maps drawn from one signal. Returns the number of patches."""
    rng = np.random.default_rng([seed, number])
    signal = draw_signal(structure, recipe, rng)
    records: list[Record] = []
    levels: list[Record] = []
    for _ in range(MAPS_PER_SIGNAL):
        known = draw_map(signal, recipe, rng)
        level, patches = measure_and_cut(known, PATCHES_PER_MAP, recipe, rng)
        # the FSC of a map that is much coarser than drawn dips before it falls
        scale = scale_factor(known.density.grid.voxel_size)
        drawn = max(signal.resolution * signal.scale, known.low_pass_limit)
        if level and scale * level["median"] < MAX_RESOLUTION_RATIO * drawn:
            levels.append(level)
            records += patches
    _write(f"{number:06d}", records, levels, out)
    return len(records)


def make_labelled_file(row: dict[str, str], folder: Path, seed: int, out: Path) -> int:
    """Write band features and patches of a real map with labels. Returns the number of patches.

    Raises
    ------
    CryoresError
        The label is refused (`read_known_map`).
    """
    name = _label_name(row)
    rng = np.random.default_rng([seed, *name.encode()])
    level, patches = measure_and_cut(read_known_map(row, folder), PATCHES_PER_LABELLED_MAP, Recipe(), rng)
    _write(f"real-{name}", patches, [level] if level else [], out)
    return len(patches)


def _label_name(row: dict[str, str]) -> str:
    return row["map"].strip("./").replace("/", "-")  # maps in different folders may have the same name


def make_labelled_files(labels: Path, seed: int, out: Path) -> None:
    """Write the files of all maps of a CSV; leave out maps whose label is refused, and say why.

    Raises
    ------
    SystemExit
        In the end, if maps were left out. Their files of an earlier run are removed.
    """
    (out / LEVELS_FOLDER).mkdir(parents=True, exist_ok=True)
    rows, refused = read_labels(labels), 0
    for row in tqdm(rows, unit="map"):
        try:
            make_labelled_file(row, labels.parent, seed, out)
        except CryoresError as error:
            tqdm.write(f"error: {row['map']}: {error}", file=sys.stderr)
            refused += 1
            for folder in (out, out / LEVELS_FOLDER):
                (folder / f"real-{_label_name(row)}.npz").unlink(missing_ok=True)
    if refused:
        raise SystemExit(f"error: {refused} of {len(rows)} maps were left out; all others are in {out}")


def measure_and_cut(
    known: KnownMap, patches: int, recipe: Recipe, rng: np.random.Generator
) -> tuple[Record, list[Record]]:
    """Measure the band features of a map with its resolution, and cut patches; both empty if the molecule is small.

    Lengths of maps with large voxels are scaled down (`KnownMap.scaled_down`), as in the runtime.
    """
    known = known.scaled_down()
    truth = known.local_resolution()
    if (truth > 0).sum() < MIN_MOLECULE_VOXELS:
        return {}, []
    median = float(np.median(truth[truth > 0]))
    prepared = prepare_map(known.density)
    level: Record = {
        "evidence": prepared.features,
        "median": np.array(median, np.float32),
        "overall": np.array(known.visible_global_resolution, np.float32),
        "physical": np.array(prepared.solvent.median_resolution, np.float32),
        "kind": np.array(known.kind.labels()),
    }
    return level, cut_patches(prepared, known, median, patches, recipe, rng)


def _write(name: str, records: list[Record], levels: list[Record], out: Path) -> None:
    for folder, rows in ((out, records), (out / LEVELS_FOLDER, levels)):
        part = folder / f"{name}.part"
        with part.open("wb") as file:
            arrays: dict[str, Any] = {key: np.stack([r[key] for r in rows]) for key in (rows[0] if rows else {})}
            np.savez(file, **arrays)
        part.replace(folder / f"{name}.npz")


def nonempty_files(folder: Path) -> list[Path]:
    """The files of a folder that contain patches or band features, in order."""
    return sorted(path for path in folder.glob("*.npz") if path.stat().st_size > EMPTY_FILE_SIZE)


def read_levels(folder: Path) -> tuple[dict[str, torch.Tensor], Array]:
    """Band features, truth and kind of every map of a folder, in one batch.

    `editing` is the index in `EDITINGS` of the map's editing, or -1 if it is unknown.
    """
    rows: dict[str, list[Array]] = {}
    for path in nonempty_files(folder / LEVELS_FOLDER):
        with np.load(path) as file:
            for key in file.files:
                rows.setdefault(key, []).append(file[key])
    columns = {key: np.concatenate(parts) for key, parts in rows.items()}
    kinds = columns.pop("kind")
    columns["editing"] = np.array([EDITINGS.index(kind) if kind in EDITINGS else -1 for kind in kinds[:, 3]])
    return {key: torch.from_numpy(values) for key, values in columns.items()}, kinds


@dataclass(frozen=True)
class Patches(torch.utils.data.IterableDataset[dict[str, torch.Tensor]]):
    """An endless stream of the patches of a folder, shuffled and in random orientations, set by the seed.

    Each reading of a file gives `PATCHES_PER_READ` patches, because reading takes longer than training.
    """

    folder: Path
    seed: int
    start: int = 0  # number of patches to skip when a run resumes

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        position = 0
        for epoch in range(1_000_000):
            files = nonempty_files(self.folder)
            order = np.random.default_rng([self.seed, epoch]).permutation(len(files))
            for first in range(0, len(order), FILES_PER_SHUFFLE):
                group = order[first : first + FILES_PER_SHUFFLE]
                if position + PATCHES_PER_READ * len(group) <= self.start:
                    position += PATCHES_PER_READ * len(group)
                    continue
                rng = np.random.default_rng([self.seed, epoch, first])
                records = [record for index in group for record in draw_patches(files[index], rng)]
                for n in rng.permutation(len(records)):
                    patch = augment(records[n], rng)
                    position += 1
                    if position > self.start:
                        yield patch


def draw_patches(path: Path, rng: np.random.Generator) -> list[Record]:
    """Draw `PATCHES_PER_READ` patches from a file."""
    with np.load(path) as file:
        count = len(file["level"])
        chosen = rng.choice(count, PATCHES_PER_READ, replace=count < PATCHES_PER_READ)
        arrays = {key: file[key][chosen] for key in file.files if key != "kind"}
    return [{key: values[n] for key, values in arrays.items()} for n in range(PATCHES_PER_READ)]


def augment(record: Record, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    """Permute and mirror the axes of a record at random, and convert it to tensors."""
    order, flips = rng.permutation(3), rng.random(3) < 0.5
    out = {}
    for key, value in record.items():
        if value.ndim >= 3:
            lead = value.ndim - 3
            value = value.transpose(*range(lead), *(lead + order))
            mirrored = [lead + a for a in range(3) if flips[a]]
            value = np.roll(
                np.flip(value, tuple(mirrored)), 1, mirrored
            )  # i → -i keeps the fine and the coarse grid aligned
            if key == "inside":
                for axis in mirrored:  # the plane that wrapped around is apart from its neighbours
                    value.swapaxes(0, axis)[0] = False
        out[key] = torch.from_numpy(np.array(value, dtype=np.float32))
    return out


def make_simulated_files(
    structures: Path, split: str, signals: int, seed: int, out: Path, *, recipe: Recipe, workers: int
) -> None:
    """Simulate maps of the structures of one split into a folder, except those whose files exist."""
    (out / LEVELS_FOLDER).mkdir(parents=True, exist_ok=True)
    rows = read_manifest(structures, split)
    order = [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]
    jobs = [
        (order[n % len(order)], seed, n, recipe, out) for n in range(signals) if not (out / f"{n:06d}.npz").exists()
    ]
    with get_context("spawn").Pool(max(1, min(workers, len(jobs)))) as pool:
        for _ in tqdm(pool.imap_unordered(_make_file, jobs), total=len(jobs), unit="signal"):
            pass
    with (out / "structures.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("signal", "structure"))
        numbers = [path.stem for path in nonempty_files(out) if path.stem.isdigit()]
        table.writerows((number, order[int(number) % len(order)].id) for number in numbers)


def _make_file(job: tuple[Structure, int, int, Recipe, Path]) -> int:
    return make_file(*job)


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
    if args.structures:
        make_simulated_files(
            args.structures, args.split, args.signals, args.seed, args.out, recipe=Recipe(), workers=args.workers
        )
        return
    make_labelled_files(args.labels, args.seed, args.out)


if __name__ == "__main__":
    main()
