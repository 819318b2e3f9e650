"""Score a model on maps that the simulator never made, beside the references and the peers.

    python -m training.evaluate --shared ../shared --card models/cryores_v1.md

Prints the tables, and writes them into the model card between its markers. `--structures FOLDER` adds simulated maps
of the validation structures: choices are made on those, never on the others.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from cryores_lite.errors import CryoresError
from cryores_lite.model import Model, available_threads
from cryores_lite.mrc import read_map
from cryores_lite.pipeline import estimate_local_resolution, prepare, restore
from cryores_lite.types import Density, Grid, Mask, Volume
from training.example import truth_of
from training.metrics import Scores, score
from training.simulate import Recipe, draw_map, draw_signal
from training.structures import read_manifest

COLUMNS = ("relative_rmse", "rmse", "mae", "bias", "r", "level", "pattern", "coverage", "mask_iou")
START, END = "<!-- scores: written by training.evaluate -->", "<!-- end of scores -->"
SIMULATED_SEED = 2026
MASKS = {  # how far out of the molecule a mask reaches, and the width of its edge, in Å
    "The same, soft-masked to zero (6 Å out, 8 Å edge)": (6.0, 8.0),
    "The same, tightly masked to zero (0 Å out, 3 Å edge)": (0.0, 3.0),
}


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
        score(found.values, case.truth, found.mask, case.limit),
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
        "| map | what | deposited Å | median Å | ratio | global Å | physical Å | ring |",
        "|---|---|---:|---:|---:|---:|---:|---|",
    ]
    with (folder / "maps.csv").open(newline="") as file:
        maps = [m for m in csv.DictReader(file) if "LOCAL RESOLUTION" not in m["kind"]]
    for row in maps:
        try:
            density = read_map(folder / row["file"]).density
            found = estimate_local_resolution(density, model, available_threads(), iter)
            physical = prepare(density, available_threads()).physical
        except CryoresError as error:
            lines.append(f"| {row['name']} | {row['kind']} | {row['resolution_A']} | {error} | | | | |")
            continue
        told = row["resolution_A"]
        ratio = f"{found.median / float(told):.2f}" if told else ""
        ring = "valid" if physical.ring_valid else "none"
        lines.append(
            f"| {row['name']} | {row['kind']} | {told} | {found.median:.2f} | {ratio} "
            f"| {found.global_resolution:.2f} | {physical.level:.2f} | {ring} |"
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
            bench_table(cases, model, "Independent maps, as shipped"),
            peer_table(bench / "PEERS.csv"),
            *(bench_table([masked(c, *how) for c in cases], model, title) for title, how in MASKS.items()),
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
