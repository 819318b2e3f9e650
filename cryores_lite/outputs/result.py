"""One map: what to do with it (`Job`) and the result (`MapResult`), which the command, its outputs and tables share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryores_lite.io.mrc import Map
    from cryores_lite.outputs.residues import Measured
    from cryores_lite.types import HalfMapComparison, LocalResolution


class Method(str, Enum):
    """How local resolution is estimated."""

    network = "network"
    statistical = "statistical"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One map and the files to make of it.

    Attributes
    ----------
    map_path : the map; the first half map if the average of two half maps is the map
    voxel_size : Å, instead of the header's
    outputs : paths of the files to write, by name (`OutputKind.name`)
    overwrite : replace files of those names
    atoms : atomic model of the molecule
    half_maps : to compare with
    method : how local resolution is estimated
    """

    map_path: Path
    voxel_size: float | None = None
    outputs: dict[str, Path]
    overwrite: bool = False
    atoms: Path | None = None
    half_maps: tuple[Path, Path] | None = None
    method: Method = Method.network

    @property
    def averages_half_maps(self) -> bool:
        """Whether the map is the average of the half maps, which then is written too."""
        return "average" in self.outputs

    @property
    def density_path(self) -> Path:
        """File that holds the map: the input, or the average that is written."""
        return self.outputs.get("average", self.map_path)

    @property
    def displayed_path(self) -> Path:
        """File that ChimeraX opens for the map: the map, or an unpacked copy that is written."""
        return self.outputs.get("unpacked", self.density_path)

    @property
    def folder(self) -> Path:
        """Folder of the output files."""
        return self.outputs["locres"].parent


@dataclass(frozen=True)
class ModelIdentity:
    """The network that made an estimate, so that it can be found again."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, kw_only=True, eq=False)
class MapResult:
    """The result for one map: done if it has a `local_resolution`, failed if it has an `error`.

    Attributes
    ----------
    job : the map and its files
    seconds : from the start of the work to the end
    threads : CPU threads
    model : None for the statistical method
    error : one line; None if the map is done
    map : as read
    local_resolution : the estimate
    comparison : with the half maps, if there are any
    residues : of the atomic model, if there is one
    warnings : sentences for the user
    """

    job: Job
    seconds: float = 0.0
    threads: int = 1
    model: ModelIdentity | None = None
    error: str | None = None
    map: Map | None = None
    local_resolution: LocalResolution | None = None
    comparison: HalfMapComparison | None = None
    residues: Measured | None = None
    warnings: tuple[str, ...] = ()

    def map_and_estimate(self) -> tuple[Map, LocalResolution]:
        """Give the map and its local resolution, for a map that is done."""
        assert self.map, "a map that is done has been read"
        assert self.local_resolution, "a map that is done has a local resolution"
        return self.map, self.local_resolution
