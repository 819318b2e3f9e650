"""Maps computed from atoms hold no noise, and are said to; maps with noise are not, whatever was done to them."""

import numpy as np
import pytest
from scipy import ndimage

from cryores_lite.io.input_checks import NO_NOISE
from cryores_lite.io.mrc import map_stem, read_map
from cryores_lite.io.noise_free import is_noise_free
from tests.runtime.command import rows, run
from tests.runtime.maps import lumps, save
from tests.runtime.paths import EXAMPLE, EXPERIMENTAL, SHARED

MAPS = [EXAMPLE, *sorted(EXPERIMENTAL.glob("*.gz")), *sorted(SHARED.glob("data/maps/*.gz"))]
MAPS += sorted(SHARED.glob("bench*/*/map.mrc.gz"))


def chain(atoms=400):
    """Positions of a compact random chain, 1.5 Å between atoms; (atoms, 3) Å."""
    rng = np.random.default_rng(3)
    positions = [np.zeros(3)]
    for _ in range(atoms - 1):
        step = rng.normal(size=3) - 0.05 * positions[-1]
        positions.append(positions[-1] + 1.5 * step / np.linalg.norm(step))
    return np.array(positions)


def molmap(positions, resolution, *, spacing=3.0, padding=3.0, cutoff=5.0):
    """The map of ChimeraX's molmap: a Gaussian of σ = resolution / (π √2) at each atom, up to `cutoff` σ.

    `spacing` is voxels per `resolution`, `padding` is the margin in units of it.
    """
    voxel, sigma = resolution / spacing, resolution / (np.pi * np.sqrt(2)) * spacing / resolution  # Å, voxels
    places = (positions - positions.min(0)) / voxel + padding * spacing
    reach = int(np.ceil(cutoff * sigma)) + 1
    shape = np.ceil(places.max(0) + padding * spacing).astype(int) + 1
    values = np.zeros(shape + 2 * reach)
    around = np.indices((2 * reach + 1,) * 3)
    for place in places:
        start = np.floor(place).astype(int)
        squares = sum((around[n] - reach - (place - start)[n]) ** 2 for n in range(3))
        box = tuple(slice(low, low + 2 * reach + 1) for low in start)
        values[box] += np.where(squares <= (cutoff * sigma) ** 2, np.exp(-squares / (2 * sigma**2)), 0)
    return values[(slice(reach, -reach),) * 3].astype(np.float32)


MODELS = {
    "2 Å": {"resolution": 2.0},
    "4 Å": {"resolution": 4.0},
    "8 Å": {"resolution": 8.0},
    "15 Å": {"resolution": 15.0, "spacing": 5.0},
    "fine voxels": {"resolution": 4.0, "spacing": 6.0},
    "narrow box": {"resolution": 6.0, "padding": 0.5},
    "wide box": {"resolution": 6.0, "padding": 8.0},
    "Gaussians up to 4 σ": {"resolution": 6.0, "cutoff": 4.0},
}


@pytest.mark.parametrize("name", MODELS)
def test_a_map_of_gaussian_atoms_has_no_noise(name):
    values = molmap(chain(), **MODELS[name])
    for changed in (values, 1e-4 * values, 3 * values + 50, values.astype(np.float16).astype(np.float32)):
        assert is_noise_free(changed)
    noise = np.random.default_rng(0).normal(size=values.shape).astype(np.float32)
    for share in (1e-3, 0.01, 0.1):
        noisy = values + share * values.max() * noise
        for changed in (noisy, np.maximum(noisy, 0), np.where(values > 0, noisy, 0), np.where(noisy > 0.1, noisy, 0)):
            assert not is_noise_free(changed)


@pytest.mark.parametrize("path", MAPS, ids=map_stem)
def test_no_real_map_is_said_to_have_no_noise(path):
    values = read_map(path, voxel_size=3.0).density.values
    soft = ndimage.gaussian_filter((values > 2 * values.std()).astype(np.float32), 2.0)
    for changed in (values, np.maximum(values, 0), values * soft, np.where(values > values.std(), values, 0)):
        assert not is_noise_free(changed)


@pytest.mark.usefixtures("shared")
@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(SHARED.glob("data/maps/models/*.gz")), ids=lambda path: path.name)
def test_the_maps_of_real_models_have_no_noise(path):
    gemmi = pytest.importorskip("gemmi")
    atoms = [atom.atom.pos.tolist() for atom in gemmi.read_structure(str(path))[0].all()]
    positions = np.array(atoms)
    for resolution in (4.0, 8.0):
        assert is_noise_free(molmap(positions, resolution))


@pytest.mark.slow
def test_the_command_warns_of_a_map_without_noise(tmp_path):
    path = save(tmp_path / "model.mrc", molmap(chain(), 6.0), voxel_size=2.0)
    noisy = save(tmp_path / "noisy.mrc", lumps())
    finished = run(path, noisy, "--json", "-j", 1, check=True)
    assert [NO_NOISE in row["warnings"] for row in rows(finished)] == [True, False]
