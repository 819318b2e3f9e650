"""Standard streams that are closed or full, and libraries that cannot be loaded."""

import os
from pathlib import Path

import pytest

from cryores_lite.installation.diagnostics import SELF_TEST_VOXEL_SIZE, self_test_map
from cryores_lite.io.mrc import read_map
from tests.runtime.command import one_error, run
from tests.runtime.maps import save

NO_LIBRARY = "libcudart.so.12: cannot open shared object file"
BROKEN_ONNXRUNTIME = {  # its code, and a fragment of our message
    "incomplete": ("", "onnxruntime"),
    "shared libraries missing": (f"raise ImportError('{NO_LIBRARY}:\\nNo such file')", NO_LIBRARY),
    "not installed": ("raise ModuleNotFoundError(\"No module named 'onnxruntime'\")", "onnxruntime"),
}


@pytest.fixture
def density(tmp_path):
    return save(tmp_path / "a.mrc", self_test_map(), voxel_size=SELF_TEST_VOXEL_SIZE)


@pytest.mark.slow
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_streams_change_no_output_file(tmp_path, density, closed):
    def close():
        for number in closed:
            os.close(number)

    finished = run(density, "-o", tmp_path / "out", "-j", "1", preexec_fn=close)
    reference = run(density, "-o", tmp_path / "reference", "-j", "1")
    assert (finished.returncode, reference.returncode) == (0, 0), finished.stderr
    for name in ("a_locres.mrc", "a_mask.mrc"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "reference" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("option", ["--json", "--version", "--check"])
def test_a_full_disk_behind_stdout_is_one_line_on_stderr(density, option):
    with Path("/dev/full").open("w") as full:
        finished = run(density, "-j", 1, option, stdout=full)
    assert finished.returncode == 1
    one_error(finished, "No space left")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_the_maps_are_written_also_if_the_summary_cannot_be_printed(density):
    with Path("/dev/full").open("w") as full:
        finished = run(density, "-j", 1, stdout=full)
    assert finished.returncode == 1
    one_error(finished, "No space left")
    for name in ("a_locres.mrc", "a_mask.mrc"):
        assert read_map(density.with_name(name)).density.values.shape == self_test_map().shape


@pytest.mark.slow
@pytest.mark.parametrize("fault", BROKEN_ONNXRUNTIME)
@pytest.mark.parametrize("option", ["--quiet", "--version"])
def test_an_onnxruntime_that_cannot_be_loaded_is_one_line_on_stderr(tmp_path, density, fault, option):
    code, reason = BROKEN_ONNXRUNTIME[fault]
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "onnxruntime.py").write_text(code)
    finished = run(density, option, import_first=[tmp_path / "broken"])
    assert (finished.returncode, finished.stdout) == (1, "")
    one_error(finished, reason, "--check")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mrc", "broken"]


@pytest.mark.slow
def test_the_check_names_a_broken_onnxruntime_and_goes_on(tmp_path):
    (tmp_path / "onnxruntime.py").write_text("")
    finished = run("--check", import_first=[tmp_path])
    failed = [line.split()[1] for line in finished.stdout.splitlines() if line.startswith("FAIL")]
    assert (finished.returncode, failed) == (1, ["providers", "model", "self-test"])
    assert "uninstall all of its wheels" in finished.stdout
