"""A map and its measurements before the network runs, made with the functions of the runtime."""

from __future__ import annotations

from dataclasses import dataclass

from cryores_lite.method.band_features import band_features
from cryores_lite.method.coarse_voxels import scaled_down
from cryores_lite.method.network_inputs import NetworkInputs, network_inputs
from cryores_lite.method.prepare import Frame, Spectra, prepare
from cryores_lite.method.solvent_noise import SolventEstimate, solvent_estimate
from cryores_lite.types import Density, MapResolution, Volume


@dataclass(frozen=True, eq=False)
class PreparedMap:
    """A map's frame and spectra, its estimate from the solvent's noise, and the features of its bands.

    Lengths are those of the map divided by `scale`, which is 1 for voxels of up to 4 Å.
    """

    frame: Frame
    spectra: Spectra
    solvent: SolventEstimate
    features: Volume
    scale: float

    def inputs(self, resolution: MapResolution, threads: int = 1) -> NetworkInputs:
        """Make the inputs of the local network for a resolution of the map."""
        return network_inputs(self.spectra, self.solvent, self.features, resolution, self.scale, threads)


def prepare_map(density: Density, threads: int = 1) -> PreparedMap:
    """Measure a map as the runtime does."""
    scaled, scale = scaled_down(density)
    frame, spectra = prepare(scaled, threads)
    solvent = solvent_estimate(spectra.powers, spectra.outline)
    features = band_features(spectra.powers, spectra.coupling, solvent, frame.edits, scaled.grid.voxel_size, scale)
    return PreparedMap(frame, spectra, solvent, features, scale)
