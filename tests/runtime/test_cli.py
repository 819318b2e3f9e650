"""The installed command on small maps: files, JSON, exit codes, and what is left behind when it fails."""

import contextlib
import gzip
import json
import os
import re
import resource
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from typer.testing import CliRunner

from cryores_lite.cli import app
from cryores_lite.method.network import CUDA, providers
from cryores_lite.outputs.catalogue import KIND, ON_REQUEST, ON_REQUEST_WITH_ATOMS, ON_REQUEST_WITH_HALF_MAPS
from tests.runtime.command import CALL, COMMAND, invoke, one_error, python, rows, run
from tests.runtime.maps import PLACEMENT, lumps, save

FIELDS = {
    *(
        "input",
        "outcome",
        "method",
        "half_maps",
        "fsc",
        "comparison",
        "edited",
        "directions",
        "error",
        "files",
        "global_resolution",
        "median",
        "percentiles",
    ),
    *("histogram", "median_uncertainty", "mask_volume", "methods_text", "deposition"),
    *("voxel_size", "working_voxel_size", "provider", "seconds", "peak_memory_gb", "model", "warnings"),
}


@pytest.fixture(scope="module")
def placed(tmp_path_factory):
    """A map whose header says all that a header can say about a place."""
    axes = {"mapc": 3, "mapr": 1, "maps": 2, "nxstart": -7, "nystart": 5, "nzstart": 11, "origin": (12.5, -3.0, 80.0)}
    return save(tmp_path_factory.mktemp("maps") / "placed.mrc", lumps(), fields=axes)


@pytest.fixture(scope="module")
def batch(placed, tmp_path_factory):
    """Two good maps with two bad ones between them, in one call."""
    folder = tmp_path_factory.mktemp("batch")
    broken = folder / "broken.mrc"
    broken.write_bytes(placed.read_bytes()[:-1000])
    packed = folder / "packed.map.gz"
    packed.write_bytes(gzip.compress(placed.read_bytes()))
    out = folder / "made" / "on the way"
    maps = (placed, broken, folder / "missing.mrc", packed)
    return maps, out, run(*maps, "--json", "--o", out, "--j", 1)


@pytest.mark.slow
def test_maps_after_a_failed_one_are_done(batch):
    maps, _, finished = batch
    assert finished.returncode == 1
    assert [row["outcome"] for row in rows(finished)] == ["done", "failed", "failed", "done"]
    assert [row["input"] for row in rows(finished)] == list(map(str, maps))
    errors = [line for line in finished.stderr.splitlines() if line.startswith("error: ")]
    assert errors == [f"error: {row['error']}" for row in rows(finished) if row["error"]]
    assert "Traceback" not in finished.stderr


def test_the_row_of_every_outcome_has_every_field(batch):
    _, out, finished = batch
    for row in rows(finished):
        assert set(row) == FIELDS
        assert set(row["percentiles"]) == {"2.5", "25", "50", "75", "97.5"}
        assert list(row["files"]) == list(KIND)
        assert set(row["model"]) == {"name", "version", "sha256"}
        assert len(row["model"]["sha256"]) == 64
    done = rows(finished)[0]
    names = {"locres": "placed_locres.mrc", "mask": "placed_mask.mrc"}
    assert done["files"] == {**dict.fromkeys(KIND), **{what: str(out / name) for what, name in names.items()}}
    assert done["provider"].endswith("ExecutionProvider")
    assert (done["voxel_size"], done["error"]) == (1.5, None)
    assert done["seconds"] > 0


def test_only_the_files_of_the_good_maps_are_written(batch):
    _, out, _ = batch
    names = {f"{stem}_{kind}.mrc" for stem in ("placed", "packed") for kind in ("locres", "mask")}
    assert {path.name for path in out.iterdir()} == names


def test_output_maps_have_the_placement_of_the_input_bit_for_bit(batch):
    (placed, *_), out, _ = batch
    before = placed.read_bytes()
    for kind in ("locres", "mask"):
        path = out / f"placed_{kind}.mrc"
        assert mrcfile.validate(path)
        assert mrcfile.read(path).shape == lumps().shape
        assert [path.read_bytes()[words] for words in PLACEMENT] == [before[words] for words in PLACEMENT]


def test_the_numbers_of_the_row_are_those_of_the_files(batch):
    _, out, finished = batch
    row = rows(finished)[0]
    locres, mask = mrcfile.read(out / "placed_locres.mrc"), mrcfile.read(out / "placed_mask.mrc")
    assert locres.dtype == mask.dtype == np.float32
    assert set(np.unique(mask)) == {0, 1}
    np.testing.assert_array_equal(locres > 0, mask == 1)
    np.testing.assert_allclose(row["median"], np.median(locres[mask == 1]), rtol=1e-5)
    np.testing.assert_allclose(row["mask_volume"], mask.sum() * 1.5**3, rtol=1e-5)
    np.testing.assert_allclose(
        list(row["percentiles"].values()), np.percentile(locres[mask == 1], [2.5, 25, 50, 75, 97.5]), rtol=1e-5
    )


def test_a_compressed_map_gives_the_same_files_as_an_uncompressed_one(batch):
    _, out, _ = batch
    for kind in ("locres", "mask"):
        assert (out / f"placed_{kind}.mrc").read_bytes() == (out / f"packed_{kind}.mrc").read_bytes()


@pytest.mark.slow
def test_without_options_the_files_lie_beside_the_map_and_a_summary_names_them(tmp_path):
    finished = run(save(tmp_path / "a.mrc", lumps()), "--threads", 1)
    assert finished.returncode == 0
    assert 3 <= len(finished.stdout.splitlines()) <= 8
    for path in (tmp_path / "a_locres.mrc", tmp_path / "a_mask.mrc"):
        assert path.exists()
        assert str(path) in finished.stdout


@pytest.mark.slow
def test_the_uncertainty_is_written_on_request_and_is_positive_inside_the_mask(tmp_path):
    finished = run(save(tmp_path / "a.mrc", lumps()), "--uncertainty", "--json", "-j", 1)
    (row,) = rows(finished)
    locres, uncertainty = (mrcfile.read(row["files"][kind]) for kind in ("locres", "uncertainty"))
    assert row["files"]["uncertainty"] == str(tmp_path / "a_locres_uncertainty.mrc")
    np.testing.assert_array_equal(uncertainty > 0, locres > 0)
    np.testing.assert_allclose(row["median_uncertainty"], np.median(uncertainty[locres > 0]), rtol=1e-5)


@pytest.mark.slow
def test_quiet_prints_nothing_without_an_error(tmp_path):
    path = save(tmp_path / "a.mrc", lumps(), voxel_size=1.0)  # 1 Å exactly is worth a warning
    finished = run(path, "--quiet", "-j", 1)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")


@pytest.mark.slow
def test_a_voxel_size_given_replaces_the_header_and_warnings_go_to_stderr(tmp_path):
    finished = run(save(tmp_path / "a.mrc", lumps(), voxel_size=0), "--angpix", 1.7, "--json", "-j", 1)
    (row,) = rows(finished)
    assert (finished.returncode, row["voxel_size"]) == (0, 1.7)
    with mrcfile.open(tmp_path / "a_locres.mrc", header_only=True) as mrc:
        np.testing.assert_allclose(mrc.voxel_size.tolist(), 1.7, rtol=1e-6)
    assert [f"warning: a.mrc: {text}" for text in row["warnings"]] == finished.stderr.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("existing", ["a_locres.mrc", "a_mask.mrc"])
def test_an_existing_file_is_kept_and_refused_before_the_map_is_read(tmp_path, existing):
    (tmp_path / "a.mrc").write_bytes(b"not a map")
    (tmp_path / existing).write_bytes(b"precious")
    finished = run(tmp_path / "a.mrc")
    assert finished.returncode == 1
    one_error(finished, existing, "--overwrite")
    assert (tmp_path / existing).read_bytes() == b"precious"


@pytest.mark.slow
def test_overwrite_replaces_existing_files(tmp_path):
    save(tmp_path / "a.mrc", lumps())
    (tmp_path / "a_mask.mrc").write_bytes(b"old")
    assert run(tmp_path / "a.mrc", "--overwrite", "-j", 1).returncode == 0
    assert mrcfile.validate(tmp_path / "a_mask.mrc")
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.slow
def test_two_maps_that_would_write_one_file_are_refused_before_any_work(tmp_path):
    maps = [save(tmp_path / "a.mrc", lumps()), save(tmp_path / "b" / "a.map", lumps())]
    for refused in (run(*maps, "-o", tmp_path), run(maps[0], maps[0]), run(maps[0], tmp_path / "a_mask.mrc")):
        assert (refused.returncode, refused.stdout) == (2, "")
        one_error(refused, "a.mrc")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_usage_error_goes_to_stderr_and_exits_with_2():
    finished = run("a.mrc", "--nonsense")
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr.startswith("Usage:")
    assert "--nonsense" in finished.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "Name a map"),
        ("a.mrc --device gpu", "'gpu'"),
        ("a.mrc --threads 0", "'--threads'"),
        ("a.mrc --voxel-size 0", "0 is not a length in Å"),
        ("a.mrc --voxel-size nan", "nan is not a length in Å"),
        ("a.mrc --method statistical --uncertainty", "gives no uncertainty"),
        ("a.mrc --atoms-model", "--atoms-model needs --atoms MODEL"),
        ("a.mrc --soft-mask 3", "3 is not EXTEND,EDGE"),
        ("a.mrc --soft-mask -1,8", "-1,8 is not EXTEND,EDGE"),
        ("a.mrc --soft-mask=3,inf", "3,inf is not EXTEND,EDGE"),
        ("a.mrc b.mrc --half-maps h1.mrc h2.mrc", "belong to one MAP"),
        ("--maps-from list.txt --half-maps h1.mrc h2.mrc", "not to a list"),
        ("a.mrc --directions", "--directions needs --half-maps"),
        ("a.mrc --shard 1/2", "--shard needs --maps-from"),
    ],
)
def test_a_usage_error_names_what_is_wrong(tmp_path, monkeypatch, words, message):
    code, output = invoke(monkeypatch, tmp_path, *words.split())
    assert code == 2
    assert output.startswith("Usage:")
    assert message in output


def test_every_file_that_can_be_requested_has_an_option_with_its_help():
    output = " ".join(CliRunner().invoke(app, ["--help"]).output.split())
    for kind in (*ON_REQUEST, *ON_REQUEST_WITH_ATOMS, *ON_REQUEST_WITH_HALF_MAPS):
        assert " ".join(filter(None, (kind.option, kind.value, kind.option_help))) in output


@pytest.mark.slow
def test_an_output_folder_that_is_a_file_is_refused(tmp_path):
    path = save(tmp_path / "a.mrc", lumps())
    assert run(path, "-o", path).returncode == 2
    finished = run(path, "-o", path / "below")
    assert finished.returncode == 1
    one_error(finished, "below")


@pytest.mark.slow
def test_a_model_that_cannot_be_opened_fails_every_map_the_same_way(tmp_path):
    maps = [save(tmp_path / f"{name}.mrc", lumps()) for name in "ab"]
    (tmp_path / "garbage.onnx").write_bytes(b"garbage")
    for name in ("garbage.onnx", "missing.onnx"):
        finished = run(*maps, "--json", "--model", tmp_path / name)
        assert finished.returncode == 1
        assert [row["outcome"] for row in rows(finished)] == ["failed", "failed"]
        assert len({row["error"] for row in rows(finished)}) == 1
        assert "Traceback" not in finished.stderr


@pytest.mark.slow
def test_a_requested_gpu_that_is_unavailable_is_an_error_not_a_silent_cpu(tmp_path):
    if providers().get(CUDA):
        pytest.skip("CUDA can be used here")
    finished = run(save(tmp_path / "a.mrc", lumps()), "--device", "cuda")
    assert finished.returncode == 1
    one_error(finished, "CUDA", "--device cpu")
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.slow
def test_a_full_disk_leaves_no_file(tmp_path):
    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    finished = run(save(tmp_path / "a.mrc", lumps()), "--quiet", "-j", 1, preexec_fn=small_files)
    assert finished.returncode == 1
    one_error(finished, "expected a writable file")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mrc"]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_nothing(tmp_path, number, code):
    path = save(tmp_path / "a.mrc", lumps((144, 144, 144)))
    words = [*COMMAND, str(path), "-j", "1"]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    listen = partial(signal.signal, number, signal.SIG_DFL)  # a job in the background is started deaf to SIGINT
    with subprocess.Popen(words, preexec_fn=listen, **options) as process:
        while process.poll() is None and len(list(tmp_path.iterdir())) == 1:
            time.sleep(0.005)  # until the work begins, told by the hidden folder
        while process.poll() is None:
            process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=3)  # Python loses an interrupt that comes while it frees an import lock
        stdout = process.stdout.read()
    assert (process.returncode, stdout) == (code, b"")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mrc"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "labels"), [(["a.mrc"], [b"a.mrc"]), (["a.mrc", "b.mrc"], [b"1/2 a.mrc", b"2/2 b.mrc"])]
)
def test_a_bar_is_drawn_on_a_terminal_and_stdout_stays_clean(tmp_path, names, labels):
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    words = [*COMMAND, *(str(save(tmp_path / name, lumps())) for name in names), "--json", "-j", "1"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm"}) as process:
        os.close(theirs)
        terminal_output = b""
        with contextlib.suppress(OSError):  # how Linux says that the other end is closed
            while chunk := os.read(ours, 1024):
                terminal_output += chunk
        stdout = process.stdout.read()
    os.close(ours)
    drawn = [line.strip() for line in re.split(rb"\r|\n|\x1b\[[?0-9]*[A-Za-z]", terminal_output)]
    for label in labels:
        assert any(line.startswith(label) for line in drawn)
    assert terminal_output.count(b"100%") >= len(names)
    assert b" left" in terminal_output
    assert (b", all maps " in terminal_output) == (len(names) > 1)
    assert [json.loads(line)["outcome"] for line in stdout.splitlines()] == ["done"] * len(names)


def test_help_takes_less_than_half_a_second_of_cpu():
    def cpu_seconds():
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    times = []
    for _ in range(3):
        start = cpu_seconds()
        finished = run("--help")
        times.append(cpu_seconds() - start)
        assert finished.returncode == 0
        for option in ("--output-dir", "--voxel-size", "--device", "--threads", "--model", "--json", "--overwrite"):
            assert option in finished.stdout
    assert min(times) < 0.5


def test_version_names_package_model_and_onnxruntime():
    finished = run("--version")
    package, model, engine = finished.stdout.splitlines()
    assert (finished.returncode, finished.stderr) == (0, "")
    assert package.startswith("cryores-lite ")
    assert model.startswith("model ")
    assert "sha256" in model
    assert engine.startswith("onnxruntime ")


@pytest.mark.slow
def test_a_map_that_does_not_fit_into_memory_is_refused_before_the_work(tmp_path):
    limited = (
        "import resource, sys; from cryores_lite import resources; from cryores_lite.method import pipeline\n"
        "taken = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (taken + 600_000_000,) * 2)\n"
        f"assert resources.available_memory() <= 450_000_000\n{CALL}"
    )
    if not Path("/proc/self/statm").exists():
        pytest.skip("this system has no /proc/self/statm")
    path = save(tmp_path / "large.mrc", lumps((260, 260, 260)))
    finished = python(limited, path, "-j", 1)
    assert finished.returncode == 1
    one_error(finished, "memory", "GB")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("end", "code"), [("KeyboardInterrupt", 130), ("SystemExit(143)", 143)])
def test_an_interrupt_wrapped_by_a_library_that_is_being_loaded_ends_the_command_quietly(tmp_path, end, code):
    """Seen with onnxruntime, whose C code turns an interrupt into ImportError."""
    wrapped = f"try:\n    raise {end}\nexcept BaseException as error:\n    raise ImportError('failed') from error\n"
    (tmp_path / "onnxruntime.py").write_text(wrapped)
    finished = run(save(tmp_path / "a.mrc", lumps()), import_first=[tmp_path])
    assert (finished.returncode, finished.stdout, finished.stderr) == (code, "", "")
