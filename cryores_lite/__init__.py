"""Local resolution of a cryo-EM map, in Å per voxel, from the map alone.

    from cryores_lite import estimate, read_map

    density = read_map("emd_1234.map.gz").density
    print(estimate(density.values, density.grid.voxel_size))

Public names
------------
estimate : estimate the local resolution of an array of densities; returns a `LocalResolution`
estimate_file : do what the command does for one file; returns paths and numbers, a `FileResult`
LocalResolution : local resolution, mask and uncertainty at every voxel, and numbers for the map
Model : an open network, to serve many maps
read_map, write_map : MRC/CCP4 files
plot : a figure of slices and histogram, with matplotlib
CryoresError : base class of every error that a user can correct

They are loaded when first used, so that importing the package takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryores_lite.errors import CryoresError
    from cryores_lite.figures.matplotlib_plot import plot
    from cryores_lite.io.mrc import read_map, write_map
    from cryores_lite.job import FileResult, estimate_file
    from cryores_lite.method.network import Model
    from cryores_lite.method.pipeline import estimate
    from cryores_lite.types import LocalResolution

__all__ = [
    "CryoresError",
    "FileResult",
    "LocalResolution",
    "Model",
    "__version__",
    "estimate",
    "estimate_file",
    "plot",
    "read_map",
    "write_map",
]
__version__ = "0.1.0"

_MODULES = {
    "CryoresError": "errors",
    "FileResult": "job",
    "LocalResolution": "types",
    "Model": "method.network",
    "estimate": "method.pipeline",
    "estimate_file": "job",
    "plot": "figures.matplotlib_plot",
    "read_map": "io.mrc",
    "write_map": "io.mrc",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
