"""The network keeps its promises, and training can be stopped and resumed exactly."""

import argparse
import csv
import json

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from safetensors.torch import load_file

from cryores_lite.steps.condition import CHANNELS, CONTEXT
from training import losses
from training.data import Patches, make_file, turn, written
from training.metrics import score
from training.network import HALO, LocalResolutionNet, depth_to_space, space_to_depth
from training.simulate import Recipe
from training.structures import read_manifest
from training.train import RECIPES, train

SMALL = Recipe(
    resolution=(3.5, 5.0), oversampling=(3.0, 4.0), box=(48, 56), conformers=3, masking={"none": 1.0, "soft": 1.0}
)


@pytest.fixture(scope="module")
def patches(structures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("patches")
    for number in range(2):
        assert make_file(read_manifest(structures, "train")[0], 1, number, SMALL, folder) > 0
    return folder


def lively(seed=1):
    torch.manual_seed(seed)
    network = LocalResolutionNet()
    for p in network.parameters():
        if not p.any():
            torch.nn.init.normal_(p, std=0.02)
    return network.eval()


def inputs(edge, seed=2):
    g = torch.Generator().manual_seed(seed)
    half = (edge // 2,) * 3
    return (
        torch.randn(1, 2, edge, edge, edge, generator=g),
        torch.randn(1, CHANNELS, *half, generator=g) * 0.3,
        torch.randn(1, CONTEXT, generator=g) * 0.3,
        torch.full((1, 1), 4.0),
    )


def test_space_to_depth_is_undone():
    x = torch.arange(4 * 6 * 8.0).reshape(1, 1, 4, 6, 8)
    assert torch.equal(depth_to_space(space_to_depth(x)), x)


@torch.no_grad()
def test_nothing_beyond_the_halo_changes_an_answer():
    network, (fields, bands, context, level) = lively(), inputs(2 * HALO + 16)
    inner, half = slice(HALO, HALO + 16), slice(HALO // 2, HALO // 2 + 8)
    _, relative, mask = network(fields, bands, context, level)
    noisy, coarse = torch.randn_like(fields), torch.randn_like(bands)
    view, seen = slice(0, None), slice(0, None)
    cut = (slice(4, -4),) * 3
    noisy[(..., *cut)] = fields[(..., *cut)]
    coarse[(..., *(slice(2, -2),) * 3)] = bands[(..., *(slice(2, -2),) * 3)]
    _, other, others = network(noisy[:, view], coarse[:, seen], context, level)
    assert_allclose(other[(..., half, half, half)], relative[(..., half, half, half)], atol=1e-5)
    assert_allclose(others[(..., inner, inner, inner)], mask[(..., inner, inner, inner)], atol=1e-5)


@torch.no_grad()
def test_the_density_does_not_reach_the_resolution():
    network, (fields, bands, context, level) = lively(), inputs(16)
    _, relative, mask = network(fields, bands, context, level)
    fields[:, 0] *= 3
    _, other, others = network(fields, bands, context, level)
    assert torch.equal(relative, other)
    assert not torch.equal(mask, others)


@torch.no_grad()
def test_an_untrained_network_answers_the_physical_estimate():
    fields, bands, context, level = inputs(16)
    overall, relative, _ = LocalResolutionNet()(fields, bands, context, level)
    assert_allclose(overall + relative[:, 0], level * torch.exp(bands[:, -1]), rtol=1e-5)


@pytest.mark.parametrize("name", RECIPES)
def test_a_perfect_answer_has_the_lowest_loss(name):
    g = torch.Generator().manual_seed(3)
    truth = 3 + torch.rand(2, 8, 8, 8, generator=g)
    mask = (torch.rand(2, 16, 16, 16, generator=g) > 0.5).float()
    batch = {"local": truth, "inside": torch.ones(2, 8, 8, 8), "overall": torch.full((2,), 3.0), "mask": mask}
    perfect = (torch.full((2, 1), 3.0), (truth - 3)[:, None], 20 * (mask[:, None] * 2 - 1))
    best = RECIPES[name].loss(perfect, batch)
    assert best < 1e-3
    for n, change in enumerate((0.3, 0.3, -20.0)):
        worse = list(perfect)
        worse[n] = worse[n] + change
        assert RECIPES[name].loss(tuple(worse), batch) > best


def test_a_patch_without_molecule_adds_nothing():
    values, inside = torch.ones(2, 4, 4, 4), torch.zeros(2, 4, 4, 4)
    inside[0, 0] = 1
    assert losses.in_mask_mean(values, inside) == 1
    assert losses.in_mask_mean(values, inside * 0) == 0


def test_turning_a_record_keeps_truth_and_density_together():
    values = np.random.default_rng(4).random((8, 8, 8)).astype(np.float32)
    record = {"fields": np.stack([values, values]), "local": values, "level": np.float32(3)}
    for seed in range(4):
        turned = turn(record, np.random.default_rng(seed))
        assert torch.equal(turned["fields"][0], turned["local"])
        assert turned["level"].ndim == 0
        assert_allclose(turned["local"].sum(), values.sum(), rtol=1e-5)


def test_a_file_of_patches_depends_on_seed_and_number_alone(patches, structures, tmp_path):
    make_file(read_manifest(structures, "train")[0], 1, 1, SMALL, tmp_path)
    with np.load(tmp_path / "000001.npz") as here, np.load(patches / "000001.npz") as there:
        assert set(here.files) == set(there.files)
        for key in here.files:
            assert (here[key] == there[key]).all()
        assert np.isfinite(here["fields"]).all()
        assert np.isfinite(here["bands"]).all()


def test_patches_are_the_same_for_the_same_seed_and_go_on_where_they_stopped(patches):
    def first(count, **more):
        stream = iter(Patches(patches, 5, **more))
        return [next(stream)["fields"] for _ in range(count)]

    whole = first(5)
    assert all(torch.equal(a, b) for a, b in zip(whole, first(5), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(whole[3:], first(2, start=3), strict=True))


def test_a_file_without_patches_is_passed_over(patches, tmp_path):
    for path in patches.glob("*.npz"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with (tmp_path / "000009.npz").open("wb") as file:
        np.savez(file)
    assert written(tmp_path) == [tmp_path / "000000.npz", tmp_path / "000001.npz"]


def test_a_stopped_run_goes_on_exactly(patches, tmp_path):
    def go(out, stops):
        for steps in stops:
            train(
                argparse.Namespace(
                    data=patches,
                    validation=patches,
                    out=out,
                    recipe="cryores",
                    steps=steps,
                    batch=1,
                    seed=1,
                    every=1,
                    loaders=0,
                    device="cpu",
                )
            )
        return torch.load(out / "checkpoint.pt", weights_only=True)["network"]

    whole, parts = go(tmp_path / "whole", [2]), go(tmp_path / "parts", [1, 2])
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    with (tmp_path / "whole" / "log.csv").open() as log:
        assert [row["step"] for row in csv.DictReader(log)] == ["1", "2"]
    LocalResolutionNet().load_state_dict(load_file(tmp_path / "whole" / "weights.safetensors"))


def test_scores_agree_with_the_bench_program(shared, tmp_path):
    import importlib.util

    import mrcfile

    spec = importlib.util.spec_from_file_location("bench_score", shared / "bench" / "score.py")
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    case = shared / "bench" / "d3"
    truth, mask = bench.read(case / "truth.mrc.gz"), bench.read(case / "mask.mrc.gz") > 0
    rng = np.random.default_rng(6)
    found = (truth * rng.uniform(0.8, 1.3, truth.shape) * (rng.random(truth.shape) > 0.1)).astype(np.float32)
    with mrcfile.new(tmp_path / "found.mrc") as file:
        file.set_data(found)
    theirs = bench.score(case, tmp_path / "found.mrc")
    limit = json.loads((case / "case.json").read_text()).get("visible_limit_A") or 0.0
    ours = score(found, np.where(mask, truth, 0), found > 0, limit)
    names = {
        **{k: k for k in ("relative_rmse", "rmse", "mae", "bias", "coverage", "level")},
        "r": "pearson_r",
        "pattern": "pattern_relative_rmse",
        "constant": "constant_relative_rmse",
    }
    for mine, its in names.items():
        assert_allclose(getattr(ours, mine), theirs[its], rtol=1e-4, atol=1e-6)
