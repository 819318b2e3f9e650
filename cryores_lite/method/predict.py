"""Run the network over a map, tile by tile."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cryores_lite.fourier.interpolation import resample_periodic
from cryores_lite.method.network_inputs import NetworkInputs
from cryores_lite.method.tiles import coarser, cover, depth_to_space, join
from cryores_lite.types import Mask, Progress, Volume

if TYPE_CHECKING:
    from cryores_lite.method.network import Model

MOLECULE_MARGIN = 20.0  # Å around the molecule of the solvent estimate; the mask is empty beyond
PROBABILITY_ONE = 255  # mask probabilities are kept in bytes


class NetworkFields(NamedTuple):
    """The output of the network at every point of the periodic box.

    Attributes
    ----------
    relative : (z/4, y/4, x/4) float32, local minus global resolution, Å
    error : (z/4, y/4, x/4) float32, standard deviation of the local resolution's logarithm, before `Model.error_scale`
    mask_probability : (z, y, x) uint8, on the working grid, in units of 1/255
    """

    relative: Volume
    error: Volume
    mask_probability: npt.NDArray[np.uint8]


def predict_tiles(model: Model, inputs: NetworkInputs, molecule: Mask, progress: Progress = iter) -> NetworkFields:
    """Run the network on every tile that overlaps the molecule or its surroundings.

    Parameters
    ----------
    molecule : (z, y, x) bool, on the coarse grid over the periodic box
    progress : wraps the sequence of tiles
    """
    shape = z, y, x = inputs.shape
    quarter = (z // 4, y // 4, x // 4)
    step = max(inputs.lengths) / max(molecule.shape)
    surroundings = ndimage.binary_dilation(molecule, iterations=max(1, round(MOLECULE_MARGIN / step)))
    relatives, errors, masks = [], [], []
    for tile in progress(cover(surroundings, shape, model.spec.halo, model.spec.tile**3)):
        relative, error, mask = model.predict(
            inputs.features,
            inputs.density[(..., *coarser(tile.view, 2))],
            inputs.bands[(..., *coarser(tile.view, 4))],
            inputs.context,
            inputs.median_resolution,
        )
        core, inner = coarser(tile.core, 4), tile.inner(4)
        relatives.append((core, relative[inner]))
        errors.append((core, error[inner]))
        in_surroundings = resample_periodic(surroundings.astype(np.float32), quarter, core) > 0.5
        probability = np.float32(PROBABILITY_ONE) * mask[(..., *inner)]
        probability *= in_surroundings
        masks.append((tile.core, depth_to_space(np.rint(probability, out=probability).astype(np.uint8))))
    return NetworkFields(
        join(relatives, quarter, np.float32), join(errors, quarter, np.float32), join(masks, shape, np.uint8)
    )
