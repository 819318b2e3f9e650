"""A result as a JSON row for programs, and as a summary for people. Pure functions; lengths are Å."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from cryores_lite.fourier.criterion import Criterion
from cryores_lite.outputs.catalogue import KIND
from cryores_lite.outputs.histogram import binned
from cryores_lite.outputs.paper import deposits, methods_text
from cryores_lite.outputs.result import MapResult
from cryores_lite.types import (
    PERCENTILES,
    Alignment,
    Directions,
    Ellipsoid,
    HalfMapComparison,
    LocalResolution,
    length_text,
)

UNIFORM = "a local resolution is the same everywhere"


def row(result: MapResult) -> dict[str, Any]:
    """Put a result into the fields of a JSON line.

    Every row has all fields. A value that is unknown or not finite is None, never NaN.
    """
    estimate, model, comparison = result.local_resolution, result.model, result.comparison
    files = result.job.outputs if estimate else {}
    percentiles = estimate.percentiles if estimate else {}
    return {
        "input": str(result.job.map_path),
        "outcome": "done" if estimate else "failed",
        "method": ("network" if model else "statistical") if estimate else None,
        "error": result.error,
        "files": {name: str(files[name]) if name in files else None for name in KIND},
        "global_resolution": _number(estimate.global_resolution if estimate else None),
        "median": _number(percentiles.get("50")),
        "percentiles": {f"{p:g}": _number(percentiles.get(f"{p:g}")) for p in PERCENTILES},
        "histogram": _histogram(estimate) if estimate else None,
        "median_uncertainty": _number(estimate.median_uncertainty if estimate else None),
        "mask_volume": _number(estimate.mask_volume if estimate else None),
        "voxel_size": _number(voxel_size(estimate) if estimate else None),
        "working_voxel_size": _number(estimate.working_voxel_size if estimate else None),
        "half_maps": [str(path) for path in comparison.paths] if comparison else None,
        "fsc": _fsc(comparison) if comparison else None,
        "comparison": _comparison(comparison) if comparison else None,
        "directions": _directions(comparison, comparison.directions) if comparison and comparison.directions else None,
        "provider": estimate and estimate.provider,
        "seconds": round(result.seconds, 3),
        "peak_memory_gb": None if result.peak_memory is None else round(result.peak_memory / 1e9, 3),
        "model": {
            "name": model and model.name,
            "version": model and model.version,
            "sha256": model and model.sha256,
        },
        "edited": _edited(estimate.edited if estimate else None),
        "warnings": list(result.warnings),
        "methods_text": methods_text(result),
        "deposition": [{**asdict(part), "voxel_size": list(part.voxel_size)} for part in deposits(result)],
    }


def _edited(edited: tuple[str, float] | None) -> dict[str, Any] | None:
    return {"kind": edited[0], "probability": _number(edited[1])} if edited else None


def _fsc(comparison: HalfMapComparison) -> dict[str, Any]:
    names = ("unmasked", "masked", "randomised", "corrected")
    return {
        "resolution": _number(comparison.resolution),
        "resolution_half": _number(comparison.resolution_half),
        "frequencies": comparison.frequencies,
        **{name: comparison.curves.get(name) for name in names},
    }


def _comparison(comparison: HalfMapComparison) -> dict[str, Any]:
    return {
        "criterion": comparison.criterion,
        "median_fsc": _number(comparison.median),
        "r": _number(comparison.r),
        "rmse": _number(comparison.rmse),
        "bias": _number(comparison.bias),
        "finer": _number(comparison.finer),
        "coarser": _number(comparison.coarser),
        "edges": comparison.edges,
        "counts": comparison.counts,
        "alignment": _alignment(comparison.alignment),
        "masking": asdict(comparison.masking) | {"outside": list(comparison.masking.outside)}
        if comparison.masking
        else None,
    }


def _alignment(alignment: Alignment | None) -> dict[str, Any] | None:
    """Return shift (Å), rotation (degrees) and scale of the second half map, with x, y, z in this order."""
    if alignment is None:
        return None
    return {
        "shift": [round(length, 4) for length in alignment.shift[::-1]],
        "shift_error": round(alignment.shift_error, 4),
        "shift_voxels": round(alignment.shift_voxels, 4),
        "rotation": [round(angle, 4) for angle in alignment.rotation[::-1]],
        "rotation_error": round(alignment.rotation_error, 4),
        "scale": round(alignment.scale, 6),
        "scale_error": round(alignment.scale_error, 6),
    }


def _directions(comparison: HalfMapComparison, directions: Directions) -> dict[str, Any]:
    anisotropy = comparison.anisotropy[comparison.anisotropy > 0] if comparison.anisotropy is not None else ()

    def vectors(axes: npt.NDArray[np.float64]) -> list[list[float]]:
        return [[round(float(part), 4) + 0.0 for part in axis[::-1]] for axis in axes]

    def numbers(values: npt.NDArray[np.float64], digits: int = 3) -> list[float]:
        return [round(float(value), digits) for value in values]

    def ellipsoid(fitted: Ellipsoid) -> dict[str, Any]:
        return {"resolutions": numbers(fitted.resolutions), "axes": vectors(fitted.axes)}

    return {
        "sentence": directions.sentence,
        "significant": bool(directions.significant),
        "chance": directions.chance,
        "ratio": round(directions.views.ratio, 4),
        "ratio_range": numbers(np.array(directions.ratio_range)) if np.isfinite(directions.ratio_range).all() else None,
        "views": ellipsoid(directions.views),
        "fsc_ellipsoid": ellipsoid(directions.measured),
        "axes": vectors(directions.axes),
        "resolutions": numbers(directions.resolutions),
        "frequencies": numbers(directions.frequencies, 6),
        "occupancy": numbers(directions.occupancy, 4),
        "median_local_ratio": _number(float(np.median(anisotropy))) if len(anisotropy) else None,
    }


def _histogram(estimate: LocalResolution) -> dict[str, Any]:
    edges, voxels = binned(estimate.values[estimate.mask])
    return {"edges": edges, "voxels": voxels}


def summary(result: MapResult) -> str:
    """Describe a result in a few lines: the numbers, and the files."""
    estimate, model = result.local_resolution, result.model
    if estimate is None:
        return f"{result.job.map_path}: {result.error}"
    if math.isnan(estimate.median):
        local = "none: no molecule was found"
    else:
        lowest, low, median, high, highest = estimate.percentiles.values()
        local = f"median {median:.2f} Å; half within {low:.2f} to {high:.2f}, 95 % within {lowest:.2f} to {highest:.2f}"
    method = f"{model.name} {model.version}" if model else "statistical"
    return "\n".join(
        (
            f"{result.job.map_path}  ({result.seconds:.1f} s, {method}, {estimate.provider})",
            f"  local resolution   {local}",
            *(_network_lines(estimate) if model else ()),
            *(_half_map_lines(result.comparison) if result.comparison else ()),
            f"  molecule           {estimate.mask_volume:.0f} Å³ at {voxel_size(estimate):.4g} Å per voxel",
            *(f"  {'' if n else 'written':17}  {path}" for n, path in enumerate(result.job.outputs.values())),
        )
    )


def _network_lines(estimate: LocalResolution) -> tuple[str, ...]:
    """Return the lines of the summary for numbers that only the network estimates; unknown numbers have no line."""
    error, global_ = estimate.median_uncertainty, estimate.global_resolution
    lines = (
        (error, f"  expected error     {error:.2f} Å (one standard deviation; median)"),
        (global_, f"  global resolution  {global_:.2f} Å"),
    )
    return tuple(line for value, line in lines if math.isfinite(value))


def _half_map_lines(comparison: HalfMapComparison) -> tuple[str, ...]:
    return (
        f"  half-map FSC       {length_text(comparison.resolution)}; local median {length_text(comparison.median)}"
        f"{_criterion(comparison)}",
        f"  agreement          {_agreement(comparison)}",
        *((f"  directions         {comparison.directions.sentence}",) if comparison.directions else ()),
    )


def _criterion(comparison: HalfMapComparison) -> str:
    criterion = Criterion(comparison.criterion)
    return "" if criterion is Criterion.fsc_0143 else f" ({criterion.label})"


def _agreement(comparison: HalfMapComparison) -> str:
    if not math.isfinite(comparison.rmse):
        return "none: no voxel of the mask has a local resolution from the half maps"
    r = f"r {comparison.r:.2f}" if math.isfinite(comparison.r) else f"no correlation ({UNIFORM})"
    return f"{r}, RMSE {comparison.rmse:.2f} Å, mean difference {comparison.bias:+.2f} Å"


def voxel_size(estimate: LocalResolution) -> float:
    """Return the mean voxel size of the axes (Å), rounded to the digits of a header's float32."""
    return round(sum(estimate.grid.voxel_size) / 3, 6)


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
