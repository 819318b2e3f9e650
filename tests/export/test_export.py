"""The exported file gives the output of torch and holds its contract; a file with another output is not written."""

import json
from pathlib import Path

import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file

from cryores_lite import Model
from cryores_lite.errors import ModelError
from export import export as exporting
from training.network import HALO, LocalResolutionNet

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.filterwarnings("default")  # from torch's exporter


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(1)
    network = LocalResolutionNet()
    for p in network.parameters():
        if not p.any():
            torch.nn.init.normal_(p, std=0.05)
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_file(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def exported(weights, tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "model.onnx"
    return out, exporting.export(weights, out, "test", "7")


def test_torch_and_onnxruntime_agree(exported):
    _, (angstrom, probability) = exported
    assert 0 < angstrom <= 1e-3
    assert probability <= 1e-4


def test_the_contract_is_in_the_file(exported):
    model = Model.open(exported[0], device="cpu", threads=1)
    assert (model.spec.name, model.spec.version, model.spec.halo) == ("test", "7", HALO)


def test_a_broken_contract_is_refused(exported, tmp_path):
    model = onnx.load(exported[0])
    contract = json.loads(next(p.value for p in model.metadata_props if p.key == "contract"))
    for name, change in (("old", {"conditioning": 0}), ("other", {"channels": 3})):
        onnx.helper.set_model_props(model, {"contract": json.dumps({**contract, **change})})
        onnx.save(model, tmp_path / f"{name}.onnx")
        with pytest.raises(ModelError, match="another version"):
            Model.open(tmp_path / f"{name}.onnx", device="cpu", threads=1)
    onnx.helper.set_model_props(model, {})
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(ModelError, match="contract"):
        Model.open(tmp_path / "bare.onnx", device="cpu", threads=1)


@pytest.mark.parametrize("head", ["resolution", "mask"])
def test_nothing_is_written_when_torch_and_onnxruntime_differ(weights, tmp_path, head):
    """NaN counts as a difference."""
    broken = load_file(weights)
    broken[f"{head}.head.bias"][0] = float("nan")
    save_file(broken, tmp_path / "broken.safetensors")
    with pytest.raises(SystemExit, match="differ"):
        exporting.export(tmp_path / "broken.safetensors", tmp_path / "model.onnx", "test", "7")
    assert [path.name for path in tmp_path.iterdir()] == ["broken.safetensors"]


def test_the_shipped_model_was_exported_from_the_shipped_weights():
    import hashlib

    spec = Model.open(ROOT / "models" / "cryores_v6.onnx", device="cpu", threads=1).spec
    weights = ROOT / "training" / "weights" / "v6.safetensors"
    if not weights.exists():
        pytest.skip("the source distribution has no weights")
    assert spec.training == hashlib.sha256(weights.read_bytes()).hexdigest()


def test_the_shipped_model_contains_no_paths_of_source_files():
    model = onnx.load(ROOT / "models" / "cryores_v6.onnx")
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert ".py" not in str(model.metadata_props)
