"""A finished comparison, and its row of numbers for programs. Lengths are Å."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryores_lite import __version__
from cryores_lite.comparison.measure import CLEAR_Z, Difference, Numbers, Part
from cryores_lite.comparison.placement import Shift
from cryores_lite.comparison.sides import Side
from cryores_lite.outputs.result import ModelIdentity
from cryores_lite.types import Volume, length_text

SIGN = "b - a; negative where b is finer (better resolved)"


@dataclass(frozen=True, eq=False, kw_only=True)
class CompareResult:
    """Two sides compared.

    Attributes
    ----------
    sides : A and B as read, with their local resolution on their own grids
    difference, numbers : B − A on the grid of A
    densities : maps of A and B on the grid of A; None where a map is unknown
    shift : of B against A
    chains : means over the chains of a fitted model; None without one
    model : the network, if a map was estimated
    files : paths of the output files by name
    colours : Å of the first and the last colour, if the user gave them
    seconds : duration
    peak_memory : bytes, largest memory of the process until then; None if unknown
    threads : CPU threads
    warnings : sentences for the user
    """

    sides: tuple[Side, Side]
    difference: Difference
    numbers: Numbers
    densities: tuple[Volume | None, Volume | None]
    shift: Shift
    chains: list[Part] | None
    model: ModelIdentity | None
    files: dict[str, Path]
    colours: tuple[float, float] | None
    seconds: float
    peak_memory: float | None
    threads: int
    warnings: tuple[str, ...]


def row(result: CompareResult) -> dict[str, Any]:
    """Put a comparison into the fields of its JSON. A value that is unknown is None, never NaN."""
    numbers = result.numbers
    return {
        "a": _side(result.sides[0], numbers.median_a, numbers.only_a),
        "b": _side(result.sides[1], numbers.median_b, numbers.only_b),
        "sign": SIGN,
        "percentiles": {
            name: {"a": a, "b": b, "difference": difference} for name, (a, b, difference) in numbers.percentiles.items()
        },
        "difference": {
            "median": numbers.percentiles["50"][2],
            "mean": numbers.mean,
            "rms": numbers.rms,
            "error": numbers.error,
            "fraction_negative": numbers.negative,
        },
        "clear": None
        if numbers.b_finer is None or numbers.a_finer is None
        else {"z": CLEAR_Z, "b_finer": numbers.b_finer, "a_finer": numbers.a_finer},
        "common_volume": numbers.volume,
        "shift": _shift(result.shift),
        "chains": None if result.chains is None else [_part(part) for part in result.chains],
        "files": {name: str(path) for name, path in result.files.items()},
        "program": f"cryores_lite {__version__}",
        "model": result.model
        and {"name": result.model.name, "version": result.model.version, "sha256": result.model.sha256},
        "seconds": round(result.seconds, 3),
        "peak_memory_gb": None if result.peak_memory is None else round(result.peak_memory / 1e9, 3),
        "warnings": list(result.warnings),
    }


def _side(side: Side, median: float, volume: float) -> dict[str, Any]:
    paths = side.pair.paths if side.pair else (side.path,)
    return {
        "input": [str(path) for path in paths],
        "kind": side.kind,
        "median": median,
        "has_error": side.uncertainty is not None,
        "only_volume": volume,
    }


def _shift(shift: Shift) -> dict[str, Any]:
    x, y, z = shift.vector
    return {
        "x": x,
        "y": y,
        "z": z,
        "length": shift.length,
        "correlation": shift.correlation,
        "from": "masks" if shift.from_masks else "maps",
    }


def _part(part: Part) -> dict[str, Any]:
    return {
        "chain": part.name,
        "atoms": part.atoms,
        "a": part.a,
        "b": part.b,
        "difference": part.difference,
        "error": part.error,
        "z": part.z,
    }


def summary(result: CompareResult) -> str:
    """Describe a comparison in a few lines: the verdict, the numbers and the files."""
    (a, b), numbers = result.sides, result.numbers
    error = "unknown" if numbers.error is None else f"{numbers.error:.2f} Å (one standard deviation; median)"
    _, low, middle, high, _ = (signed(values[2]) for values in numbers.percentiles.values())
    lines = (
        f"A  {a.name}  median {numbers.median_a:.2f} Å ({a.kind})",
        f"B  {b.name}  median {numbers.median_b:.2f} Å ({b.kind})",
        f"  {verdict(numbers)}",
        f"  B - A              median {middle}; half within {low} to {high}; negative: B is finer",
        f"  expected error     {error}",
        f"  shift of B         {result.shift.length:.1f} Å",
        *(
            f"  {'' if n else 'chains':17}  {part.name}  A {_length(part.a)}, B {_length(part.b)}, "
            f"B - A {'none' if part.difference is None else signed(part.difference)}"
            for n, part in enumerate(result.chains or ())
        ),
        *(f"  {'' if n else 'written':17}  {path}" for n, path in enumerate(result.files.values())),
    )
    return "\n".join(lines)


def _length(length: float | None) -> str:
    return length_text(math.nan if length is None else length)


def verdict(numbers: Numbers) -> str:
    """Say in two sentences which side is better resolved, in how much of the molecule, and by how much."""
    middle = numbers.percentiles["50"][2]
    better = f"{abs(middle):.2f} Å {'finer' if middle < 0 else 'coarser'} than" if round(middle, 2) else "as fine as"
    median = f"In the median of its voxels, B is {better} A."
    if numbers.b_finer is None or numbers.a_finer is None:
        return (
            f"B is finer than A in {numbers.negative:.0%} of the molecule that both show. {median} "
            "The errors are unknown, so small differences may mean nothing."
        )
    (more, winner), (less, other) = sorted(((numbers.a_finer, "A"), (numbers.b_finer, "B")), reverse=True)
    if round(more, 2) == 0:
        clear = f"Neither is clearly better resolved: the difference is within {CLEAR_Z:g} standard errors everywhere."
    else:
        clear = (
            f"{winner} is clearly better resolved in {more:.0%} of the molecule that both show, and {other} in "
            f"{less:.0%}; elsewhere the difference is within {CLEAR_Z:g} standard errors."
        )
    return f"{clear} {median}"


def signed(length: float) -> str:
    """Write a difference in Å with its sign; 0 has a plus."""
    return f"{round(length, 2) + 0.0:+.2f} Å"
