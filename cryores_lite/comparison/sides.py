"""What is compared: a map, a finished local resolution, or two half maps, each read as a `Side`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cryores_lite.comparison.placement import Placed
from cryores_lite.errors import InputError
from cryores_lite.io.input_checks import check_input, is_local_resolution
from cryores_lite.io.mrc import Map, is_own_output, map_stem, read_map
from cryores_lite.outputs.catalogue import KIND
from cryores_lite.types import Progress, Volume

if TYPE_CHECKING:
    from cryores_lite.half_maps.pair import HalfMapPair
    from cryores_lite.method.network import Model

MAP_SUFFIXES = tuple(f"{suffix}{packed}" for suffix in (".mrc", ".map", ".ccp4") for packed in ("", ".gz", ".bz2"))
LOCRES_KINDS = ("locres", "locres_fsc")  # outputs of this program that are local resolutions
UNKNOWN_ERROR = "The error of {} is unknown: the z-scores contain the error of the other side alone, if that is known."


@dataclass(frozen=True, eq=False, kw_only=True)
class Side:
    """One side of a comparison.

    Attributes
    ----------
    kind : "map", "local resolution" or "half maps"
    name : for figures
    path : file that the user gave; the first half map of two
    source : the map as read if it is known, else the local resolution as read; header and grid count
    values : (z, y, x) float32, local resolution in Å, 0 outside the mask; None until it is estimated
    uncertainty : (z, y, x) float32, Å; None if it is unknown
    density : (z, y, x) float32, the map; None if it is unknown
    placed_as : path by whose suffix ChimeraX places the map
    pair : the half maps, for two half maps
    warnings : sentences for the user
    """

    kind: str
    name: str
    path: Path
    source: Map
    placed_as: Path
    values: Volume | None = None
    uncertainty: Volume | None = None
    density: Volume | None = None
    pair: HalfMapPair | None = None
    warnings: tuple[str, ...] = ()

    @property
    def placed(self) -> Placed:
        """Grid and place of the arrays."""
        return Placed(grid=self.source.density.grid, header=self.source.header, path=self.placed_as)


def read_side(path: Path) -> Side:
    """Read a map to estimate, or a finished local resolution.

    A finished local resolution is a file of this program or another one with values in Å, or the JSON of this program:
    a record ``NAME_locres.json``, or a line of ``--json``. Its error and its map are read if they lie beside it.

    Raises
    ------
    InputError
        The file is neither.
    """
    if path.suffix.lower() in (".json", ".jsonl"):
        return _from_json(path)
    source = read_map(path)
    if _is_local_resolution(path, source):
        return _finished(path, path, source, *_files_beside(path))
    return _map_to_estimate(path, check_input(path, source))


def half_maps_side(paths: tuple[Path, Path]) -> Side:
    """Read two half maps, whose local resolution is measured by their FSC.

    Raises
    ------
    InputError
        They have different grids, or are copies of one map.
    """
    from cryores_lite.half_maps.pair import read_pair

    pair, average = read_pair(paths, None)
    return Side(
        kind="half maps",
        name=f"FSC of {paths[0].name} and {paths[1].name}",
        path=paths[0],
        source=average,
        placed_as=paths[0],
        density=average.density.values,
        pair=pair,
        warnings=average.warnings,
    )


def estimated(side: Side, network: Callable[[], Model], threads: int, progress: Callable[[str], Progress]) -> Side:
    """Return a side with its local resolution: estimated from a map, measured from half maps, or as it was read."""
    if side.values is not None:
        return side
    if side.pair:
        from cryores_lite.half_maps.alignment import alignment_warnings
        from cryores_lite.half_maps.comparison import comparability, half_map_warnings
        from cryores_lite.half_maps.local_fsc import checked_local_fsc
        from cryores_lite.half_maps.masking import masking_warnings

        values = checked_local_fsc(side.pair.first, side.pair.second, threads=threads).values
        alignment, masking = comparability(side.pair, values[values > 0], threads)
        warnings = (
            *half_map_warnings(side.pair.lowest_shell_fsc, values[values > 0]),
            *alignment_warnings(alignment),
            *masking_warnings(masking),
        )
        return replace(side, values=values, warnings=(*side.warnings, *warnings, UNKNOWN_ERROR.format("the local FSC")))
    from cryores_lite.method.pipeline import estimate_local_resolution

    result = estimate_local_resolution(side.source.density, network(), threads, progress(side.name))
    return replace(
        side,
        values=result.values,
        uncertainty=result.uncertainty if np.isfinite(result.uncertainty).all() else None,
        warnings=(*side.warnings, *result.warnings),
    )


def _map_to_estimate(path: Path, source: Map) -> Side:
    return Side(
        kind="map",
        name=path.name,
        path=path,
        source=source,
        placed_as=path,
        density=source.density.values,
        warnings=source.warnings,
    )


def _is_local_resolution(path: Path, source: Map) -> bool:
    values, voxel_size = source.density.values, min(source.density.grid.voxel_size)
    if is_own_output(path) and path.name.endswith(tuple(KIND[kind].suffix for kind in LOCRES_KINDS)):
        return True
    return float(values.min()) >= 0 and is_local_resolution(values, voxel_size)


def _files_beside(path: Path) -> tuple[Path | None, Path | None]:
    """Return the map of the error and the map itself that lie beside NAME_locres.mrc; None for what is missing."""
    suffix = KIND["locres"].suffix
    if not path.name.endswith(suffix):
        return None, None
    stem = path.name.removesuffix(suffix)
    error = path.with_name(f"{stem}{KIND['uncertainty'].suffix}")
    maps = (path.with_name(f"{stem}{ending}") for ending in MAP_SUFFIXES)
    return error if error.is_file() else None, next((other for other in maps if other.is_file()), None)


def _from_json(path: Path) -> Side:
    row = _row(path)
    files = row["files"]
    locres = _file_named_by(path, files["locres"])
    if locres is None:
        raise _not_comparable(path, "the record of a local resolution whose file is missing")
    error, map_path = (
        _file_named_by(path, files.get("uncertainty")),
        _file_named_by(path, files.get("average") or row["input"]),
    )
    return _finished(path, locres, read_map(locres), error, map_path)


def _row(path: Path) -> Mapping[str, Any]:
    """Read a record, or one line of ``--json``."""
    try:
        content = json.loads(path.read_text("utf-8"))
        row = content.get("row", content)
        if isinstance(row["files"]["locres"], str) and isinstance(row["input"], str):
            return row  # type: ignore[no-any-return]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        pass
    raise _not_comparable(path, "another kind of JSON")


def _file_named_by(record: Path, name: str | None) -> Path | None:
    """Return the file that a record names: as it is named, or beside the record; None if it is missing."""
    if name is None:
        return None
    return next((path for path in (Path(name), record.with_name(Path(name).name)) if path.is_file()), None)


def _finished(path: Path, locres: Path, source: Map, error_path: Path | None, map_path: Path | None) -> Side:
    """Make the side of a finished local resolution from its file, its error and its map, if these are known."""
    values, warnings = source.density.values, source.warnings
    if not is_own_output(locres):
        values = _inside(values)
    error = _on_same_grid(error_path, source)
    density = _on_same_grid(map_path, source)
    if error is None:
        warnings = (*warnings, UNKNOWN_ERROR.format(f"{path.name} (no {KIND['uncertainty'].suffix} beside it)"))
    return Side(
        kind="local resolution",
        name=map_stem(locres) if density is None or map_path is None else map_path.name,
        path=path,
        source=source,
        placed_as=locres if map_path is None else map_path,
        values=values,
        uncertainty=error,
        density=density,
        warnings=warnings,
    )


def _inside(values: Volume) -> Volume:
    """Return local resolution with 0 outside the molecule, where some programs write another constant."""
    outside = values[0, 0, 0]
    return np.where(values == outside, np.float32(0), values) if outside != 0 else values


def _on_same_grid(path: Path | None, source: Map) -> Volume | None:
    """Read the map of the error or the map itself; None if it is missing or has another box."""
    if path is None:
        return None
    values = read_map(path).density.values
    return values if values.shape == source.density.values.shape else None


def _not_comparable(path: Path, found: str) -> InputError:
    return InputError(
        str(path),
        found=found,
        expected="a map, a local-resolution map, or the record NAME_locres.json of one",
        try_="pass the map itself, or its NAME_locres.mrc",
    )
