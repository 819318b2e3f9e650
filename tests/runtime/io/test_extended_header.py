"""Headers that announce an extended header that is missing: a complete map is read, a truncated one is refused."""

import bz2
import gzip

import numpy as np
import pytest

from cryores_lite.errors import InputError
from cryores_lite.io.mrc import read_map
from tests.runtime.maps import lumps, save

NSYMBT = 92  # bytes from the start of the file
PACK = [bytes, gzip.compress, bz2.compress]


@pytest.mark.parametrize("pack", PACK)
@pytest.mark.parametrize("announced", [80, 1024, 1_000_000, 2**31 - 1])
def test_a_map_without_its_extended_header_is_read_with_a_warning(tmp_path, pack, announced):
    values = lumps((20, 22, 24))
    found = read_map(save(tmp_path / "map.mrc", values, patches=[(NSYMBT, "<i", announced)], pack=pack))
    np.testing.assert_array_equal(found.density.values, values)
    (warning,) = found.warnings
    assert str(announced) in warning
    assert "NSYMBT" in warning


@pytest.mark.parametrize("pack", PACK)
@pytest.mark.parametrize("cut", [1, 79, 81, 500])
def test_a_map_that_is_short_of_anything_else_is_refused(tmp_path, pack, cut):
    path = save(tmp_path / "map.mrc", lumps((20, 22, 24)), patches=[(NSYMBT, "<i", 80)])
    data = path.read_bytes()
    path.write_bytes(pack(data[:1024] + bytes(80) + data[1024:-cut] if cut != 500 else data[:-500]))
    with pytest.raises(InputError, match="truncated"):
        read_map(path)
