"""Filaments, lattices, membranes and other arrangements have their geometry, and coarse maps their stated median."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import fft, ndimage
from scipy.spatial import cKDTree

from cryores_lite.fourier.spectrum import radius
from training.maps import arrangements as ar
from training.maps import structures as st
from training.maps.processing import apply_mask, enclosing_radius, high_passed, leaves_box
from training.maps.recipe import EVEN_NOISE, Recipe
from training.maps.simulate import draw_halves, draw_map, draw_signal

PLAIN = replace(
    EVEN_NOISE,
    resolution=(4.0, 4.0),
    usual_share=0.0,
    amplitude_falloff=(1e-6, 1e-6),
    oversampling=(3.0, 3.0),
    box=(48, 64),
    conformers=2,
    coarse=0.0,
)
NEW_KINDS = [kind for kind in Recipe().arrangement if kind != "single"]
RNG = np.random.default_rng


@pytest.fixture(scope="module")
def structure(structures):
    return st.read_manifest(structures, "train")[0]


@pytest.fixture(scope="module")
def atoms(structure):
    return st.read_atoms(structure.path)


def recipe_for(kind, **changes):
    return replace(PLAIN, arrangement={kind: 1.0}, **changes)


def test_a_quarter_of_the_signals_are_of_other_kinds_than_single_particles():
    shares = Recipe().arrangement
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["single"] == pytest.approx(0.75)


@pytest.mark.parametrize("kind", ar.LEAVES_THE_BOX)
def test_what_leaves_the_box_reaches_opposite_faces_of_its_maps(structure, kind):
    signal = draw_signal(structure, recipe_for(kind), RNG(1))
    known = draw_map(signal, recipe_for(kind), RNG(2))
    assert signal.rim > 0
    assert known.mask.shape == tuple(n - 2 * signal.rim for n in signal.mask.shape)
    touched = [known.mask.take(0, axis).any() and known.mask.take(-1, axis).any() for axis in range(3)]
    assert any(touched)
    assert leaves_box(known.mask)
    assert known.kind.molecule == kind
    assert_allclose(
        known.local_resolution()[known.mask], known.truth_at([np.arange(n) for n in known.mask.shape])[known.mask]
    )


@pytest.mark.parametrize("kind", ["ring", "several", "negative stain"])
def test_what_stays_in_the_box_is_surrounded_by_solvent(structure, kind):
    signal = draw_signal(structure, recipe_for(kind), RNG(3))
    assert signal.rim == 0
    assert signal.mask.any()
    assert not leaves_box(signal.mask)


@pytest.mark.parametrize("seed", range(4))
def test_a_filament_has_helical_symmetry_and_no_gaps(atoms, seed):
    edge = 80.0
    helix = ar.filament(atoms, edge, RNG(seed))
    z = np.sort(helix.positions[:, 0])
    assert z[0] < -edge / 2
    assert z[-1] > edge / 2
    assert np.diff(z[np.abs(z) < edge / 2]).max() < 6
    count = len(helix.positions)
    copies = next(n for n in range(3, count) if count % n == 0 and same_shape(helix.positions, n))
    centres = helix.positions.reshape(copies, -1, 3).mean(1)
    steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    assert_allclose(steps, steps[0], rtol=1e-6)
    assert_allclose(np.diff(centres[:, 0]), np.diff(centres[:2, 0])[0], rtol=1e-6)


def same_shape(positions, copies):
    """Whether a list of atoms consists of copies with the same distances from their centres."""
    parts = positions.reshape(copies, -1, 3)
    distances = np.linalg.norm(parts - parts.mean(1, keepdims=True), axis=2)
    return parts.shape[1] > 20 and np.allclose(distances, distances[0], atol=1e-6)


def test_a_bent_layer_keeps_its_distance_from_the_centre_of_the_sphere(atoms):
    flat = ar.layer(atoms, 100.0, 1, RNG(4))
    curved = ar.bent(flat, 150.0)
    centre = np.array([-150.0, 0, 0])
    near = np.linalg.norm(flat.positions[:, 1:], axis=1) < 150
    assert_allclose(np.linalg.norm(curved.positions - centre, axis=1)[near], 150 + flat.positions[near, 0], rtol=1e-6)
    assert_allclose(ar.bent(flat, 1e9).positions, flat.positions, atol=1e-2)


@pytest.mark.parametrize("layers", [1, 2])
def test_a_lattice_repeats_in_two_directions(atoms, layers):
    unit = st.rotated(atoms, RNG(5))
    sheet = ar.layer(unit, 100.0, layers, RNG(6))
    centres = sheet.positions.reshape(-1, len(unit.weights), 3).mean(1)
    inner = centres[np.abs(centres).max(1) < 50]
    distances = cKDTree(centres).query(inner, 5)[0]
    assert len(np.unique(centres[:, 0].round(3))) in (layers, 2 * layers)
    assert_allclose(distances[:, 1], distances[0, 1], rtol=0.02)


def test_a_bilayer_has_two_leaflets_and_is_even_along_its_plane(atoms):
    lipids = ar.lipid_layer(120.0, RNG(7))
    z = lipids.positions[:, 0]
    profile = np.histogram(z, np.arange(-32, 33, 2), weights=lipids.weights)[0]
    middle = len(profile) // 2
    peaks = [profile[:middle].argmax() - middle, profile[middle:].argmax() + 1]
    assert 24 < 2 * (peaks[1] - peaks[0]) < 56
    assert profile[middle - 1 : middle + 1].mean() < 0.9 * profile.max()
    squares = np.histogram2d(*lipids.positions[:, 1:].T, bins=6, weights=lipids.weights)[0]
    assert squares.std() < 0.05 * squares.mean()
    assert (lipids.disorder >= 1).all()


def test_lipids_do_not_overlap_the_protein(atoms):
    for seed in range(4):
        membrane = ar.bilayer(atoms, 80.0, RNG(seed))
        lipids, protein = (membrane.where(chosen) for chosen in (membrane.disorder > 1, membrane.disorder == 1))
        if len(protein.weights):
            assert cKDTree(protein.positions).query(lipids.positions)[0].min() > 2.0


def test_a_ring_is_symmetric_about_z(atoms):
    for seed in range(4):
        complex_ = ar.ring(atoms, 100.0, RNG(seed))
        symmetric = [
            n
            for n in range(3, 9)
            if cKDTree(complex_.positions)
            .query(ar.about_z(np.array([360.0 / n]))[0].apply(complex_.positions))[0]
            .max()
            < 1e-6
        ]
        assert symmetric


def test_several_particles_do_not_overlap(atoms):
    group = ar.several(atoms, 120.0, RNG(9))
    copies = len(group.weights) // len(atoms.weights)
    assert 2 <= copies <= 4
    parts = group.positions.reshape(copies, -1, 3)
    for n in range(1, copies):
        assert cKDTree(parts[0]).query(parts[n])[0].min() > 1.0


def test_merging_conserves_scattering_and_its_centre(atoms):
    merged = st.merged(atoms, 6.0)
    assert len(merged.weights) < len(atoms.weights) / 2
    assert merged.weights.sum() == pytest.approx(atoms.weights.sum())
    assert_allclose(merged.weights @ merged.positions, atoms.weights @ atoms.positions, atol=1e-6)
    assert st.merged(atoms, 1.0) is atoms


@pytest.mark.parametrize("resolution", [12.0, 25.0, 40.0])
@pytest.mark.parametrize("kind", NEW_KINDS)
def test_a_coarse_map_has_the_stated_median_and_voxel_size(structure, kind, resolution):
    exact = (resolution, resolution)
    recipe = recipe_for(kind, coarse=1.0, coarse_resolution=exact, stain_resolution=exact)
    known = draw_map(draw_signal(structure, recipe, RNG(10)), recipe, RNG(11))
    local = known.local_resolution()
    assert np.median(local[local > 0]) == pytest.approx(resolution, rel=0.05)
    assert known.density.grid.voxel_size[0] == pytest.approx(resolution / 3)
    assert 0.3 * resolution < known.global_resolution < 2 * resolution


def test_halves_of_what_leaves_the_box_lack_its_rim_too(structure):
    recipe = recipe_for("filament")
    signal = draw_signal(structure, recipe, RNG(12))
    first, second, local = draw_halves(signal, recipe, RNG(13))
    assert first.shape == second.shape == local.shape
    assert ((local > 0) == signal.mask[signal.inner]).all()


def test_a_particle_in_negative_stain_is_even_inside_and_dark_around(structure):
    recipe = recipe_for("negative stain", stain_resolution=(20.0, 20.0))
    signal = draw_signal(structure, recipe, RNG(14))
    inside = signal.density[signal.mask]
    distance = ndimage.distance_transform_edt(~signal.mask) * signal.voxel_size
    around, far = (signal.density[(distance > a) & (distance < b)] for a, b in ((5, 15), (35, 60)))
    assert np.percentile(inside, 10) > 0
    assert inside.std() < 0.6 * inside.mean()
    assert around.min() < far.mean() - 0.1


def test_a_sphere_cuts_what_leaves_the_box_and_its_mask(structure):
    signal = draw_signal(structure, recipe_for("lattice"), RNG(15))
    values, mask, _ = apply_mask(signal.density, signal.mask, signal.voxel_size, "sphere", RNG(16))
    assert (values[0, 0, 0], mask[0, 0, 0]) == (0, False)
    assert enclosing_radius(mask) < enclosing_radius(signal.mask)
    assert mask.any()


def test_closing_a_mask_fills_its_gaps_and_keeps_its_outside():
    z, y, x = np.indices((40, 40, 40)) - 20
    ball = z**2 + y**2 + x**2 < 12**2
    gaps = ball & ~((z**2 + y**2 < 2) | (x == 0))
    closed = st.closed(gaps, 2.5)
    assert closed[20, 20, 20]
    assert (closed <= st.closed(ball, 2.5)).all()
    assert closed.sum() < 1.05 * ball.sum()
    assert (closed >= gaps).all()


def test_a_high_pass_removes_long_waves_only():
    noise = RNG(17).standard_normal((32, 32, 32), np.float32)
    k = radius(noise.shape, (64.0,) * 3)
    gain = fft.rfftn(high_passed(noise, k, 20.0, 0.9)) / fft.rfftn(noise)
    assert_allclose(gain[k > 0.15], 1, atol=1e-3)
    assert_allclose(gain[k == 0], 0.1, atol=1e-3)
