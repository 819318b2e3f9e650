"""Tables of real maps, beside their deposited resolution and beside local-resolution maps of other programs."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from cryores_lite.errors import CryoresError
from cryores_lite.io.mrc import read_map
from cryores_lite.method.network import Model
from cryores_lite.method.pipeline import estimate_local_resolution
from cryores_lite.resources import available_threads
from training.evaluation.page import header_lines, text_table
from training.prepared_map import prepare_map

HEADER = (
    "map",
    "kind of map",
    "deposited Å",
    "map–model FSC 0.5, Å",
    "median Å",
    "ratio",
    "global Å",
    "uncertainty Å",
    "physical Å",
    "solvent shell",
)
NEAR_REFERENCE = 0.15
LOCAL_RESOLUTION_MAP = "LOCAL RESOLUTION"  # part of its kind in maps.csv


def read_rows(folder: Path) -> list[dict[str, str]]:
    """The rows of the table of real maps."""
    with (folder / "maps.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def deposited_resolution_table(folder: Path, model: Model) -> str:
    """Medians in the mask beside the resolution from the map's model (FSC 0.5), or else the deposited one."""
    lines = [header_lines(HEADER, align="llrrrrrrrl")]
    ratios = []
    for row in read_rows(folder):
        if LOCAL_RESOLUTION_MAP not in row["kind"]:
            line, ratio = _deposited_resolution_row(row, folder, model)
            lines.append(line)
            ratios += [ratio] if ratio else []
    near = sum(abs(ratio - 1) <= NEAR_REFERENCE for ratio in ratios)
    title = "### Real maps (the truth is not known; the reference is one number per map)"
    note = "The ratio is that to the map–model FSC, or else to the deposited resolution."
    count = f"It is within {NEAR_REFERENCE:.0%} of 1 for {near} of {len(ratios)} maps."
    return f"{title}\n\n{note}\n{count}\n\n" + "\n".join(lines)


def _deposited_resolution_row(row: dict[str, str], folder: Path, model: Model) -> tuple[str, float | None]:
    """The line of a map, and the median over its reference, if there is one."""
    deposited, from_model = row["resolution_A"], row.get("model_fsc05_A", "")
    try:
        density = read_map(folder / row["file"]).density
        estimate = estimate_local_resolution(density, model, available_threads(), iter)
        prepared = prepare_map(density, available_threads())
        solvent, physical = prepared.solvent, prepared.scale * prepared.solvent.median_resolution
    except CryoresError as error:
        return f"| {row['name']} | {row['kind']} | {deposited} | {from_model} | {error} | | | | | |", None
    reference = from_model or deposited
    ratio = estimate.median / float(reference) if reference else None
    line = (
        f"| {row['name']} | {row['kind']} | {deposited} | {from_model} | {estimate.median:.2f} "
        f"| {'' if ratio is None else f'{ratio:.2f}'} "
        f"| {estimate.global_resolution:.2f} | {estimate.median_uncertainty:.2f} | {physical:.2f} "
        f"| {'usable' if solvent.has_solvent else 'none'} |"
    )
    return line, ratio


def other_programs_table(folder: Path, model: Model) -> str:
    """Medians over the molecule and correlation with local-resolution maps that other programs made."""
    maps = read_rows(folder)
    rows = []
    for row in (m for m in maps if LOCAL_RESOLUTION_MAP in m["kind"]):
        density_row = next(m for m in maps if m is not row and m["name"].split("_")[0] == row["name"].split("_")[0])
        theirs = read_map(folder / row["file"]).density.values
        levels, counts = np.unique(theirs, return_counts=True)
        density = read_map(folder / density_row["file"]).density
        ours = estimate_local_resolution(density, model, available_threads(), iter)
        both = (theirs != levels[counts.argmax()]) & ours.mask  # the most frequent value fills the solvent
        medians = (f"{np.median(values[both]):.2f}" for values in (theirs, ours.values))
        r = np.corrcoef(ours.values[both], theirs[both])[0, 1]
        rows.append((density_row["name"], str(both.sum()), *medians, f"{r:.2f}"))
    table = text_table(
        ("map", "voxels", "median of the other program Å", "median of cryores_lite Å", "r"), rows, align="lr"
    )
    return f"### Real maps: comparison with the local-resolution map of another program\n\n{table}"
