"""What became of a map, in words for people and for programs. Pure functions; lengths are Å."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryores_lite.outputs.catalogue import KIND
from cryores_lite.types import PERCENTILES, HalfMapComparison, LocalResolution


@dataclass(frozen=True)
class ModelName:
    """The model that did the work, so that anyone can find it again."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, eq=False)
class Outcome:
    """One map, done if it has a `result`, failed if it has an `error`."""

    map_path: Path
    seconds: float
    model: ModelName | None
    error: str | None = None
    result: LocalResolution | None = None
    files: dict[str, Path] = field(default_factory=dict)  # by what they hold
    warnings: tuple[str, ...] = ()
    compared: HalfMapComparison | None = None


def row(outcome: Outcome) -> dict[str, Any]:
    """Put an outcome into the fields of a JSON line.

    Every row has all fields. What is not known, not finite or not there is None, never NaN.
    """
    result, model, compared = outcome.result, outcome.model, outcome.compared
    percentiles = result.percentiles if result else {}
    return {
        "input": str(outcome.map_path),
        "outcome": "done" if result else "failed",
        "method": ("network" if model else "statistical") if result else None,
        "error": outcome.error,
        "files": {what: str(outcome.files[what]) if what in outcome.files else None for what in KIND},
        "global_resolution": _number(result.global_resolution if result else None),
        "median": _number(percentiles.get("50")),
        "percentiles": {f"{p:g}": _number(percentiles.get(f"{p:g}")) for p in PERCENTILES},
        "median_uncertainty": _number(result.median_uncertainty if result else None),
        "mask_volume": _number(result.mask_volume if result else None),
        "voxel_size": _number(voxel_size(result) if result else None),
        "working_voxel_size": _number(result.working_voxel_size if result else None),
        "half_maps": [str(path) for path in compared.paths] if compared else None,
        "fsc": _fsc(compared) if compared else None,
        "comparison": _comparison(compared) if compared else None,
        "provider": result and result.provider,
        "seconds": round(outcome.seconds, 3),
        "model": {
            "name": model and model.name,
            "version": model and model.version,
            "sha256": model and model.sha256,
        },
        "warnings": list(outcome.warnings),
    }


def _fsc(compared: HalfMapComparison) -> dict[str, Any]:
    names = ("unmasked", "masked", "randomised", "corrected")
    return {
        "resolution": _number(compared.resolution),
        "resolution_half": _number(compared.resolution_half),
        "frequencies": compared.frequencies,
        **{name: compared.curves.get(name) for name in names},
    }


def _comparison(compared: HalfMapComparison) -> dict[str, Any]:
    return {
        "median_fsc": _number(compared.median),
        "r": _number(compared.r),
        "rmse": _number(compared.rmse),
        "bias": _number(compared.bias),
        "edges": compared.edges,
        "counts": compared.counts,
    }


def summary(outcome: Outcome) -> str:
    """Tell a person, in a few lines, what was found in a map and where it was written."""
    result, model = outcome.result, outcome.model
    if result is None:
        return f"{outcome.map_path}: {outcome.error}"
    if math.isnan(result.median):
        local = "none: no molecule was found"
    else:
        lowest, low, median, high, highest = result.percentiles.values()
        local = f"median {median:.2f} Å; half within {low:.2f} to {high:.2f}, 95 % within {lowest:.2f} to {highest:.2f}"
    how = f"{model.name} {model.version}" if model else "statistical"
    return "\n".join(
        (
            f"{outcome.map_path}  ({outcome.seconds:.1f} s, {how}, {result.provider})",
            f"  local resolution   {local}",
            *_single(outcome),
            *(_from_halves(outcome.compared) if outcome.compared else ()),
            f"  molecule           {result.mask_volume:.0f} Å³ at {voxel_size(result):.4g} Å per voxel",
            *(f"  {'' if n else 'written':17}  {path}" for n, path in enumerate(outcome.files.values())),
        )
    )


def _single(outcome: Outcome) -> tuple[str, ...]:
    """What only the network tells."""
    result = outcome.result
    if result is None or outcome.model is None:
        return ()
    return (
        f"  expected error     {result.median_uncertainty:.2f} Å (one standard deviation; median)",
        f"  global resolution  {result.global_resolution:.2f} Å",
    )


def _from_halves(compared: HalfMapComparison) -> tuple[str, ...]:
    agree = f"r {compared.r:.2f}, RMSE {compared.rmse:.2f} Å, mean difference {compared.bias:+.2f} Å"
    return (
        f"  half-map FSC       {compared.resolution:.2f} Å; local median {compared.median:.2f} Å",
        f"  agreement          {agree}",
    )


def voxel_size(result: LocalResolution) -> float:
    """Mean over the axes, which agree within 1 %; to the digits that a header's float32 holds."""
    return round(sum(result.grid.voxel_size) / 3, 6)


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
