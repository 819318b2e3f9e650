"""One command makes a model from structures, skips finished stages, and refuses the folder of another recipe."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cryores_lite import Model, read_map
from cryores_lite.method.pipeline import estimate_local_resolution
from training.release import read_recipe

ROOT = Path(__file__).resolve().parents[2]
SMOKE = ROOT / "training" / "recipes" / "smoke.json"


def make_release(recipe, structures, work):
    options = [recipe, "--structures", structures, "--work", work, "--workers", "2", "--device", "cpu"]
    return subprocess.run(
        [sys.executable, "-m", "training.release", *map(str, options)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def work(structures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("release")
    finished = make_release(SMOKE, structures, folder)
    assert finished.returncode == 0, finished.stderr
    return folder


def test_the_runtime_opens_the_model_and_estimates_the_example_with_it(work):
    model = Model.open(work / "release" / "smoke_v0.onnx", device="cpu", threads=1)
    density = read_map(ROOT / "examples" / "example_map.mrc").density
    estimate = estimate_local_resolution(density, model, 1, iter)
    assert (
        model.spec.mask_threshold == json.loads((work / "release" / "calibration.json").read_text())["mask_threshold"]
    )
    assert estimate.mask.any()
    assert np.isfinite(estimate.values).all()


def test_the_logs_and_the_structures_are_kept_with_the_model(work):
    for name, column in (("local.csv", "error"), ("level.csv", "median"), ("structures.csv", "structure")):
        with (work / "release" / name).open(newline="") as file:
            assert all(row[column] for row in csv.DictReader(file)), name
    assert {path.name for path in (work / "train").glob("*.npz")} == {"1-000000.npz", "1-000001.npz"}


def test_finished_stages_are_skipped_and_an_unfinished_stage_runs_again(work, structures):
    before = (work / "release" / "weights.safetensors").stat().st_mtime_ns
    (work / "finished" / "export").unlink()
    (work / "release" / "smoke_v0.onnx").unlink()
    again = make_release(SMOKE, structures, work)
    assert again.returncode == 0, again.stderr
    started = [line.split()[2] for line in again.stdout.splitlines() if line.endswith("started")]
    assert started == ["export:"]
    assert (work / "release" / "smoke_v0.onnx").exists()
    assert (work / "release" / "weights.safetensors").stat().st_mtime_ns == before


def test_without_training_of_the_local_network_it_is_the_one_of_the_start(work, structures, tmp_path):
    weights = work / "release" / "weights.safetensors"
    content = {key: value for key, value in json.loads(SMOKE.read_text()).items() if key != "local"}
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({**content, "start": str(weights)}))
    again = tmp_path / "work"
    for name in ("train", "validation", "finished"):
        shutil.copytree(work / name, again / name)
    for stage in ("local", "level", "calibrate", "export"):
        (again / "finished" / stage).unlink()
    made = make_release(recipe, structures, again)
    assert made.returncode == 0, made.stderr
    before, after = load_file(weights), load_file(again / "release" / "weights.safetensors")
    assert all(torch.equal(before[key], after[key]) for key in before if not key.startswith("level."))
    assert any(not torch.equal(before[key], after[key]) for key in before if key.startswith("level."))


def test_the_folder_of_another_recipe_is_refused(work, structures, tmp_path):
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**json.loads(SMOKE.read_text()), "version": "1"}))
    refused = make_release(other, structures, work)
    assert refused.returncode != 0
    assert "other settings" in refused.stderr


@pytest.mark.parametrize("name", ["smoke.json", "from_nothing.json", "v6.json"])
def test_the_recipe_is_complete(name):
    assert read_recipe(SMOKE.with_name(name)).calibration_maps > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 3}, "steps"),
        ({"data": [{"split": "train", "seed": 1, "signals": 1}]}, "both splits"),
        ({"start": "missing.safetensors"}, "does not exist"),
        ({"simulator": {"boxes": 1}}, "boxes"),
        ({"widen_start": True}, "start"),
        ({"local": None}, "start"),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_line(tmp_path, change, message):
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({**json.loads(SMOKE.read_text()), **change}))
    with pytest.raises(SystemExit, match=message) as error:
        read_recipe(path)
    assert "\n" not in str(error.value)
