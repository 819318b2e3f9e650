"""Score a model on maps that the simulator never made, beside the references and the peers.

    python -m training.evaluate --shared ../shared --card models/cryores_v2.md

Prints the tables, and writes them into the model card between its markers. `--structures FOLDER` adds simulated maps
of the validation structures: choices are made on those, never on the others.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import fft, ndimage

from cryores_lite.errors import CryoresError
from cryores_lite.model import Model, available_threads
from cryores_lite.mrc import read_map
from cryores_lite.pipeline import estimate_local_resolution, prepare, restore
from cryores_lite.steps.spectrum import radius
from cryores_lite.types import Density, Grid, Mask, Volume
from training.metrics import Scores, score
from training.simulate import Recipe, draw_map, draw_signal, truth_of
from training.structures import read_manifest

COLUMNS = ("relative_rmse", "rmse", "mae", "bias", "r", "level", "pattern", "coverage", "mask_iou", "held")
START, END = "<!-- scores: written by training.evaluate -->", "<!-- end of scores -->"
SIMULATED_SEED = 2026


@dataclass(frozen=True, eq=False)
class Case:
    """A map with its truth."""

    name: str
    density: Density
    truth: Volume
    limit: float
    group: str = ""


def bench_cases(folder: Path) -> Iterator[Case]:
    """The cases of a bench folder, as shipped."""
    for case in sorted(p for p in folder.iterdir() if (p / "case.json").exists()):
        told = json.loads((case / "case.json").read_text())
        density = read_map(case / "map.mrc.gz").density
        truth = read_map(case / "truth.mrc.gz").density.values
        yield Case(case.name, density, truth, told.get("visible_limit_A") or 0.0)


def masked(case: Case, extend: float, edge: float) -> Case:
    """The same map multiplied by a mask of its molecule: `extend` Å out, then a cosine edge of `edge` Å to zero."""
    distance = ndimage.distance_transform_edt(case.truth == 0, sampling=case.density.grid.voxel_size)
    soft = 0.5 + 0.5 * np.cos(np.pi * np.clip((distance - extend) / edge, 0, 1))
    return replace(case, density=replace(case.density, values=(case.density.values * soft).astype(np.float32)))


def zone(case: Case) -> Case:
    """The half of the molecule on one side of its centre along x, within 1 Å, cut out of everything with a knife."""
    where = np.argwhere(case.truth > 0)
    middle = int(np.median(where[:, 2]))
    truth = np.where(np.arange(case.truth.shape[2]) <= middle, case.truth, 0).astype(np.float32)
    kept = masked(replace(case, truth=truth), 1.0, 0.1)
    low, high = np.maximum(where.min(0) - 4, 0), where.max(0) + 5
    inner = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], middle + 6))
    values = np.ascontiguousarray(kept.density.values[inner])
    z, y, x = values.shape
    grid = replace(case.density.grid, shape=(z, y, x))
    return replace(case, density=Density(values, grid), truth=np.ascontiguousarray(truth[inner]))


def low_passed(case: Case) -> Case:
    """The map low-passed at its true median resolution: nothing finer is left to see."""
    cut = max(float(np.median(case.truth[case.truth > 0])), case.limit)
    return replace(case, density=replace(case.density, values=_low_pass(case, cut)), limit=cut)


def locally_filtered(case: Case) -> Case:
    """The map low-passed at its true local resolution, in steps of 10 %, each blended into the next."""
    inside = case.truth > 0
    nearest = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    local = ndimage.gaussian_filter(np.log(case.truth[tuple(nearest)]), 2)
    steps = np.arange(local.min(), local.max() + 0.1, 0.1)
    values = np.zeros_like(case.truth)
    for step in steps:
        share = np.clip(1 - np.abs(local - step) / 0.1, 0, 1)
        values += share.astype(np.float32) * _low_pass(case, float(np.exp(step)))
    return replace(case, density=replace(case.density, values=values))


def _low_pass(case: Case, cut: float) -> Volume:
    values, voxel_size = case.density.values, case.density.grid.voxel_size
    lengths = tuple(n * v for n, v in zip(values.shape, voxel_size, strict=True))
    k = radius(values.shape, lengths)
    edge = 2 / max(lengths)
    gain = 0.5 - 0.5 * np.cos(np.pi * np.clip((1 / cut + edge - k) / (2 * edge), 0, 1))
    out: Volume = fft.irfftn(fft.rfftn(values) * gain, s=values.shape).astype(np.float32)
    return out


PROCESSINGS: dict[str, Callable[[Case], Case]] = {
    "as shipped": lambda case: case,
    "soft-masked to zero (6 Å out, 8 Å edge)": lambda case: masked(case, 6.0, 8.0),
    "tightly masked to zero (0 Å out, 3 Å edge)": lambda case: masked(case, 0.0, 3.0),
    "zone crop (half of the molecule)": zone,
    "low-passed at the true median": low_passed,
    "locally filtered": locally_filtered,
}
IN_FULL = 3  # of these are shown case by case


def simulated_cases(structures: Path, count: int) -> Iterator[Case]:
    """Simulated maps of validation structures, one of each masking in turn; the same ones every time."""
    rows = read_manifest(structures, "validation")
    recipe = Recipe()
    for n in range(count):
        rng = np.random.default_rng([SIMULATED_SEED, n])
        signal = draw_signal(rows[n % len(rows)], recipe, rng)
        masking = list(recipe.masking)[n % len(recipe.masking)]
        simulated = draw_map(signal, replace(recipe, masking={masking: 1.0}), rng)
        truth = truth_of(simulated)
        if (truth > 0).sum() > 500:
            grid = Grid(simulated.density.shape, (simulated.voxel_size,) * 3)
            yield Case(rows[n % len(rows)].id, Density(simulated.density, grid), truth, simulated.limit, masking)


def judge(case: Case, model: Model) -> tuple[Scores, Scores]:
    """Scores of the model and of the physical estimate alone."""
    threads = available_threads()
    found = estimate_local_resolution(case.density, model, threads, iter)
    prepared = prepare(case.density, threads)
    (local,), box = restore(prepared, (prepared.physical.resolution,)), prepared.box
    physical = np.zeros(case.truth.shape, np.float32)
    physical[box.slices] = local
    (molecule,) = restore(prepared, (prepared.physical.molecule.astype(np.float32),))
    mask: Mask = np.zeros(case.truth.shape, bool)
    mask[box.slices] = molecule > 0.5
    return (
        score(found.values, case.truth, found.mask, case.limit, found.uncertainty),
        score(physical, case.truth, mask, case.limit),
    )


def table(rows: list[tuple[str, str, dict[str, float]]], columns: tuple[str, ...] = COLUMNS) -> str:
    """A Markdown table of named rows."""
    lines = ["| case | estimate | " + " | ".join(columns) + " |", "|---|---|" + "---:|" * len(columns)]
    for case, who, values in rows:
        cells = (f"{values[c]:.3f}" if c in values and np.isfinite(values[c]) else "" for c in columns)
        lines.append(f"| {case} | {who} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def mean_row(scores: list[Scores]) -> dict[str, float]:
    """Means over cases; of level and bias, the mean size."""
    rows = [s.row() for s in scores]
    return {
        key: float(np.nanmean([abs(r[key]) if key in ("level", "bias") else r[key] for r in rows])) for key in rows[0]
    }


def level_table(cases: list[Case], model: Model) -> str:
    """Level error and relative RMSE of every case under every processing."""
    names = [case.name for case in cases]
    head = "| processing | " + " | ".join(f"{name} level" for name in names) + " | mean size | relative RMSE | held |"
    lines = [head, "|---|" + "---:|" * (len(names) + 3)]
    for processing, change in PROCESSINGS.items():
        scores = [judge(change(case), model)[0] for case in cases]
        mean = mean_row(scores)
        cells = (*(f"{s.level:+.3f}" for s in scores), *(f"{mean[k]:.3f}" for k in ("level", "relative_rmse", "held")))
        lines.append(f"| {processing} | " + " | ".join(cells) + " |")
    return "### Level by processing, independent maps\n\n" + "\n".join(lines)


def bench_table(cases: list[Case], model: Model, title: str) -> str:
    """Per case: the model, the physical estimate and the constant; then the means."""
    rows: list[tuple[str, str, dict[str, float]]] = []
    ours, theirs, constants = [], [], []
    for case in cases:
        found, physical = judge(case, model)
        ours.append(found)
        theirs.append(physical)
        constants.append(found.constant)
        rows += [(case.name, "cryores_lite", found.row()), (case.name, "physical estimate alone", physical.row())]
        rows.append((case.name, "true median everywhere", {"relative_rmse": found.constant, "r": 0.0, "level": 0.0}))
    rows += [("**mean**", "**cryores_lite**", mean_row(ours)), ("mean", "physical estimate alone", mean_row(theirs))]
    rows.append(("mean", "true median everywhere", {"relative_rmse": float(np.mean(constants)), "r": 0.0}))
    return f"### {title}\n\n{table(rows)}"


def peer_table(path: Path) -> str:
    """Means of every peer over the bench, from its CSV."""
    with path.open(newline="") as file:
        peers = list(csv.DictReader(file))
    names = {"relative_rmse": "relative_rmse", "rmse": "rmse", "mae": "mae", "r": "pearson_r", "coverage": "coverage"}
    rows = []
    for tool in dict.fromkeys((p["tool"], p["input"]) for p in peers):
        chosen = [p for p in peers if (p["tool"], p["input"]) == tool]
        means = {ours: float(np.mean([float(p[theirs]) for p in chosen])) for ours, theirs in names.items()}
        rows.append((tool[1], tool[0], means))
    return "### Peers on the same maps (means over the cases)\n\n" + table(rows, tuple(names)).replace(
        "case", "input", 1
    )


def simulated_table(structures: Path, count: int, model: Model) -> str:
    """Means over simulated maps of validation structures, by masking."""
    groups: dict[str, list[tuple[Scores, Scores]]] = {}
    for case in simulated_cases(structures, count):
        groups.setdefault(case.group, []).append(judge(case, model))
    rows: list[tuple[str, str, dict[str, float]]] = []
    for group, scores in groups.items():
        for who, which in (("cryores_lite", 0), ("physical estimate alone", 1)):
            rows.append((f"{group} ({len(scores)})", who, mean_row([s[which] for s in scores])))
        rows.append(
            (group, "true median everywhere", {"relative_rmse": float(np.mean([s[0].constant for s in scores]))})
        )
    return f"### Simulated maps of validation structures, by masking\n\n{table(rows)}"


def real_table(folder: Path, model: Model) -> str:
    """Median in the mask beside the deposited resolution, for real maps."""
    lines = [
        "| map | what | deposited Å | median Å | ratio | global Å | uncertainty Å | physical Å | ring |",
        "|---|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    with (folder / "maps.csv").open(newline="") as file:
        maps = [m for m in csv.DictReader(file) if "LOCAL RESOLUTION" not in m["kind"]]
    for row in maps:
        try:
            density = read_map(folder / row["file"]).density
            found = estimate_local_resolution(density, model, available_threads(), iter)
            physical = prepare(density, available_threads()).physical
        except CryoresError as error:
            lines.append(f"| {row['name']} | {row['kind']} | {row['resolution_A']} | {error} | | | | | |")
            continue
        told = row["resolution_A"]
        ratio = f"{found.median / float(told):.2f}" if told else ""
        ring = "valid" if physical.ring_valid else "none"
        lines.append(
            f"| {row['name']} | {row['kind']} | {told} | {found.median:.2f} | {ratio} "
            f"| {found.global_resolution:.2f} | {found.median_uncertainty:.2f} | {physical.level:.2f} | {ring} |"
        )
    return "### Real maps (no truth; the deposited value is one number for the whole map)\n\n" + "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, help="folder with bench/ and data/maps/")
    parser.add_argument("--structures", type=Path, help="folder of structures: also score simulated validation maps")
    parser.add_argument("--simulated", type=int, default=36, help="how many of those")
    parser.add_argument("--model", type=Path, help="ONNX file; the shipped one by default")
    parser.add_argument("--card", type=Path, help="Markdown file to write the tables into, between its markers")
    args = parser.parse_args()
    model = Model.open(args.model, device="cpu")
    parts = [f"Model {model.spec.name} {model.spec.version}, sha256 {model.sha256[:16]}."]
    if args.shared:
        bench = args.shared / "bench"
        cases = list(bench_cases(bench))
        parts += [
            level_table(cases, model),
            peer_table(bench / "PEERS.csv"),
            *(
                bench_table([change(case) for case in cases], model, f"Independent maps, {title}")
                for title, change in list(PROCESSINGS.items())[:IN_FULL]
            ),
            real_table(args.shared / "data" / "maps", model),
        ]
    if args.structures:
        parts.append(simulated_table(args.structures, args.simulated, model))
    text = "\n\n".join(parts)
    print(text)
    if args.card:
        card = args.card.read_text()
        if START not in card or END not in card:
            raise SystemExit(f"{args.card} lacks the markers {START} and {END}")
        args.card.write_text(re.sub(f"{START}.*{END}", lambda _: f"{START}\n\n{text}\n\n{END}", card, flags=re.DOTALL))


if __name__ == "__main__":
    main()
