"""Labels from half maps equal those of the command; unusable files are refused in one line."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cryores_lite.half_maps.comparison import compare
from cryores_lite.half_maps.pair import read_pair
from cryores_lite.io.mrc import read_map
from cryores_lite.types import LocalResolution
from training.data import LEVELS_FOLDER, make_labelled_file, nonempty_files
from training.evaluation.cases import labelled_cases
from training.evaluation.metrics import score
from training.maps.labels import read_known_map, read_labels


@pytest.fixture(scope="module")
def bench(shared):
    return shared / "bench" / "d4"


@pytest.fixture(scope="module")
def row(bench):
    return {"map": "map.mrc.gz", "half1": "half1.mrc.gz", "half2": "half2.mrc.gz", "mask": "mask.mrc.gz"}


@pytest.fixture(scope="module")
def known(bench, row):
    return read_known_map(row, bench)


def test_half_maps_make_labels_near_the_truth(known, bench):
    truth = read_map(bench / "truth.mrc.gz").density.values
    inside = known.mask & (truth > 0)
    scores = score(np.where(inside, known.truth, 0), np.where(inside, truth, 0), inside)
    assert scores.relative_rmse < 0.06
    assert scores.r > 0.96
    assert known.global_resolution == pytest.approx(7.68, rel=0.05)  # of the bench's table


def test_labels_equal_the_comparison_of_the_command_with_the_same_half_maps(known, bench, row):
    pair, mean = read_pair((bench / row["half1"], bench / row["half2"]), None)
    constant = np.where(known.mask, np.float32(8), np.float32(0))
    estimate = LocalResolution(
        values=constant,
        mask=known.mask,
        uncertainty=constant,
        grid=mean.density.grid,
        global_resolution=8.0,
        working_voxel_size=2.0,
        provider="none",
    )
    comparison = compare(pair, estimate)
    assert_array_equal(comparison.values[known.mask], known.truth[known.mask])
    assert comparison.resolution == known.global_resolution


def test_no_label_is_finer_than_the_low_pass_of_the_map(known, bench, row):
    limited = read_known_map({**row, "low_pass": "8.5"}, bench)
    assert_array_equal(limited.truth[known.mask], np.maximum(known.truth[known.mask], np.float32(8.5)))
    assert limited.low_pass_limit == 8.5


def test_maps_with_equal_names_in_two_folders_make_two_files(bench, row, tmp_path):
    (tmp_path / LEVELS_FOLDER).mkdir()
    for folder in ("one", "two"):
        (tmp_path / folder).symlink_to(bench)
        moved = {column: f"{folder}/{name}" for column, name in row.items()}
        assert make_labelled_file(moved, tmp_path, 1, tmp_path) > 0
    assert len(nonempty_files(tmp_path)) == 2


def test_labelled_maps_become_cases_with_the_same_truth(known, bench, row, tmp_path):
    rows = {column: bench / name for column, name in row.items()}
    table = tmp_path / "maps.csv"
    table.write_text(",".join(rows) + "\n" + ",".join(map(str, rows.values())) + "\n")
    (case,) = labelled_cases(table)
    assert_array_equal(case.truth > 0, known.mask)
    assert_array_equal(case.truth[known.mask], known.truth[known.mask])


@pytest.mark.parametrize(
    ("changed", "word"),
    [({"half2": "half1.mrc.gz"}, "copies"), ({"mask": "../d1/mask.mrc.gz"}, "match"), ({"half1": "none.mrc"}, "none")],
)
def test_unusable_files_are_refused_in_one_line_that_names_the_map(bench, row, changed, word):
    with pytest.raises(SystemExit, match=rf"map\.mrc\.gz.*{word}") as error:
        read_known_map({**row, **changed}, bench)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "lines", ["map,half1,half2,mask\n", "map,half1,half2,mask\na,b,,c\n", "map,half1,mask\na,b,c\n"]
)
def test_a_table_without_rows_or_required_values_is_refused(tmp_path, lines):
    table = tmp_path / "maps.csv"
    table.write_text(lines)
    with pytest.raises(SystemExit, match="half1 and half2"):
        read_labels(table)
