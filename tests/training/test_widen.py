"""Weights of version 5 with the inputs of version 6."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cryores_lite.method.band_features import FEATURES, MAX_BANDS
from cryores_lite.method.network_inputs import BANDS, CHANNELS, CONTEXT
from training.level import load_members
from training.network import LevelNet, LocalResolutionNet, Widths
from training.widen import KEPT_FEATURES, widen, widened

WEIGHTS = Path(__file__).resolve().parents[2] / "training" / "weights" / "v5.safetensors"

pytestmark = pytest.mark.skipif(not WEIGHTS.exists(), reason="the source distribution has no weights")


@pytest.fixture(scope="module")
def network():
    network = LocalResolutionNet()
    missing = network.load_state_dict(widened(load_file(WEIGHTS)), strict=False).missing_keys
    assert all(key.startswith("level.") for key in missing)
    return network.eval()


@torch.no_grad()
def test_the_new_inputs_change_nothing_before_training(network):
    generator = torch.Generator().manual_seed(1)
    bands, context = (
        torch.randn(1, CHANNELS, 8, 8, 8, generator=generator),
        torch.randn(1, CONTEXT, generator=generator),
    )
    density = torch.randn(1, 1, 16, 16, 16, generator=generator)

    def fields(bands, context):
        features = network.context(context)
        inputs = torch.cat([bands, bands[:, :BANDS]], 1)
        return network.resolution(inputs, features), network.mask(inputs, features, density)

    expected = fields(bands, context)
    bands[:, 2 * BANDS : 3 * BANDS] += 1
    context[:, 4 * BANDS : 6 * BANDS] += 1
    context[:, -1] += 1
    for before, after in zip(expected, fields(bands, context), strict=True):
        torch.testing.assert_close(after, before)
    bands[:, 0] += 1  # an old input
    assert not torch.allclose(fields(bands, context)[0], expected[0])


@torch.no_grad()
def test_the_first_members_of_the_level_network_give_the_output_of_version_5(tmp_path):
    widen(WEIGHTS, tmp_path / "widened.safetensors")
    network = LevelNet(Widths().level, Widths().level_members).eval()
    load_members(network, tmp_path / "widened.safetensors")
    evidence = torch.randn(2, FEATURES, MAX_BANDS, generator=torch.Generator().manual_seed(2))
    old = [key for key in load_file(WEIGHTS) if key.endswith("stem.weight")]
    first = [member(evidence).median for member in network.readers[: len(old)]]
    evidence[:, len(KEPT_FEATURES) :] += 1
    for before, member in zip(first, network.readers, strict=False):
        torch.testing.assert_close(member(evidence).median, before)
    assert not torch.allclose(network.readers[-1](evidence).median, first[0])


def test_weights_of_other_inputs_are_refused():
    weights = load_file(WEIGHTS)
    with pytest.raises(SystemExit, match="of version 5"):
        widened(widened(weights))
