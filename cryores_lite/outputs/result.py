"""The job of one map (`Job`) and its result (`MapResult`), shared by the commands, output files and tables."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from cryores_lite.fourier.criterion import Criterion

if TYPE_CHECKING:
    from cryores_lite.half_maps.local_fsc import LocalFsc
    from cryores_lite.io.mrc import Map
    from cryores_lite.outputs.residues import MeasuredModel
    from cryores_lite.types import HalfMapComparison, LocalResolution


SOFT_MASK_WIDTHS = (3.0, 8.0)  # Å: extension and soft edge


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
    voxel_size : Å, in place of the voxel size in the header
    outputs : paths of the files to write, by name (`OutputKind.name`)
    overwrite : replace existing files at these paths
    atoms : atomic model of the molecule
    half_maps : half maps to compare the estimate with
    method : how local resolution is estimated
    criterion : of the local FSC of the half maps
    soft_mask_widths : Å, extension and edge of the soft mask
    colours : Å of the first and the last colour in the figures; None: from the map's own percentiles
    """

    map_path: Path
    voxel_size: float | None = None
    outputs: dict[str, Path]
    overwrite: bool = False
    atoms: Path | None = None
    half_maps: tuple[Path, Path] | None = None
    method: Method = Method.network
    criterion: Criterion = Criterion.fsc_0143
    soft_mask_widths: tuple[float, float] = SOFT_MASK_WIDTHS
    colours: tuple[float, float] | None = None

    @property
    def averages_half_maps(self) -> bool:
        """Whether the map is the average of the half maps. The average is then an output file."""
        return "average" in self.outputs

    @property
    def density_path(self) -> Path:
        """File of the map: the input, or the average of the half maps."""
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
    """Name, version and sha256 of the network that made an estimate."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, kw_only=True, eq=False)
class MapResult:
    """The result for one map: done if it has a `local_resolution`, failed if it has an `error`.

    Attributes
    ----------
    job : the map and its files
    seconds : duration of the job; of its estimate, until all files are written
    peak_memory : bytes, largest memory of the process up to then; None if unknown
    threads : CPU threads
    model : the network; None for the statistical method
    error : message in one line; None if the map is done
    map : the map as read
    local_resolution : the estimate
    comparison : comparison with the half maps, if there are any
    local_fsc : local FSC of the half maps, if there are any; its values are 0 outside the mask
    residues : local resolution of the atomic model's residues, if there is a model
    warnings : sentences for the user
    """

    job: Job
    seconds: float = 0.0
    peak_memory: float | None = None
    threads: int = 1
    model: ModelIdentity | None = None
    error: str | None = None
    map: Map | None = None
    local_resolution: LocalResolution | None = None
    comparison: HalfMapComparison | None = None
    local_fsc: LocalFsc | None = None
    residues: MeasuredModel | None = None
    warnings: tuple[str, ...] = ()

    def map_and_estimate(self) -> tuple[Map, LocalResolution]:
        """Return the map and its local resolution, for a map that is done."""
        assert self.map, "a map that is done has been read"
        assert self.local_resolution, "a map that is done has a local resolution"
        return self.map, self.local_resolution
