"""Tiles: their cores cover the mask once, and joining them restores the field."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from cryores_lite.fourier.interpolation import resample_periodic
from cryores_lite.method.tiles import ALIGN, coarser, cover, depth_to_space, join


@settings(max_examples=40, deadline=None)
@given(st.tuples(*(st.integers(1, 12),) * 3), st.sampled_from([(40, 8), (48, 16), (24, 8)]), st.integers(0, 99))
def test_cores_share_no_voxel_and_cover_the_mask(eighth, size, seed):
    shape = tuple(8 * n for n in eighth)
    edge, halo = size
    rng = np.random.default_rng(seed)
    values, mask = rng.random(shape).astype(np.float32), rng.random((5, 7, 4)) < rng.uniform(0, 0.2)
    tiles = cover(mask, shape, halo, edge**3)
    count = np.zeros(shape, int)
    for tile in tiles:
        count[tile.core] += 1
        assert np.prod([v.stop - v.start for v in tile.view]) <= edge**3
        assert all(s.start % ALIGN == 0 and s.stop % ALIGN == 0 for s in (*tile.view, *tile.core))
        for c, v, n in zip(tile.core, tile.view, shape, strict=True):
            assert c.start - v.start >= halo or v.start == 0
            assert v.stop - c.stop >= halo or v.stop == n
    assert count.max() <= 1
    fine_mask = resample_periodic(mask.astype(np.float32).repeat(2, 0).repeat(2, 1).repeat(2, 2), shape) == 1
    assert count[fine_mask].all()
    joined = join(((t.core, values[t.view][t.inner()]) for t in tiles), shape, np.float32)
    assert_array_equal(joined, values * count)
    quarter = values[::4, ::4, ::4]
    parts = ((coarser(t.core, 4), quarter[coarser(t.view, 4)][t.inner(4)]) for t in tiles)
    assert_array_equal(join(parts, quarter.shape, np.float32), quarter * count[::4, ::4, ::4])


def test_a_tile_is_no_larger_than_its_part_of_the_mask():
    mask = np.zeros((10, 10, 10), bool)
    assert cover(mask, (80, 80, 80), 8, 48**3) == []
    mask[9, 9, 9] = True
    (tile,) = cover(mask, (80, 80, 80), 8, 48**3)
    assert tile.core == (slice(72, 80),) * 3
    assert tile.view == (slice(64, 80),) * 3
    assert len(cover(np.ones((10, 10, 10), bool), (80, 80, 80), 8, 80**3)) == 1


def test_depth_to_space_puts_the_parts_of_a_voxel_side_by_side():
    values = np.arange(8 * 4 * 12).reshape(8, 4, 12)
    parts = np.stack([values[z::4, y::4, x::4] for z, y, x in np.ndindex(4, 4, 4)])
    assert_array_equal(depth_to_space(parts), values)
