"""Properties of the network, the losses and the training files; training resumes exactly."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from safetensors.torch import load_file

from cryores_lite.io.mrc import read_map, write_map
from cryores_lite.method.band_features import FEATURES, MAX_BANDS
from cryores_lite.method.network_inputs import CHANNELS, CONTEXT
from cryores_lite.method.tiles import depth_to_space
from cryores_lite.types import EDITINGS, Density, Grid
from export.calibrate import fit_power_law
from training import level, losses
from training.data import (
    LEVELS_FOLDER,
    Patches,
    augment,
    make_file,
    make_labelled_file,
    measure_and_cut,
    nonempty_files,
)
from training.evaluation.metrics import INTERVAL, score
from training.maps.known_map import KnownMap, MapKind, Placement
from training.maps.recipe import Recipe
from training.maps.structures import read_manifest
from training.network import HALO, Heads, LocalResolutionNet, MapResolution, space_to_depth, upsample_nearest
from training.train import RECIPES, TrainingConfig, append, save_weights, train

ROOT = Path(__file__).resolve().parents[2]

SMALL = Recipe(
    resolution=(3.5, 5.0),
    usual_share=0.0,
    oversampling=(3.0, 4.0),
    box=(48, 56),
    conformers=3,
    mobility_spread=(0.5, 0.5),
    masking={"none": 1.0, "soft": 1.0},
)


@pytest.fixture(scope="module")
def patches(structures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("patches")
    (folder / LEVELS_FOLDER).mkdir()
    for number in range(2):
        assert make_file(read_manifest(structures, "train")[0], 2, number, SMALL, folder) > 0
    return folder


def random_network(seed=1):
    torch.manual_seed(seed)
    network = LocalResolutionNet()
    for p in network.parameters():
        if not p.any():
            torch.nn.init.normal_(p, std=0.02)
    return network.eval()


def certain(*kinds):
    """Log probabilities of maps whose kind of editing is certain."""
    return torch.log(1e-6 + torch.nn.functional.one_hot(torch.tensor(kinds), len(EDITINGS)).float())


def inputs(edge, seed=2):
    g = torch.Generator().manual_seed(seed)
    quarter = (edge // 4,) * 3
    return (
        torch.randn(1, FEATURES, MAX_BANDS, generator=g),
        torch.randn(1, 1, *(edge // 2,) * 3, generator=g),
        torch.randn(1, CHANNELS, *quarter, generator=g) * 0.3,
        torch.randn(1, CONTEXT, generator=g) * 0.3,
        torch.full((1, 1), 4.0),
    )


def test_depth_to_space_undoes_space_to_depth():
    x = torch.randn(2, 1, 8, 12, 16)
    for n in (2, 4):
        for parts, field in zip(space_to_depth(x, n).numpy(), x.numpy(), strict=True):
            assert np.array_equal(depth_to_space(parts), field[0])


def test_upsampling_repeats_the_nearest_voxel():
    x = torch.randn(2, 3, 4, 5, 6)
    assert torch.equal(upsample_nearest(x), torch.nn.functional.interpolate(x, scale_factor=2, mode="nearest"))


@torch.no_grad()
def test_voxels_beyond_the_halo_do_not_change_the_output():
    network, (evidence, density, bands, context, level) = random_network(), inputs(2 * HALO + 16)
    quarter = (..., *(slice(HALO // 4, HALO // 4 + 4),) * 3)
    before = network(evidence, density, bands, context, level)
    noisy, coarse = torch.randn_like(density), torch.randn_like(bands)
    for changed, original, rim in ((noisy, density, 2), (coarse, bands, 1)):
        core = (..., *(slice(rim, -rim),) * 3)
        changed[core] = original[core]
    after = network(evidence, noisy, coarse, context, level)
    assert_allclose(after.relative[quarter], before.relative[quarter], atol=1e-5)
    assert_allclose(after.error[quarter], before.error[quarter], atol=1e-5)
    assert_allclose(after.mask[quarter], before.mask[quarter], atol=1e-5)


@torch.no_grad()
def test_the_density_changes_the_mask_but_not_the_resolution():
    network, (evidence, density, bands, context, level) = random_network(), inputs(16)
    before = network(evidence, density, bands, context, level)
    density *= 3
    after = network(evidence, density, bands, context, level)
    assert torch.equal(before.relative, after.relative)
    assert torch.equal(before.error, after.error)
    assert not torch.equal(before.mask, after.mask)


@torch.no_grad()
def test_the_maps_resolution_depends_on_the_band_features_alone_and_lies_within_the_bands():
    network, (evidence, density, bands, context, level) = random_network(), inputs(16)
    heads = network(evidence, density, bands, context, level)
    assert all(torch.equal(a, b) for a, b in zip(network.level(evidence), heads[:4], strict=True))
    resolutions = torch.exp(network.level.readers[0].log_resolutions)
    for value in (heads.global_, heads.median):
        assert resolutions.min() <= value <= resolutions.max()
    assert 0 < heads.log_std < 1


@torch.no_grad()
def test_an_untrained_network_returns_a_mean_of_the_estimates_from_power_and_coupling():
    evidence, density, bands, context, level = inputs(16)
    network = LocalResolutionNet()
    heads = network(evidence, density, bands, context, level)
    coupled, weight = network.coupling(bands, context, network.context(context))
    assert 0 < weight < 0.1
    log_local = (1 - weight) * bands[:, -1:] + weight * coupled
    assert_allclose(heads.global_ + heads.relative[:, 0], level * torch.exp(log_local[:, 0]), rtol=1e-5)


@pytest.mark.parametrize("name", RECIPES)
def test_the_truth_has_the_lowest_loss(name):
    g = torch.Generator().manual_seed(3)
    truth = 3 + torch.rand(2, 4, 4, 4, generator=g)
    mask = (torch.rand(2, 16, 16, 16, generator=g) > 0.5).float()
    batch = {"local": truth, "inside": torch.ones(2, 4, 4, 4), "overall": torch.full((2,), 3.0), "mask": mask}
    three, small_error = torch.full((2, 1), 3.0), torch.full((2, 1, 4, 4, 4), 1e-4)
    parts = space_to_depth(20 * (mask[:, None] * 2 - 1), 4)
    perfect = Heads(three, three, small_error[:, :, 0, 0, 0], certain(0, 0), (truth - 3)[:, None], small_error, parts)
    best = RECIPES[name].loss(perfect, batch)
    assert best < 1e-3
    for worse in ({"relative": perfect.relative + 0.3}, {"mask": perfect.mask - 20}):
        assert RECIPES[name].loss(perfect._replace(**worse), batch) > best


def test_the_interval_that_contains_its_share_of_errors_has_the_lowest_loss():
    errors = torch.randn(200_000, generator=torch.Generator().manual_seed(7)) * 0.3
    tried = {sigma: losses.interval(errors, torch.tensor(sigma)).mean() for sigma in (0.2, 0.27, 0.3, 0.33, 0.4)}
    assert min(tried, key=tried.get) == 0.3


@torch.no_grad()
def test_disagreement_of_members_increases_the_stated_error():
    network, (evidence, *_) = random_network().level, inputs(16)
    members = [member(evidence) for member in network.readers]
    together = network(evidence)
    medians = torch.log(torch.cat([level.median for level in members]))
    assert_allclose(torch.log(together.median), medians.mean(0, keepdim=True), atol=1e-5)
    assert together.log_std >= torch.cat([level.log_std for level in members]).square().mean().sqrt()


def test_training_the_level_network_leaves_the_local_network_unchanged(patches, tmp_path):
    save_weights(tmp_path / "first.safetensors", random_network(), {"trained": "first"})
    options = ["--data", patches, "--validation", patches, "--weights", tmp_path / "first.safetensors"]
    options += ["--out", tmp_path / "second.safetensors", "--steps", "3", "--every", "3"]
    subprocess.run([sys.executable, "-m", "training.level", *map(str, options)], check=True, cwd=ROOT)
    before, after = (load_file(tmp_path / f"{name}.safetensors") for name in ("first", "second"))
    assert set(before) == set(after)
    for key in before:
        assert torch.equal(before[key], after[key]) == (not key.startswith("level.") or not before[key].any())
    assert (tmp_path / "second.level.csv").read_text().startswith("step,maps,loss,median")


def test_a_stopped_run_of_the_level_network_resumes_exactly(patches, tmp_path, monkeypatch):
    save_weights(tmp_path / "local.safetensors", random_network(), {})

    def train_until_written(name):
        out, log = tmp_path / f"{name}.safetensors", tmp_path / f"{name}.csv"
        folders = {"data": patches, "validation": patches, "weights": tmp_path / "local.safetensors"}
        level.train_level(level.LevelConfig(**folders, out=out, log=log, steps=2, every=1))
        return load_file(out), log.read_text()

    def stop_at_step_2(path, row):
        if row["step"] == 2:
            raise KeyboardInterrupt
        append(path, row)

    with monkeypatch.context() as patch:
        patch.setattr(level, "append", stop_at_step_2)
        with pytest.raises(KeyboardInterrupt):
            train_until_written("stopped")
    torch.rand(3)  # a new process has other random numbers
    resumed, resumed_log = train_until_written("stopped")
    unbroken, unbroken_log = train_until_written("unbroken")
    assert all(torch.equal(unbroken[key], resumed[key]) for key in unbroken)
    assert resumed_log == unbroken_log
    assert list(tmp_path.glob("*.pt")) == []


def test_the_true_resolution_has_the_lowest_level_loss():
    truth = {
        "median": torch.tensor([3.0, 8.0]),
        "overall": torch.tensor([2.9, 7.0]),
        "editing": torch.tensor([2, -1]),  # the second is not known
    }
    right = MapResolution(truth["overall"][:, None], truth["median"][:, None], torch.full((2, 1), 1e-4), certain(2, 0))
    assert losses.level_loss(right, truth) < 1e-3
    for worse in (
        {"median": right.median * 1.1},
        {"global_": right.global_ * 0.9},
        {"log_std": right.log_std + 0.1},
        {"editing": certain(1, 0)},
    ):
        assert losses.level_loss(right._replace(**worse), truth) > losses.level_loss(right, truth)
    unknown = right._replace(editing=certain(2, 3))
    assert losses.level_loss(unknown, truth) == losses.level_loss(right, truth)


def test_a_patch_without_molecule_adds_no_loss():
    values, inside = torch.ones(2, 4, 4, 4), torch.zeros(2, 4, 4, 4)
    inside[0, 0] = 1
    assert losses.in_mask_mean(values, inside) == 1
    assert losses.in_mask_mean(values, inside * 0) == 0


def test_augmentation_keeps_the_grids_of_a_record_aligned():
    values = np.random.default_rng(4).random((8, 8, 8)).astype(np.float32)
    record = {"density": np.stack([values, values]), "local": values[::2, ::2, ::2], "level": np.float32(3)}
    record["inside"] = np.ones((4, 4, 4), bool)
    for seed in range(8):
        augmented = augment(record, np.random.default_rng(seed))
        assert torch.equal(augmented["density"][0, ::2, ::2, ::2], augmented["local"])
        assert augmented["level"].ndim == 0
        assert_allclose(augmented["density"].sum(), 2 * values.sum(), rtol=1e-5)
        assert augmented["inside"][1:, 1:, 1:].all()


def test_planes_that_wrap_around_in_mirroring_are_outside_the_molecule():
    record = {"inside": np.ones((4, 4, 4), bool), "level": np.float32(3)}
    counts = {int(augment(record, np.random.default_rng(seed))["inside"].sum()) for seed in range(60)}
    assert counts == {64, 48, 36, 27}


def test_a_file_of_patches_depends_on_seed_and_number_alone(patches, structures, tmp_path):
    (tmp_path / LEVELS_FOLDER).mkdir()
    make_file(read_manifest(structures, "train")[0], 2, 1, SMALL, tmp_path)
    with np.load(tmp_path / "000001.npz") as again, np.load(patches / "000001.npz") as first:
        assert set(again.files) == set(first.files)
        for key in again.files:
            assert (again[key] == first[key]).all()
        assert np.isfinite(again["density"]).all()
        assert np.isfinite(again["bands"]).all()


def test_patches_are_equal_for_equal_seeds_and_resume_where_they_stopped(patches):
    def first(count, **more):
        stream = iter(Patches(patches, 5, **more))
        return [next(stream)["density"] for _ in range(count)]

    unbroken_patches = first(5)
    assert all(torch.equal(a, b) for a, b in zip(unbroken_patches, first(5), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(unbroken_patches[3:], first(2, start=3), strict=True))


def test_labelled_real_maps_give_the_records_of_simulated_ones(tmp_path):
    examples = ROOT / "examples"
    truth = read_map(examples / "example_truth.mrc.gz")
    write_map(tmp_path / "mask.mrc", truth.density.values > 0, truth.header, label="mask")
    names = {"map": examples / "example_map.mrc", "local_resolution": examples / "example_truth.mrc.gz"}
    row = {**{k: str(v) for k, v in names.items()}, "mask": "mask.mrc", "global_resolution": "3.1"}
    (tmp_path / LEVELS_FOLDER).mkdir()
    assert make_labelled_file(row, tmp_path, 1, tmp_path) > 0
    (path,) = nonempty_files(tmp_path)
    inside = truth.density.values[truth.density.values > 0]
    with np.load(path) as file, np.load(tmp_path / LEVELS_FOLDER / path.name) as level:
        assert_allclose(level["median"], [np.median(inside)], rtol=1e-5)
        assert level["overall"] == [np.float32(3.1)]
        known = file["local"][file["inside"]]
        assert_allclose(np.median(known), np.median(inside), rtol=0.1)
        assert inside.min() * 0.99 <= known.min() <= known.max() <= inside.max() * 1.01


def test_a_map_with_voxels_twice_as_large_gives_the_same_training_records():
    truth = read_map(ROOT / "examples" / "example_truth.mrc.gz").density.values
    values = read_map(ROOT / "examples" / "example_map.mrc").density.values

    def records(scale):
        known = KnownMap(
            density=Density(values, Grid(values.shape, (6.0 * scale,) * 3)),
            mask=truth > 0,
            truth=np.float32(5 * scale) * truth,
            placement=Placement(values.shape),
            global_resolution=16.0 * scale,
            low_pass_limit=13.0 * scale,
            kind=MapKind("average", "none", "protein", "none"),
        )
        return measure_and_cut(known, 2, SMALL, np.random.default_rng(0))

    (level_1, patches_1), (level_2, patches_2) = records(1), records(2)
    assert len(patches_1) == 2
    for single, double in zip([level_1, *patches_1], [level_2, *patches_2], strict=True):
        for key in single:
            np.testing.assert_array_equal(single[key], double[key])


def test_a_file_without_patches_is_skipped(patches, tmp_path):
    for path in patches.glob("*.npz"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with (tmp_path / "000009.npz").open("wb") as file:
        np.savez(file)
    assert nonempty_files(tmp_path) == [tmp_path / "000000.npz", tmp_path / "000001.npz"]


def test_a_stopped_run_of_the_local_network_resumes_exactly(patches, tmp_path):
    def train_in_runs(out, stops):
        for steps in stops:
            train(
                TrainingConfig(
                    data=patches,
                    validation=patches,
                    out=out,
                    recipe="cryores",
                    steps=steps,
                    batch=1,
                    every=1,
                    loaders=0,
                )
            )
        return torch.load(out / "checkpoint.pt", weights_only=True)["network"]

    unbroken, resumed = train_in_runs(tmp_path / "unbroken", [2]), train_in_runs(tmp_path / "resumed", [1, 2])
    assert all(torch.equal(unbroken[key], resumed[key]) for key in unbroken)
    with (tmp_path / "unbroken" / "log.csv").open() as log:
        assert [row["step"] for row in csv.DictReader(log)] == ["1", "2"]
    LocalResolutionNet().load_state_dict(load_file(tmp_path / "unbroken" / "weights.safetensors"))


def test_scores_agree_with_the_bench_program(shared, tmp_path):
    import importlib.util

    import mrcfile

    spec = importlib.util.spec_from_file_location("bench_score", shared / "bench" / "score.py")
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    case = shared / "bench" / "d3"
    truth, mask = bench.read(case / "truth.mrc.gz"), bench.read(case / "mask.mrc.gz") > 0
    rng = np.random.default_rng(6)
    estimate = (truth * rng.uniform(0.8, 1.3, truth.shape) * (rng.random(truth.shape) > 0.1)).astype(np.float32)
    with mrcfile.new(tmp_path / "estimate.mrc") as file:
        file.set_data(estimate)
    theirs = bench.score(case, tmp_path / "estimate.mrc")
    limit = json.loads((case / "case.json").read_text()).get("visible_limit_A") or 0.0
    ours = score(estimate, np.where(mask, truth, 0), estimate > 0, limit)
    bench_names = {
        **{k: k for k in ("relative_rmse", "rmse", "mae", "bias", "coverage", "level")},
        "r": "pearson_r",
        "pattern": "pattern_relative_rmse",
        "constant": "constant_relative_rmse",
    }
    for name, bench_name in bench_names.items():
        assert_allclose(getattr(ours, name), theirs[bench_name], rtol=1e-4, atol=1e-6)


def test_calibration_recovers_the_power_law_of_stated_errors():
    rng = np.random.default_rng(8)
    stated = np.exp(rng.uniform(-4, -1, 4000))
    errors = 3 * stated**1.5 * np.abs(rng.standard_normal(4000))
    scale, power = fit_power_law(stated, errors)
    assert power == pytest.approx(1.5, abs=0.1)
    held = np.abs(errors) <= INTERVAL * scale * stated**power
    for part in np.array_split(np.argsort(stated), 4):
        assert held[part].mean() == pytest.approx(losses.INTERVAL_SHARE, abs=0.05)
