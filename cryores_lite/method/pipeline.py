"""The method from a density to its local resolution: measure, predict, assemble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryores_lite.method.arguments import density_argument, threads_argument
from cryores_lite.method.assemble import assemble
from cryores_lite.method.band_features import band_features
from cryores_lite.method.band_powers import BandPowers
from cryores_lite.method.coarse_voxels import scaled_down
from cryores_lite.method.coupling_estimate import contrast_warnings
from cryores_lite.method.network import Model
from cryores_lite.method.network_inputs import network_inputs
from cryores_lite.method.predict import predict_tiles
from cryores_lite.method.prepare import Frame, prepare
from cryores_lite.method.solvent_noise import MIN_POWER, SolventEstimate, solvent_estimate
from cryores_lite.method.value_edits import edit_warnings, white_power
from cryores_lite.resources import available_threads
from cryores_lite.types import EDITINGS, Density, Lengths, LocalResolution, MapResolution, Mask, Progress, Volume

MAX_ROUNDING_FREQUENCY = 1.7  # in units of 1/median: the rounding of the values is compared with the noise up to it
GLOBAL_RANGE = (2.5, 75)  # percentiles of the local resolution between which the global one is
EDITED_TO_WARN = 0.8  # probability of any editing
SOLVENT_LEVEL_TO_WARN = 0.1  # of the solvent inside a mask, over the contrast of the molecule
LEFT_OUT_TO_WARN = 0.01  # volume of the pieces that were left out of the mask, over that of the mask
LOG_STD_TO_WARN = 0.15  # `MapResolution.log_std` above which the user is warned


def estimate(
    density: npt.ArrayLike,
    voxel_size: float | Sequence[float],
    *,
    model: Model | str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress = iter,
) -> LocalResolution:
    """Estimate the local resolution of a cryo-EM density at every voxel of its molecule.

    Parameters
    ----------
    density : (z, y, x) array, any unit, contrast positive
    voxel_size : Å, one number, (z, y, x), or the `voxel_size` of an open mrcfile
    model : an open `Model` (to serve many maps), a file, or None for the shipped one
    device : "auto", "cpu" or "cuda"; used when `model` is not open yet
    threads : CPU threads, or None for all that this process may use
    progress : wraps the sequence of tiles, for a progress bar

    Returns
    -------
    LocalResolution, on the grid of `density`

    Raises
    ------
    InputError
        The array is not a three-dimensional map with finite, varying values, or another argument cannot be used.
    ModelError, DeviceError
        The model cannot be opened on that device.
    NotEnoughMemory
        The map does not fit into memory.
    """
    checked = density_argument(density, voxel_size)
    threads = threads_argument(threads) or available_threads()
    opened = model if isinstance(model, Model) else Model.open(model, device=device, threads=threads)
    return estimate_local_resolution(checked, opened, threads, progress)


def estimate_local_resolution(
    density: Density, model: Model, threads: int = 1, progress: Progress = iter
) -> LocalResolution:
    """Estimate the local resolution of a map with an open model: the complete method."""
    scaled, factor = scaled_down(density)
    frame, spectra = prepare(scaled, threads)
    solvent = solvent_estimate(spectra.powers, spectra.outline)
    features = band_features(spectra.powers, spectra.coupling, solvent, frame.edits, scaled.grid.voxel_size, factor)
    resolution = model.map_resolution(features)
    inputs = network_inputs(spectra, solvent, features, resolution, factor, threads)
    rounding = rounding_share(frame, spectra.powers, solvent, resolution.median, scaled.grid.voxel_size)
    contrast = spectra.contrast
    del spectra  # the network needs the memory
    fields = predict_tiles(model, inputs, solvent.molecule, progress)
    working_voxel_size = factor * float(np.mean(inputs.voxel_size))
    del inputs
    error = model.error_scale(resolution.editing) * fields.error
    fields = fields._replace(relative=factor * fields.relative, error=error)
    resolution = replace(resolution, global_=factor * resolution.global_, median=factor * resolution.median)
    values, uncertainty, mask, left_out = assemble(
        fields, resolution, frame, density.grid, model.spec.mask_threshold, threads
    )
    return LocalResolution(
        values=values,
        mask=mask,
        uncertainty=uncertainty,
        grid=density.grid,
        global_resolution=global_resolution(values[mask], resolution, 2 * max(density.grid.voxel_size)),
        working_voxel_size=working_voxel_size,
        provider=model.provider,
        editing=resolution.editing,
        warnings=(
            *model.warnings,
            *contrast_warnings(contrast),
            *reliability_warnings(frame, solvent, resolution, mask, left_out),
            *edit_warnings(frame.edits, rounding),
            *editing_warnings(resolution.editing),
        ),
    )


def global_resolution(local: Volume, resolution: MapResolution, nyquist_limit: float) -> float:
    """Return the global resolution in Å that belongs to the local ones: their median times the network's ratio.

    It is between the percentiles of `GLOBAL_RANGE`.

    Parameters
    ----------
    local : (voxels,), local resolution in the molecule, Å
    resolution : the network's estimate for the map
    nyquist_limit : Å
    """
    if not local.size:
        return max(resolution.global_, nyquist_limit)
    low, median, high = np.percentile(local, (GLOBAL_RANGE[0], 50, GLOBAL_RANGE[1]))
    return float(np.clip(median * resolution.global_ / resolution.median, low, high))


def editing_warnings(editing: tuple[float, ...]) -> tuple[str, ...]:
    """Return the warning about a map that was probably edited. `editing` is that of `MapResolution`."""
    if not editing or editing[0] >= 1 - EDITED_TO_WARN:
        return ()
    likeliest = max(range(1, len(EDITINGS)), key=lambda n: editing[n])
    return (
        f"The map was probably edited after refinement ({EDITINGS[likeliest]}, probability {editing[likeliest]:.0%}): "
        "if you have the map before that, compare both.",
    )


def rounding_share(
    frame: Frame, powers: BandPowers, solvent: SolventEstimate, median: float, voxel_size: Lengths
) -> float:
    """Return the largest share of the rounding error in the noise of a band, up to `MAX_ROUNDING_FREQUENCY`."""
    near = powers.frequencies * median <= MAX_ROUNDING_FREQUENCY
    power = white_power(frame.edits.rounding_variance, powers.frequencies, voxel_size)
    return float((power / np.maximum(solvent.noise_power, MIN_POWER))[near].max(initial=0.0))


def reliability_warnings(
    frame: Frame, solvent: SolventEstimate, resolution: MapResolution, mask: Mask, left_out: float
) -> tuple[str, ...]:
    """Return warnings about properties of the map that make this estimate less reliable.

    `left_out` is the volume of the pieces that were left out of the mask, over that of the mask.
    """
    warnings = []
    if not mask.any():
        warnings.append("No molecule was found: the mask is empty.")
    if left_out >= LEFT_OUT_TO_WARN:
        warnings.append(
            f"Separate small pieces were left out of the mask ({left_out:.0%} of its volume): they may be noise."
        )
    if frame.nyquist_filtered:
        warnings.append(
            "Nearly all power of this map was beyond its Nyquist frequency (sharpened, no low-pass) and was removed."
        )
    if abs(frame.solvent_level) > SOLVENT_LEVEL_TO_WARN:
        place = "above" if frame.solvent_level > 0 else "below"
        warnings.append(
            f"The solvent was {place} the constant outside the mask or in the padding, by "
            f"{abs(frame.solvent_level):.2g} times the molecule's contrast: this level was subtracted."
        )
    if not solvent.has_solvent:
        warnings.append(
            "No noisy solvent around the molecule (masked, cropped or low-passed map): expect larger errors."
        )
    if resolution.log_std > LOG_STD_TO_WARN:
        warnings.append(
            f"The overall resolution is uncertain by about {resolution.log_std:.0%}; "
            "differences within the map are more reliable."
        )
    return tuple(warnings)
