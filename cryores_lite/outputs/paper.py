"""A result in words: the methods text of a paper, and what the deposition of a map at EMDB asks. Lengths are Å."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cryores_lite import __version__
from cryores_lite.figures.display_map import zyx_axes
from cryores_lite.fourier.criterion import Criterion
from cryores_lite.outputs.result import Job, MapResult, ModelIdentity
from cryores_lite.types import HalfMapComparison, LocalResolution, Shape, length_text

DIGEST_LENGTH = 12  # letters of the network's sha256 in the text
CRYORES = "Dai et al. (2023), J. Mol. Biol. 435, 168059, doi:10.1016/j.jmb.2023.168059 (CryoRes)"
HALF_MAP_REFERENCES = (
    "Rosenthal & Henderson (2003), J. Mol. Biol. 333, 721 (threshold)",
    "Cardone et al. (2013), J. Struct. Biol. 184, 226 (windowed FSC)",
    "Chen et al. (2013), Ultramicroscopy 135, 24 (phase randomisation)",
)
CRITERION_REFERENCES = {
    Criterion.one_bit: ("van Heel & Schatz (2005), J. Struct. Biol. 151, 250 (1-bit criterion)",),
    Criterion.fdr: ("Beckers & Sachse (2020), J. Struct. Biol. 212, 107579 (false-discovery rate of an FSC)",),
}
MASK_CONTOUR = 0.5


@dataclass(frozen=True, kw_only=True)
class Deposit:
    """One file, and what the deposition of a map at EMDB asks for it.

    Attributes
    ----------
    file : name of the file
    type : additional map, or mask
    voxel_size : Å, along x, y, z
    contour_level : value on the surface that encloses the molecule
    annotation : text for the details of the map, in ASCII as mmCIF requires
    """

    file: str
    type: str
    voxel_size: tuple[float, float, float]
    contour_level: float
    annotation: str


def methods_text(result: MapResult) -> str | None:
    """Describe how the local resolution was estimated and what it is, in one paragraph; None without a molecule."""
    estimate, comparison = result.local_resolution, result.comparison
    if estimate is None or math.isnan(estimate.median):
        return None
    of_half_maps = _half_map_references(Criterion(comparison.criterion)) if comparison else ()
    references = (*((CRYORES,) if result.model else ()), *of_half_maps)
    sentences = (
        f"Local resolution was estimated from {_source(result.job)} with {program(result.model)}.",
        _settings(result, estimate),
        _numbers(estimate, has_network=result.model is not None),
        _meaning(result.model),
        *((_half_maps(comparison),) if comparison else ()),
        f"References: cryores_lite {__version__}{''.join(f'; {reference}' for reference in references)}.",
    )
    return " ".join(sentences)


def deposits(result: MapResult) -> tuple[Deposit, ...]:
    """Describe the files to deposit beside a map: local resolution and mask; () without a molecule."""
    estimate, outputs = result.local_resolution, result.job.outputs
    if estimate is None or math.isnan(estimate.median):
        return ()
    z, y, x = (round(estimate.grid.voxel_size[axis], 6) for axis in _axes(result))
    finest = float(estimate.values.min(where=estimate.mask, initial=math.inf))
    made_by = f"with {program(result.model)} from the map alone"
    meaning = "a neural network's estimate" if result.model else "an estimate from the noise of the solvent"
    contents = (
        (
            "locres",
            "additional map",
            math.floor(5 * finest) / 10,
            f"Local resolution in angstroms, estimated {made_by}; 0 outside the mask; smaller is better. Median "
            f"{estimate.median:.2f}. The values are {meaning} and not a half-map FSC.",
        ),
        ("mask", "mask", MASK_CONTOUR, f"Mask of the molecule, determined {made_by}: 1 inside, 0 outside."),
    )
    return tuple(
        Deposit(file=outputs[name].name, type=type_, voxel_size=(x, y, z), contour_level=level, annotation=annotation)
        for name, type_, level, annotation in contents
        if name in outputs
    )


def program(model: ModelIdentity | None) -> str:
    """Name the program with its version, and the network with its version and digest."""
    method = (
        f"network {model.name} {model.version}, sha256 {model.sha256[:DIGEST_LENGTH]}"
        if model
        else ("statistical method")
    )
    return f"cryores_lite {__version__} ({method})"


def _axes(result: MapResult) -> Shape:
    """Return the array axes of z, y and x."""
    return zyx_axes(result.map.header.axes) if result.map else (0, 1, 2)


def _source(job: Job) -> str:
    name = job.map_path.name
    if job.averages_half_maps and job.half_maps:
        return f"the average of the half maps {' and '.join(path.name for path in job.half_maps)}"
    return f"the map {name} alone"


def _settings(result: MapResult, estimate: LocalResolution) -> str:
    job = result.job
    size = sum(estimate.grid.voxel_size) / 3
    origin = "of its header" if job.voxel_size is None else "given by the user"
    z, y, x = (estimate.grid.shape[axis] for axis in _axes(result))
    working = f"; the network worked on voxels of {estimate.working_voxel_size:.3g} Å" if result.model else ""
    return (
        f"The map has {x} × {y} × {z} voxels of {size:.4g} Å ({origin}){working}; the mask was determined by the "
        "program and there are no other settings."
    )


def _numbers(estimate: LocalResolution, *, has_network: bool) -> str:
    lowest, low, median, high, highest = estimate.percentiles.values()
    error, global_ = estimate.median_uncertainty, estimate.global_resolution
    network = (
        (error, f" The expected error is {error:.2f} Å (one standard deviation, median)."),
        (global_, f" The estimate of the global resolution is {global_:.2f} Å."),
    )
    return (
        f"Inside the mask of {estimate.mask_volume:.0f} Å³, the median is {median:.2f} Å; half of the voxels have "
        f"{low:.2f} to {high:.2f} Å, and 95 % have {lowest:.2f} to {highest:.2f} Å."
        + "".join(text for value, text in network if has_network and math.isfinite(value))
    )


def _meaning(model: ModelIdentity | None) -> str:
    if model is None:
        return (
            "The values are the wavelengths at which local power exceeds the noise of the solvent; they are not a "
            "Fourier shell correlation of half maps."
        )
    return (
        "The values are the predictions of a neural network that was trained on simulated maps of known local "
        "resolution; they are not a Fourier shell correlation of half maps. They show how the resolution varies within "
        "the map, and do not replace the resolution from half maps."
    )


def _half_map_references(criterion: Criterion) -> tuple[str, ...]:
    return HALF_MAP_REFERENCES + CRITERION_REFERENCES.get(criterion, ())


def _half_maps(comparison: HalfMapComparison) -> str:
    criterion = Criterion(comparison.criterion)
    r = f"a correlation of {comparison.r:.2f} and " if math.isfinite(comparison.r) else ""
    agreement = (
        f" The estimate and the local FSC have {r}a root-mean-square difference of {comparison.rmse:.2f} Å."
        if math.isfinite(comparison.rmse)
        else ""
    )
    return (
        f"Two half maps ({' and '.join(path.name for path in comparison.paths)}) have a global resolution of "
        f"{length_text(comparison.resolution)} (FSC 0.143, corrected for the mask) and a median local resolution of "
        f"{length_text(comparison.median)} ({criterion.text} in Gaussian windows with a standard deviation of 1.5 "
        f"wavelengths).{agreement}"
    )
