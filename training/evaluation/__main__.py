"""Score a model on maps that the simulator never made, beside the references and the peers.

    python -m training.evaluation --shared ../shared --structures ../shared/data/structures --out docs/ACCURACY.md

Prints the tables and writes them, with pictures of the bench cases, into the page between its markers; the first
table also goes into the model card (`--card`). Simulated maps of the validation structures are scored last: choices
are made on those, never on the others.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cryores_lite.errors import CryoresError
from cryores_lite.io.mrc import read_map
from cryores_lite.method.assemble import resample_to_crop
from cryores_lite.method.network import Model
from cryores_lite.method.pipeline import estimate_local_resolution
from cryores_lite.method.prepare import prepare
from cryores_lite.method.solvent_noise import solvent_estimate
from cryores_lite.resources import available_threads
from cryores_lite.types import LocalResolution, Mask
from training.evaluation.cases import (
    PROCESSINGS,
    SAME,
    Case,
    bench_cases,
    ends_of_the_range,
    labelled_cases,
    simulated_cases,
)
from training.evaluation.metrics import Scores, score

COLUMNS = ("relative_rmse", "rmse", "mae", "bias", "r", "level", "pattern", "coverage", "mask_iou", "held")
PEER_COLUMNS = {
    "relative_rmse": "relative_rmse",
    "rmse": "rmse",
    "mae": "mae",
    "bias": "bias",
    "r": "pearson_r",
    "coverage": "coverage",
}
SIZES = ("level", "bias")  # of these a mean is taken of the size
START, END = "<!-- written by the command above -->", "<!-- end -->"
IN_FULL = 3  # so many processings are shown case by case
BANDS = (1.0, 2.5, 4.0, 7.0, 12.0, 30.0)  # Å

Cells = dict[str, float]
Row = tuple[str, str, Cells]


@dataclass(frozen=True, eq=False)
class Judged:
    """What was found for a case, and the scores of the model and of the physical estimate alone."""

    case: Case
    found: LocalResolution
    ours: Scores
    solvent: Scores


def judge(case: Case, model: Model) -> Judged:
    """Run a case and score it."""
    threads = available_threads()
    found = estimate_local_resolution(case.density, model, threads, iter)
    frame, spectra = prepare(case.density, threads)
    estimate = solvent_estimate(spectra.powers, spectra.outline)
    local, molecule = resample_to_crop(frame, estimate.resolution, estimate.molecule.astype(np.float32))
    solvent, mask = np.zeros(case.truth.shape, np.float32), np.zeros(case.truth.shape, bool)
    solvent[frame.box.slices] = local
    mask[frame.box.slices] = molecule > 0.5
    return Judged(
        case,
        found,
        score(found.values, case.truth, found.mask, case.limit, found.uncertainty),
        score(solvent, case.truth, mask, case.limit),
    )


def table(rows: list[Row], columns: tuple[str, ...] = COLUMNS) -> str:
    """A Markdown table of named rows."""
    lines = ["| case | estimate | " + " | ".join(columns) + " |", "|---|---|" + "---:|" * len(columns)]
    for case, who, values in rows:
        cells = (f"{values[c]:.3f}" if np.isfinite(values.get(c, np.nan)) else "" for c in columns)
        lines.append(f"| {case} | {who} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def mean_row(scores: list[Scores]) -> Cells:
    """Means over cases; of level and bias, the mean size."""
    return mean_cells([s.row() for s in scores])


def mean_cells(rows: list[Cells]) -> Cells:
    """Means over rows, of what any of them has."""
    means = {}
    for key in rows[0]:
        values = np.array([abs(r[key]) if key in SIZES else r[key] for r in rows])
        means[key] = float(np.nanmean(values)) if np.isfinite(values).any() else np.nan
    return means


def headline(judged: dict[str, list[Judged]]) -> str:
    """Means over the independent maps, by processing, beside the physical estimate and the constant."""
    rows: list[Row] = []
    for processing, cases in judged.items():
        rows.append((processing, "**cryores_lite**", mean_row([j.ours for j in cases])))
        rows.append((processing, "physical estimate alone", mean_row([j.solvent for j in cases])))
        constant = float(np.mean([j.ours.constant for j in cases]))
        rows.append((processing, "true median everywhere", {"relative_rmse": constant, "r": 0.0}))
    return "### Independent maps: means over the cases, by processing\n\n" + table(rows).replace(
        "case", "processing", 1
    )


def level_table(judged: dict[str, list[Judged]]) -> str:
    """Level error (median estimate / median truth - 1) of every case under every processing."""
    names = [j.case.name for j in next(iter(judged.values()))]
    lines = ["| processing | " + " | ".join(names) + " | mean size |", "|---|" + "---:|" * (len(names) + 1)]
    for processing, cases in judged.items():
        levels = [j.ours.level for j in cases]
        cells = " | ".join(f"{level:+.3f}" for level in levels)
        lines.append(f"| {processing} | {cells} | {np.mean(np.abs(levels)):.3f} |")
    return "### Independent maps: level error by processing\n\n" + "\n".join(lines)


def full_table(cases: list[Judged], title: str, peers: dict[str, dict[str, Cells]]) -> str:
    """Per case: the model, the physical estimate, the constant, and the peers; then the means."""
    rows: list[Row] = []
    for j in cases:
        rows += [(j.case.name, "**cryores_lite**", j.ours.row()), (j.case.name, "physical estimate", j.solvent.row())]
        rows.append((j.case.name, "true median everywhere", {"relative_rmse": j.ours.constant, "r": 0.0}))
        rows += [(j.case.name, tool, scores[j.case.name]) for tool, scores in peers.items() if j.case.name in scores]
    rows.append(("**mean**", "**cryores_lite**", mean_row([j.ours for j in cases])))
    rows.append(("mean", "physical estimate", mean_row([j.solvent for j in cases])))
    rows += [("mean", tool, mean_cells(list(scores.values()))) for tool, scores in peers.items()]
    return f"### {title}\n\n{table(rows)}"


def read_peers(path: Path) -> dict[str, dict[str, Cells]]:
    """Every peer's scores, by tool and case."""
    peers: dict[str, dict[str, Cells]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            cells = {ours: float(row[theirs]) for ours, theirs in PEER_COLUMNS.items() if row[theirs]}
            peers.setdefault(f"{row['tool']}, {row['input']}", {})[row["case"]] = cells
    return peers


def same_table(cases: list[Case], shipped: list[Judged], model: Model) -> str:
    """Medians of the same map processed in ways that change no information, in Å, over the same molecule."""
    names = [case.name for case in cases]
    lines = ["| processing | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    lines.append("| as shipped | " + " | ".join(f"{j.ours.median:.2f}" for j in shipped) + " |")
    for processing, change in SAME.items():
        cells = []
        for case, before in zip(cases, shipped, strict=True):
            median = judge(change(case), model).ours.median
            cells.append(f"{median:.2f} ({median / before.ours.median - 1:+.1%})")
        lines.append(f"| {processing} | " + " | ".join(cells) + " |")
    return "### The same map, processed\n\nMedian in the true mask, Å.\n\n" + "\n".join(lines)


def simulated_tables(cases: list[Judged]) -> str:
    """Means over simulated maps of validation structures, by masking, by kind of molecule, by resolution."""
    parts = []
    groups = {
        "masking": lambda j: j.case.masking,
        "kind": lambda j: j.case.kind,
        "resolution": lambda j: next(f"{a:g}-{b:g} Å" for a, b in itertools.pairwise(BANDS) if j.case.median < b),
    }
    for title, group in groups.items():
        rows: list[Row] = []
        for name in dict.fromkeys(sorted(map(group, cases))):
            chosen = [j for j in cases if group(j) == name]
            label = f"{name} ({len(chosen)})"
            rows.append((label, "**cryores_lite**", mean_row([j.ours for j in chosen])))
            rows.append((label, "physical estimate", mean_row([j.solvent for j in chosen])))
            constant = float(np.mean([j.ours.constant for j in chosen]))
            rows.append((label, "true median everywhere", {"relative_rmse": constant}))
        parts.append(f"### Simulated maps of validation structures, by {title}\n\n{table(rows)}")
    return "\n\n".join(parts)


def interval_table(judged: dict[str, list[Judged]]) -> str:
    """The share of the truth that the 80 % interval holds: over maps its mean and its spread.

    A map's errors go together: so few maps as there are tell the mean only to within its own standard error.
    """
    lines = [
        "| maps | number | mean share held | standard deviation over maps | standard error |",
        "|---|" + "---:|" * 4,
    ]
    for name, found in judged.items():
        held = np.array([j.ours.held for j in found])
        spread = float(held.std(ddof=1))
        cells = (f"{held.mean():.3f}", f"{spread:.3f}", f"{spread / np.sqrt(len(held)):.3f}")
        lines.append(f"| {name} | {len(held)} | " + " | ".join(cells) + " |")
    return "### The 80 % interval\n\n" + "\n".join(lines)


def range_table(cases: list[Judged]) -> str:
    """Both ends of the range, and what they cost."""
    lines = [
        "| map | true median Å | median Å | relative RMSE | r | working voxel Å |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for j in cases:
        cells = (j.case.median, j.ours.median, j.ours.relative_rmse, j.ours.r, j.found.working_voxel_size)
        lines.append(f"| {j.case.name} | " + " | ".join(f"{c:.2f}" for c in cells) + " |")
    return "### Both ends of the range (simulated, validation structures)\n\n" + "\n".join(lines)


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
            _, spectra = prepare(density, available_threads())
            solvent = solvent_estimate(spectra.powers, spectra.outline)
        except CryoresError as error:
            lines.append(f"| {row['name']} | {row['kind']} | {row['resolution_A']} | {error} | | | | | |")
            continue
        told = row["resolution_A"]
        ratio = f"{found.median / float(told):.2f}" if told else ""
        ring = "valid" if solvent.has_solvent else "none"
        lines.append(
            f"| {row['name']} | {row['kind']} | {told} | {found.median:.2f} | {ratio} "
            f"| {found.global_resolution:.2f} | {found.median_uncertainty:.2f} "
            f"| {solvent.median_resolution:.2f} | {ring} |"
        )
    return "### Real maps (no truth; the deposited value is one number for the whole map)\n\n" + "\n".join(lines)


def agreement_table(folder: Path, model: Model) -> str:
    """Beside local-resolution maps that other programs made of real maps: medians over their molecule, correlation."""
    with (folder / "maps.csv").open(newline="") as file:
        maps = list(csv.DictReader(file))
    lines = ["| map | voxels | its median Å | our median Å | r |", "|---|---:|---:|---:|---:|"]
    for row in (m for m in maps if "LOCAL RESOLUTION" in m["kind"]):
        of = next(m for m in maps if m is not row and m["name"].split("_")[0] == row["name"].split("_")[0])
        theirs = read_map(folder / row["file"]).density.values
        filling, counts = np.unique(theirs, return_counts=True)
        found = estimate_local_resolution(read_map(folder / of["file"]).density, model, available_threads(), iter)
        both = (theirs != filling[counts.argmax()]) & found.mask
        ours, theirs = found.values[both], theirs[both]
        r = np.corrcoef(ours, theirs)[0, 1]
        lines.append(f"| {of['name']} | {both.sum()} | {np.median(theirs):.2f} | {np.median(ours):.2f} | {r:.2f} |")
    return "### Real maps beside a local-resolution map of another program\n\n" + "\n".join(lines)


def draw(judged: Judged, path: Path) -> None:
    """A picture of the slice with most molecule: map, truth, estimate, error, uncertainty."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    case, found = judged.case, judged.found
    inside: Mask = case.truth > 0
    z = int(np.argmax(inside.sum((1, 2))))
    low, high = np.percentile(case.truth[inside], (1, 99))
    reach = 0.3 * float(np.median(case.truth[inside]))
    colour = {"cmap": "cividis_r", "vmin": low, "vmax": high}
    panels = [
        ("map", case.density.values[z], {"cmap": "gray"}),
        ("true local resolution", np.where(inside[z], case.truth[z], np.nan), colour),
        ("estimate", np.where(found.mask[z], found.values[z], np.nan), colour),
        (
            "estimate − truth",
            np.where(found.mask[z] & inside[z], found.values[z] - case.truth[z], np.nan),
            {"cmap": "RdBu_r", "vmin": -reach, "vmax": reach},
        ),
        (
            "uncertainty (1 σ)",
            np.where(found.mask[z], found.uncertainty[z], np.nan),
            {"cmap": "viridis", "vmin": 0, "vmax": reach},
        ),
    ]
    side = case.density.grid.voxel_size[0] * case.density.grid.shape[2]
    figure, axes = plt.subplots(1, len(panels), figsize=(15, 3.2), layout="constrained")
    for axis, (title, values, more) in zip(axes, panels, strict=True):
        image = axis.imshow(values, origin="lower", extent=(0, side, 0, side), **more)
        axis.set_title(title)
        axis.set_xlabel("Å")
        if title != "map":
            figure.colorbar(image, ax=axis, label="Å", shrink=0.85)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def insert(path: Path, text: str) -> None:
    """Put text between a page's markers."""
    page = path.read_text()
    if START not in page or END not in page:
        raise SystemExit(f"{path} lacks the markers {START} and {END}")
    path.write_text(re.sub(f"{START}.*{END}", lambda _: f"{START}\n\n{text}\n\n{END}", page, flags=re.DOTALL))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, help="folder with bench/ and data/maps/")
    parser.add_argument("--structures", type=Path, help="folder of structures: also score simulated validation maps")
    parser.add_argument("--labels", type=Path, help="CSV of real maps with half maps (docs/training.md)")
    parser.add_argument("--simulated", type=int, default=48, help="how many of those")
    parser.add_argument("--model", type=Path, help="ONNX file; the shipped one by default")
    parser.add_argument("--out", type=Path, help="Markdown page for all tables, and pictures beside it")
    parser.add_argument("--card", type=Path, help="Markdown page for the first table")
    args = parser.parse_args()
    model = Model.open(args.model, device="cpu")
    parts = [f"Model {model.spec.name} {model.spec.version}, sha256 {model.sha256[:16]}."]
    pictures: list[Judged] = []
    if args.shared:
        cases = list(bench_cases(args.shared / "bench"))
        judged = {name: [judge(change(case), model) for case in cases] for name, change in PROCESSINGS.items()}
        pictures = next(iter(judged.values()))
        peers = read_peers(args.shared / "bench" / "PEERS.csv")
        parts += [headline(judged), level_table(judged)]
        for n, (processing, found) in enumerate(list(judged.items())[:IN_FULL]):
            parts.append(full_table(found, f"Independent maps, {processing}", {} if n else peers))
        parts.append(same_table(cases, pictures, model))
        parts += [table_of(args.shared / "data" / "maps", model) for table_of in (real_table, agreement_table)]
    if args.labels:
        real = [judge(case, model) for case in labelled_cases(args.labels)]
        parts.append(full_table(real, "Real maps beside what is known of them", {}))
    if args.structures:
        parts.append(range_table([judge(case, model) for case in ends_of_the_range(args.structures)]))
        simulated = [judge(case, model) for case in simulated_cases(args.structures, args.simulated)]
        parts += [interval_table({"independent": pictures, "simulated": simulated}), simulated_tables(simulated)]
    print("\n\n".join(parts))
    if args.out:
        links = []
        for j in pictures:
            picture = args.out.with_name(f"accuracy_{j.case.name}.png")
            draw(j, picture)
            links.append(
                f"### {j.case.name}\n\n![{j.case.name}: map, truth, estimate, error, uncertainty]({picture.name})"
            )
        insert(args.out, "\n\n".join([*parts, *links]))
    if args.card:
        insert(args.card, "\n\n".join(parts[:2]))


if __name__ == "__main__":
    main()
