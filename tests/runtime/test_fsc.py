"""Two half maps: where theory puts the crossing, what must not move it, what is refused, what the command writes."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import fft, ndimage

from cryores_lite import fsc
from cryores_lite.copies import ALIKE, SAME, likeness
from cryores_lite.errors import InputError
from cryores_lite.fsc import local_fsc
from cryores_lite.halves import mate, suggestion, whole_stem
from cryores_lite.mrc import read_map
from cryores_lite.statistical import estimate_by_noise
from cryores_lite.steps.correlation import FSC_CUT, bands, between, crossing, fixed, one_bit
from cryores_lite.steps.shells import shell_fsc, soft_edge
from cryores_lite.steps.spectrum import transform, window
from cryores_lite.types import Density, Grid

N, V = 64, 2.0
GRID = Grid((N, N, N), (V, V, V))
PARTS = ("half_maps", "fsc", "comparison")


def wave_numbers():
    k = np.fft.fftfreq(N, V)
    return np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + np.fft.rfftfreq(N, V) ** 2)


def filtered(values, gain):
    return fft.irfftn(fft.rfftn(values) * gain, s=values.shape).astype(np.float32)


def white(seed):
    return np.random.default_rng(seed).standard_normal((N, N, N)).astype(np.float32)


def halves(fall, seed=0, strength=1.0):
    """White noise of power 1 and a signal whose power falls as `fall` of |k|, everywhere the same."""
    signal = strength * filtered(white(seed), np.sqrt(fall(wave_numbers())))
    return [Density(signal + white(seed + n), GRID) for n in (1, 2)]


def around(resolution):
    """Signal over noise that crosses 0.143, at which S/N = 1/6, at so many Å."""
    return lambda k: np.exp(4 * (1 - k * resolution)) / 6


def inside(values, edge=12):
    return values[edge:-edge, edge:-edge, edge:-edge]


@pytest.fixture(scope="module")
def pair():
    return halves(around(8.0))


@pytest.fixture(scope="module")
def molecule():
    """A ball of lumps under fresh noise in each half; finer in one half of the ball than in the other."""
    place = np.indices((N, N, N)) - N / 2
    ball = ndimage.gaussian_filter((np.square(place).sum(0) < 20**2).astype(np.float32), 1)
    lumps = [filtered(white(9), np.exp(-((wave_numbers() * d) ** 2))) for d in (12.0, 24.0)]
    signal = ball * np.where(place[2] > 0, *(6 * v / v.std() for v in lumps)) + 6 * ball
    return [Density((signal + 4 * white(n)).astype(np.float32), GRID) for n in (1, 2)]


@pytest.mark.parametrize("resolution", [6.0, 8.0, 12.0])
def test_the_fsc_crosses_where_theory_says(resolution):
    found = local_fsc(*halves(around(resolution))).values
    assert np.median(inside(found)) == pytest.approx(resolution, rel=0.07)


def test_a_higher_threshold_is_crossed_where_theory_says():
    first, second = halves(around(6.0))
    expected = 6.0 / (1 - np.log(6) / 4)  # S/N = 1
    found = local_fsc(first, second, threshold=fixed(0.5)).values
    assert np.median(inside(found)) == pytest.approx(expected, rel=0.06)
    between = np.median(inside(local_fsc(first, second, threshold=one_bit).values))
    assert 6.0 < between < expected


def test_the_one_bit_curve_ends_at_half_a_bit_less_than_noise_free():
    assert one_bit(0.1, 1e6) == pytest.approx(1 / 3, abs=0.001)  # S/N 0.5 in one half: 1 bit in both
    assert one_bit(0.1, 15.0) > one_bit(0.1, 30.0) > 1 / 3


def test_a_wide_window_calms_and_a_narrow_one_does_not(pair):
    narrow, wide = (np.log(inside(local_fsc(*pair, sigma=s).values)).std() for s in (8.0, 24.0))
    assert wide < 0.6 * narrow


def test_scale_offset_and_a_common_filter_change_nothing(pair):
    before = inside(local_fsc(*pair).values)
    gain = np.exp(-40 * wave_numbers() ** 2) + 0.02
    scaled = [replace(half, values=1e4 * half.values + 7) for half in pair]
    alone = [pair[0], replace(pair[1], values=3 * pair[1].values)]
    for changed, error in ((scaled, 1e-3), (alone, 1e-3)):
        assert_allclose(inside(local_fsc(*changed).values), before, rtol=error)
    smoothed = [replace(half, values=filtered(half.values, gain)) for half in pair]
    assert np.median(np.abs(np.log(inside(local_fsc(*smoothed).values) / before))) < 0.03


def test_the_halves_may_be_swapped(pair):
    assert_allclose(local_fsc(*pair).values, local_fsc(*pair[::-1]).values, rtol=1e-4)


def test_it_agrees_with_direct_windowed_correlation(molecule):
    """One window at one place: Gaussian weights on filtered whole maps, real-space correlation, nothing coarse."""
    found = local_fsc(*molecule)
    k, place = wave_numbers(), np.indices((N, N, N))
    for centre in ((32, 32, 44), (32, 32, 20), (40, 28, 36)):
        curve = []
        for f in found.frequencies:
            band = np.exp(-0.5 * ((k - f) / (0.15 / 2.3548 * f)) ** 2)
            a, b = (filtered(half.values, band) for half in molecule)
            away = sum((V * (p - c)) ** 2 for p, c in zip(place, centre, strict=True))
            weight = np.exp(-0.5 * away / max(1.5 / f, 4.0) ** 2)
            cross, powers = (weight * a * b).sum(), ((weight * a**2).sum(), (weight * b**2).sum())
            curve.append(max(cross, 0) / np.sqrt(np.prod(powers)))
        theirs = crossing(np.array(curve)[:, None], found.frequencies)[0]
        assert found.values[centre] == pytest.approx(theirs, rel=0.12)


def test_the_finer_side_comes_out_finer(molecule):
    values = local_fsc(*molecule).values
    assert np.median(values[26:38, 26:38, 40:48]) < 0.8 * np.median(values[26:38, 26:38, 16:24])


def test_the_last_band_is_the_nyquist_frequency():
    for nyquist in (0.1, 0.31, 1 / 3, 1.0):
        assert bands(nyquist)[-1] == pytest.approx(nyquist)
        assert (np.diff(np.log(bands(nyquist, 1.12))) <= np.log(1.12) + 1e-12).all()


def test_a_curve_that_never_falls_ends_at_nyquist_and_one_that_never_rises_at_the_first_band():
    frequencies = bands(0.25)
    high, low = np.full((len(frequencies), 1), 0.9), np.zeros((len(frequencies), 1))
    assert crossing(high, frequencies)[0] == pytest.approx(4.0)
    assert crossing(low, frequencies)[0] == pytest.approx(45.0)


def test_between_bands_a_curve_is_linear_in_log_f():
    measured, fine = bands(0.25, 1.12), bands(0.25)
    curves = np.stack([0.3 + 0.2 * np.log(measured), np.ones(len(measured))], -1).astype(np.float32)
    expected = np.stack([0.3 + 0.2 * np.log(fine), np.ones(len(fine))], -1)
    assert_allclose(between(curves, measured, fine), expected, atol=1e-6)


def test_a_dip_of_two_bands_is_no_crossing():
    frequencies = bands(0.25)
    curve = np.where(np.arange(len(frequencies)) < 30, 0.9, 0.0)[:, None]
    dipped = curve.copy()
    dipped[10:12] = 0
    assert crossing(dipped, frequencies) == crossing(curve, frequencies)


def copies(half):
    k = wave_numbers()
    ball = np.square(np.indices((N, N, N)) - N / 2).sum(0) < 24**2
    return {
        "the same": half,
        "scaled": 3 * half + 1,
        "masked": half * ball,
        "softly masked": half * ndimage.gaussian_filter(ball.astype(np.float32), 2),
        "low-passed": filtered(half, k < 0.12),
        "blurred": filtered(half, np.exp(-30 * k**2)),
        "rounded": np.round(half).astype(np.float32),
    }


@pytest.mark.parametrize("how", copies(white(0)))
def test_copies_of_one_map_are_refused(how, molecule):
    copy = copies(molecule[0].values)[how]
    assert likeness(molecule[0].values, copy) > SAME
    with pytest.raises(InputError, match="no half maps"):
        local_fsc(molecule[0], replace(molecule[0], values=copy))


def test_noise_free_halves_are_refused(molecule):
    signal = filtered(molecule[0].values, np.exp(-80 * wave_numbers() ** 2))
    with pytest.raises(InputError, match="no half maps"):
        local_fsc(*(replace(molecule[0], values=signal.copy()) for _ in "12"))


def test_true_halves_differ_and_a_half_differs_less_from_the_whole(molecule):
    first, second = (half.values for half in molecule)
    assert likeness(first, second) < ALIKE / 2
    assert ALIKE < likeness(first, (first + second) / 2) < SAME


def test_halves_on_two_grids_are_refused(molecule):
    moved = replace(molecule[1], grid=Grid(GRID.shape, (2.1, 2.1, 2.1)))
    with pytest.raises(InputError, match="do not match"):
        local_fsc(molecule[0], moved)


@pytest.mark.parametrize(
    "mask", [np.ones((N, N)), np.ones((N, N, N - 1)), np.zeros((N, N, N)), np.full((N, N, N), 2.0)]
)
def test_what_is_no_mask_of_the_half_maps_is_refused(molecule, mask):
    with pytest.raises(InputError, match="no mask"):
        local_fsc(*molecule, mask=mask)


def test_a_mask_with_holes_in_its_numbers_is_refused(molecule):
    with pytest.raises(InputError, match="nan"):
        local_fsc(*molecule, mask=np.where(np.indices((N, N, N))[0] > 3, 1, np.nan))


def blobs():
    """Halves that share nothing finer than 20 Å, on a high level, and a hard mask that cuts through them."""
    signal = 60 * filtered(white(3), wave_numbers() < 1 / 20) + 30
    mask = (np.square(np.indices((N, N, N)) - N / 2).sum(0) < 14**2).astype(np.float32)
    return [(signal + white(n)).astype(np.float32) for n in (1, 2)], mask


def test_the_correction_takes_off_what_a_hard_mask_adds():
    (first, second), mask = blobs()
    found = shell_fsc(first, second, GRID.voxel_size, mask)
    fine = slice(int(np.searchsorted(found.frequencies, 1 / 12)), None)
    assert found.masked[fine].mean() > 0.3
    assert np.abs(found.unmasked[fine]).mean() < 0.05
    assert np.abs(found.corrected[fine]).mean() < 0.15
    assert abs(found.corrected[fine].mean()) < 0.08


def test_local_noise_substitution_takes_off_what_a_hard_mask_adds():
    values, mask = blobs()
    corrected = local_fsc(*(Density(half, GRID) for half in values), mask=mask)
    band = int(np.searchsorted(corrected.frequencies, 1 / 10))
    f = corrected.frequencies[band]
    masked = [transform(half * mask, GRID.voxel_size) for half in values]
    spoilt = fsc.band_fsc(masked, f, window(f), corrected.fsc.shape[1:])
    assert np.median(spoilt) > 0.4  # of nothing but noise
    assert np.median(corrected.fsc[band]) < 0.6 * np.median(spoilt)


def test_a_soft_mask_changes_no_clean_curve(molecule):
    values = [half.values for half in molecule]
    mask = soft_edge(np.square(np.indices((N, N, N)) - N / 2).sum(0) < 24**2, GRID.voxel_size)
    found = shell_fsc(*values, GRID.voxel_size, mask)
    assert_allclose(found.corrected, found.masked, atol=0.2)
    assert found.resolution() == pytest.approx(
        float(crossing(found.masked[:, None], found.frequencies, FSC_CUT)[0]), rel=0.1
    )


def test_names_of_half_maps_are_understood():
    for half, other, whole in (
        ("other/emd_1234_half_map_1.map.gz", "other/emd_1234_half_map_2.map.gz", "emd_1234"),
        ("half1/run_half1_class001_unfil.mrc", "half1/run_half2_class001_unfil.mrc", "run_class001"),
        ("J2_map_half_A.mrc", "J2_map_half_B.mrc", "J2_map"),
        ("half2.mrc", "half1.mrc", "half2"),
    ):
        assert mate(Path(half)) == Path(other)
        assert whole_stem(Path(half)) == whole
    assert mate(Path("half1/run_class001.mrc")) is None


def test_half_maps_that_were_asked_for_are_no_mistake(files, tmp_path):
    for words in (("--half-maps", *files[1:]), (files[1], "--half-maps", *files[1:])):
        (row,) = map(json.loads, run(*words, "--json", "--overwrite", "-o", tmp_path).stdout.splitlines())
        assert not any("half map" in said for said in row["warnings"])
    (row,) = map(json.loads, run(files[1], "--json", "--overwrite", "-o", tmp_path).stdout.splitlines())
    assert any("half map" in said for said in row["warnings"])


def test_what_half_maps_hold_is_looked_at_still(files, tmp_path):
    dark = [save(tmp_path / path.name, -mrcfile.read(path)) for path in files[1:]]
    row = json.loads(run("--half-maps", *dark, "--json").stdout)
    assert any("inverted" in said for said in row["warnings"])


def test_half_maps_that_share_nothing_are_told_of(files, tmp_path):
    other = save(tmp_path / "other.mrc", -mrcfile.read(files[2]))
    row = json.loads(run(files[0], "--half-maps", files[1], other, "--json", "-o", tmp_path).stdout)
    assert any("nothing in common" in said for said in row["warnings"])


def test_an_average_of_unequal_half_maps_is_told_of_and_a_map_beside_them_is_not(files, tmp_path):
    other = save(tmp_path / "other.mrc", 20 * mrcfile.read(files[2]))
    for words, expected in (((), True), ((files[0],), False)):
        words = (*words, "--half-maps", files[1], other, "--json", "--overwrite", "-o", tmp_path)
        row = json.loads(run(*words).stdout)
        assert any("factor of 20" in said for said in row["warnings"]) == expected
        assert not any("nothing in common" in said for said in row["warnings"])


def test_half_maps_and_the_method_are_part_of_the_record(files, tmp_path):
    copies = [Path(shutil.copy(path, tmp_path)) for path in files[1:]]
    words = ("--half-maps", *copies, "--table", tmp_path / "all.jsonl", "-o", tmp_path / "out", "--json")

    def kept(*more):
        finished = run(*words, *more)
        assert finished.returncode == 0, finished.stderr
        (row,) = map(json.loads, (tmp_path / "all.jsonl").read_text().splitlines())
        return row["kept"]

    assert [kept(), kept()] == [False, True]
    with_noise = mrcfile.read(copies[1]) + white(20)
    copies[1].unlink()
    save(copies[1], with_noise)
    assert [kept(), kept()] == [False, True]
    statistical = ("--method", "statistical", "--model", tmp_path / "none.onnx")
    assert [kept(*statistical), kept(*statistical), kept()] == [False, True, False]


def test_half_maps_beside_a_map_are_suggested(tmp_path):
    (tmp_path / "map").mkdir()
    (tmp_path / "other").mkdir()
    map_path = tmp_path / "map" / "emd_1234.map.gz"
    assert suggestion(map_path) is None
    (tmp_path / "other" / "emd_1234_half_map_1.map.gz").touch()
    assert suggestion(map_path) is None
    (tmp_path / "other" / "emd_1234_half_map_2.map.gz").touch()
    assert "--half-maps" in suggestion(map_path)
    assert suggestion(tmp_path / "map" / "emd_999.map.gz") is None


def test_the_noise_of_visible_solvent_tells_the_resolution(molecule):
    mean = replace(molecule[0], values=(molecule[0].values + molecule[1].values) / 2)
    found, true = estimate_by_noise(mean), local_fsc(*molecule).values
    assert np.isnan(found.uncertainty).all()
    assert found.provider == "numpy"
    assert ((found.values > 0) == found.mask).all()
    assert np.median(found.values[found.mask] / true[found.mask]) == pytest.approx(1, abs=0.25)


def test_without_solvent_there_is_no_statistical_answer(molecule):
    soft = soft_edge(np.square(np.indices((N, N, N)) - N / 2).sum(0) < 21**2, GRID.voxel_size)
    with pytest.raises(InputError, match="ring of solvent"):
        estimate_by_noise(replace(molecule[0], values=molecule[0].values * soft))


def run(*words):
    command = [sys.executable, "-c", "from cryores_lite.cli import main; main()", "-j", "1", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def save(path, values, size=V, origin=(0, 0, 0)):
    with mrcfile.new(path) as mrc:
        mrc.set_data(values.astype(np.float32))
        mrc.voxel_size, mrc.header.origin = size, origin
    return path


@pytest.fixture(scope="module")
def files(molecule, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    first, second = (half.values for half in molecule)
    return [
        save(folder / name, values)
        for name, values in (("m.mrc", (first + second) / 2), ("m_half1.mrc", first), ("m_half2.mrc", second))
    ]


def test_the_command_compares_a_map_with_its_half_maps(files, tmp_path):
    finished = run(files[0], "--half-maps", *files[1:], "--json", "--report", "-o", tmp_path)
    assert finished.returncode == 0, finished.stderr
    row = json.loads(finished.stdout)
    ours, theirs, apart, mask = (
        read_map(row["files"][what]).density.values for what in ("locres", "locres_fsc", "difference", "mask")
    )
    inside = mask > 0
    assert (theirs[~inside] == 0).all()
    assert (apart[~inside] == 0).all()
    assert_allclose(apart[inside], (ours - theirs)[inside], atol=1e-5)
    told = row["comparison"]
    assert told["rmse"] == pytest.approx(np.sqrt(np.mean(apart[inside] ** 2)), rel=1e-4)
    assert told["r"] == pytest.approx(np.corrcoef(ours[inside], theirs[inside])[0, 1], abs=1e-4)
    assert told["median_fsc"] == pytest.approx(np.median(theirs[inside]), rel=1e-4)
    assert sum(map(sum, told["counts"])) == inside.sum()
    curves = [row["fsc"][name] for name in ("frequencies", "unmasked", "masked", "randomised", "corrected")]
    assert len({len(curve) for curve in curves}) == 1
    assert row["half_maps"] == [str(path) for path in files[1:]]
    page = Path(row["files"]["report"]).read_text("utf-8")
    assert "Beside the half maps" in page
    assert page.count("<svg") >= 4
    assert f"{row['fsc']['resolution']:.2f} Å at 0.143" in page


def test_a_row_with_half_maps_is_what_the_schema_promises(files, tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((Path(fsc.__file__).parent / "schema.json").read_text("utf-8"))
    valid = jsonschema.Draft202012Validator(schema)
    for words in (("--half-maps", *files[1:]), (files[0], "--method", "statistical")):
        row = json.loads(run(*words, "--json", "--overwrite", "-o", tmp_path).stdout)
        assert row["outcome"] == "done"
        valid.validate(row)


def test_without_a_map_the_average_of_the_half_maps_is_the_map(files, tmp_path):
    row = json.loads(run("--half-maps", *files[1:], "--json", "-o", tmp_path, "--chimerax").stdout)
    assert row["files"]["locres"] == str(tmp_path / "m_locres.mrc")
    mean = read_map(row["files"]["average"]).density.values
    first, second = (read_map(path).density.values for path in files[1:])
    assert_allclose(mean, (first + second) / 2, atol=1e-5)
    assert "m_average.mrc" in Path(row["files"]["chimerax"]).read_text("utf-8")


def test_a_map_alone_has_no_half_maps_but_is_told_of_them(files, tmp_path):
    finished = run(files[0], "--json", "-o", tmp_path)
    row = json.loads(finished.stdout)
    assert [row[part] for part in PARTS] == [None] * 3
    assert row["files"]["locres_fsc"] is None
    assert any("--half-maps" in said for said in row["warnings"])


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"size": 2.1}, "2.1"),
        ({"origin": (10, 0, 0)}, "origin"),
        ({"crop": 2}, "62 x 62 x 62"),
        ({"same": True}, "copies"),
    ],
)
def test_half_maps_that_do_not_fit_are_refused(files, tmp_path, change, word):
    values = mrcfile.read(files[1 if change.pop("same", False) else 2])
    crop = change.pop("crop", 0)
    other = save(tmp_path / "other.mrc", values[: N - crop, : N - crop, : N - crop], **change)
    finished = run(files[0], "--half-maps", files[1], other, "-o", tmp_path / "out")
    assert (finished.returncode, finished.stdout) == (1, "")
    (line,) = finished.stderr.splitlines()
    assert word in line
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


def test_a_map_beside_half_maps_of_another_is_refused(files, tmp_path):
    other = save(tmp_path / "other.mrc", mrcfile.read(files[0]), size=2.2)
    finished = run(other, "--half-maps", *files[1:], "-o", tmp_path / "out")
    assert finished.returncode == 1
    assert "not on the grid" in finished.stderr


def test_wrong_words_are_usage_errors(files):
    for words in (
        (files[0], files[1], "--half-maps", *files[1:]),
        (files[0], "--method", "statistical", "--uncertainty"),
        (files[0], "--method", "guess"),
        ("--maps-from", files[0], "--half-maps", *files[1:]),
        (files[0], "--maps-from", files[0], "--half-maps", *files[1:]),
    ):
        finished = run(*words)
        assert (finished.returncode, finished.stdout) == (2, "")
        assert "Usage:" in finished.stderr


def test_the_statistical_method_opens_no_network(files, tmp_path):
    finished = run(
        files[0],
        "--method",
        "statistical",
        "--model",
        tmp_path / "none.onnx",
        "--json",
        "--report",
        "--png",
        "-o",
        tmp_path,
    )
    row = json.loads(finished.stdout)
    assert (row["outcome"], row["method"], row["provider"]) == ("done", "statistical", "numpy")
    assert row["median_uncertainty"] is row["global_resolution"] is row["model"]["name"] is None
    assert np.isfinite(mrcfile.read(row["files"]["locres"])).all()


def test_the_bench_is_met(shared):
    errors, correlations = [], []
    for case in ("d1", "d2", "d3", "d4"):
        first, second, truth = (
            read_map(shared / "bench" / case / f"{name}.mrc.gz").density for name in ("half1", "half2", "truth")
        )
        inside = truth.values > 0
        found, true = local_fsc(first, second).values[inside], truth.values[inside]
        errors.append(np.sqrt(np.mean((found - true) ** 2)) / np.median(true))
        correlations.append(np.corrcoef(found, true)[0, 1])
    assert np.mean(errors) < 0.06
    assert min(correlations) > 0.96
