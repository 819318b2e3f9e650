"""The maps of the benchmark are filled as their tables say."""

import numpy as np
import pytest

from benchmarks.maps import BALL, COSTLY_KINDS, depth

EDGE = 96


@pytest.mark.parametrize("kind", [BALL, *(kind for kind, _, _ in COSTLY_KINDS.values())])
@pytest.mark.parametrize("filling", [0.15, 0.25])
def test_the_molecule_fills_its_share_of_the_box(kind, filling):
    inside = np.stack([np.broadcast_to(depth(kind, EDGE, filling, z) > 0, (EDGE, EDGE)) for z in range(EDGE)])
    assert inside.mean() == pytest.approx(filling, rel=0.02)
