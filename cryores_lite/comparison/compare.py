"""Compare two sides, from their inputs to the output files: all files, or none."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from cryores_lite import __version__
from cryores_lite.comparison import measure, page, picture, placement, views
from cryores_lite.comparison.result import CompareResult, row
from cryores_lite.comparison.sides import Side, estimated
from cryores_lite.io.atomic_write import clean_up_dead_runs, publish, refuse_existing, staging_folder
from cryores_lite.io.mrc import map_stem, write_map
from cryores_lite.outputs.residues import FittedModel, read_fitted
from cryores_lite.outputs.result import ModelIdentity
from cryores_lite.resources import peak_memory
from cryores_lite.types import Progress, Volume

if TYPE_CHECKING:
    from cryores_lite.method.network import Model

Pair: TypeAlias = tuple[Side, Side]
Fields: TypeAlias = tuple[Volume | None, Volume | None]

SUFFIXES = {
    "difference": "_difference.mrc",
    "zscore": "_zscore.mrc",
    "report": ".html",
    "png": ".png",
    "json": ".json",
}
LABELS = {"difference": "B minus A, local resolution (A); negative: B finer", "zscore": "z-score of B minus A"}
MIN_SHIFT = 1.0  # Å, and one voxel of A: smaller shifts are not reported as a warning
MIN_CORRELATION = 0.5  # of two maps or masks of one molecule in one orientation, low-passed, at the best shift


@dataclass(frozen=True, kw_only=True)
class CompareJob:
    """Two inputs and what to make of them.

    Attributes
    ----------
    folder : of the output files
    atoms : atomic model that is fitted to A
    colours : Å of the first and the last colour; None: from both local resolutions
    overwrite : replace existing files
    threads : CPU threads
    """

    folder: Path
    atoms: Path | None = None
    colours: tuple[float, float] | None = None
    overwrite: bool = False
    threads: int = 1


def compare(
    sides: Pair,
    job: CompareJob,
    network: Callable[[], Model],
    progress: Callable[[str], Progress] = lambda _: iter,
) -> CompareResult:
    """Estimate what is not estimated yet, compare, and write all files.

    Parameters
    ----------
    sides : A and B, from `sides.read_side` and `sides.half_maps_side`
    network : opens the network, or returns the open one; called for maps only
    progress : returns the wrapper of the tiles of a map, from its name, when the work on it starts

    Raises
    ------
    InputError
        The maps do not overlap, or a file cannot be used.
    OutputError
        A file exists or cannot be written.
    """
    start = time.perf_counter()
    files = _files(sides, job)
    refuse_existing(files.values(), job.overwrite)
    clean_up_dead_runs(job.folder)
    placed_a, placed_b = (side.placed for side in sides)
    to_b, note = placement.affine(placed_a, placed_b)
    placement.check_boxes(placed_a, placed_b, to_b)
    fitted = read_fitted(job.atoms, sides[0].source, placed_a.path) if job.atoms else None
    with staging_folder(job.folder) as staged:  # before the long work: an unwritable folder fails at once
        models: list[Model] = []

        def opened() -> Model:
            models.append(network())
            return models[-1]

        a, b = (estimated(side, opened, job.threads, progress) for side in sides)
        difference, densities = _on_one_grid((a, b), to_b)
        shift = _shift(difference, densities, placed_a)
        result = CompareResult(
            sides=(a, b),
            difference=difference,
            numbers=measure.numbers(difference),
            densities=densities,
            shift=shift,
            chains=measure.chains(fitted, difference) if fitted else None,
            model=_identity(models),
            files=files if difference.z is not None else {n: path for n, path in files.items() if n != "zscore"},
            colours=job.colours,
            seconds=time.perf_counter() - start,
            peak_memory=peak_memory(),
            threads=job.threads,
            warnings=_warnings((a, b), note, shift, max(placed_a.grid.voxel_size), fitted),
        )
        _write(result, staged)
        names = [path.name for path in result.files.values()]
        publish(staged, sorted(names, key=lambda name: name.endswith(SUFFIXES["difference"])), job.overwrite)
    return replace(result, seconds=time.perf_counter() - start)


def _files(sides: Pair, job: CompareJob) -> dict[str, Path]:
    """Return the paths of the output files, ``A_vs_B`` with the names of the inputs."""
    a, b = map(_stem, sides)
    return {name: job.folder / f"{a}_vs_{b}{suffix}" for name, suffix in SUFFIXES.items()}


def _stem(side: Side) -> str:
    """Return the name of a side in the names of files."""
    if side.pair:
        return "fsc"
    name = side.path.stem if side.path.suffix.lower() in (".json", ".jsonl") else map_stem(side.path)
    return name.removesuffix("_locres")


def _on_one_grid(sides: Pair, to_b: placement.Affine) -> tuple[measure.Difference, Fields]:
    """Put B on the grid of A, and subtract. Local resolution from half maps is compared inside the other molecule."""
    a, b = sides
    assert a.values is not None, "both sides have been estimated"
    assert b.values is not None, "both sides have been estimated"
    grid = a.source.density.grid
    b_values = placement.resample_inside(b.values, to_b, grid.shape)
    b_error = None if b.uncertainty is None else placement.resample_inside(b.uncertainty, to_b, grid.shape)
    density = None if b.density is None else placement.resample(b.density, to_b, grid.shape)
    placement.check_molecules(a.placed, b.placed, a.values > 0, b_values > 0)
    if b.pair:
        b_values = np.where(a.values > 0, b_values, np.float32(0))
    result = measure.difference(a.values, b_values, (a.uncertainty, b_error), grid)
    return result, (a.density, density)


def _shift(result: measure.Difference, densities: Fields, placed: placement.Placed) -> placement.Shift:
    """Measure how far B lies from A, by the maps, or by the masks where a map is unknown."""
    a, b = densities
    resolution = float(np.median(result.a[result.common]))
    if a is not None and b is not None:
        return placement.measure_shift(a, b, placed, resolution)
    first, second = ((field > 0).astype(np.float32) for field in (result.a, result.b))
    return placement.measure_shift(first, second, placed, resolution, from_masks=True)


def _identity(models: Sequence[Model]) -> ModelIdentity | None:
    if not models:
        return None
    return ModelIdentity(models[-1].spec.name, models[-1].spec.version, models[-1].sha256)


def _warnings(
    sides: Pair, note: str | None, shift: placement.Shift, voxel_size: float, fitted: FittedModel | None
) -> tuple[str, ...]:
    named = [f"{letter}: {text}" for letter, side in zip("AB", sides, strict=True) for text in side.warnings]
    return (*([note] if note else []), *shift_warnings(shift, voxel_size), *named, *(fitted.notes if fitted else ()))


def shift_warnings(shift: placement.Shift, voxel_size: float) -> tuple[str, ...]:
    """Return a warning for maps that are shifted by more than 1 Å and a voxel of A (Å), or are of unlike molecules."""
    kind = "masks" if shift.from_masks else "maps"
    if shift.correlation < MIN_CORRELATION:
        return (
            f"The {kind} are unlike each other (correlation {shift.correlation:.2f} at 10 Å, at the best shift): check "
            "that they show one molecule in one orientation, and fit one into the other.",
        )
    if shift.length <= max(MIN_SHIFT, voxel_size):
        return ()
    x, y, z = shift.vector
    return (
        f"The {kind} are shifted against each other by {shift.length:.1f} Å: they agree best if B is moved by "
        f"{x:+.1f}, {y:+.1f}, {z:+.1f} Å along x, y, z. The comparison is made without that move.",
    )


def _write(result: CompareResult, folder: Path) -> None:
    source = result.sides[0].source
    volumes = {"difference": result.difference.values, "zscore": result.difference.z}
    for name, values in volumes.items():
        if values is not None:
            label = f"cryores_lite {__version__}: {LABELS[name]}"
            write_map(folder / result.files[name].name, values, source.header, label=label)
    names = (result.sides[0].name, result.sides[1].name)
    shown = views.shown(result.difference, names, result.densities, source.header.axes, result.colours)
    record = row(result)
    (folder / result.files["json"].name).write_text(f"{json.dumps(record, allow_nan=False, indent=1)}\n", "utf-8")
    (folder / result.files["png"].name).write_bytes(picture.render(shown, result.numbers))
    html = page.render(result, shown, record)
    (folder / result.files["report"].name).write_bytes(html.encode("utf-8", "surrogateescape"))
