"""Half maps are recognised by their names."""

from pathlib import Path

from cryores_lite.io.half_map_names import full_map_stem, half_maps_hint, other_half_path


def test_half_maps_are_recognised_by_their_names():
    for half, other, stem in (
        ("other/emd_1234_half_map_1.map.gz", "other/emd_1234_half_map_2.map.gz", "emd_1234"),
        ("half1/run_half1_class001_unfil.mrc", "half1/run_half2_class001_unfil.mrc", "run_class001"),
        ("J2_map_half_A.mrc", "J2_map_half_B.mrc", "J2_map"),
        ("half2.mrc", "half1.mrc", "half2"),
    ):
        assert other_half_path(Path(half)) == Path(other)
        assert full_map_stem(Path(half)) == stem
    assert other_half_path(Path("half1/run_class001.mrc")) is None


def test_half_maps_in_the_folder_of_a_map_are_suggested(tmp_path):
    (tmp_path / "map").mkdir()
    (tmp_path / "other").mkdir()
    map_path = tmp_path / "map" / "emd_1234.map.gz"
    assert half_maps_hint(map_path) is None
    (tmp_path / "other" / "emd_1234_half_map_1.map.gz").touch()
    assert half_maps_hint(map_path) is None
    (tmp_path / "other" / "emd_1234_half_map_2.map.gz").touch()
    assert "--half-maps" in half_maps_hint(map_path)
    assert half_maps_hint(tmp_path / "map" / "emd_999.map.gz") is None
