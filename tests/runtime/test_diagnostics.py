"""`--check`: an installation that works is said to, one that does not is not, and the answers do not waver."""

import _ctypes
import json
import re
import subprocess
import sys
from dataclasses import replace
from importlib import metadata

import numpy as np
import pytest

from cryores_lite import diagnostics as check
from cryores_lite import resources as groups
from cryores_lite.diagnostics import EXPECTED, VOXEL_SIZE, Finding, built_in, measured
from cryores_lite.errors import DeviceError
from cryores_lite.io.mrc import write_map
from cryores_lite.io.mrc_header import Header
from cryores_lite.method import network as model
from cryores_lite.method.network import Model, providers
from cryores_lite.method.pipeline import estimate
from cryores_lite.resources import available_threads, cpu_quota

COMMAND = [sys.executable, "-c", "from cryores_lite.cli import main; main()"]
HEADER = Header(cella=(1, 1, 1), cellb=(90, 90, 90), m=(1, 1, 1), nstart=(0, 0, 0), axes=(1, 2, 3), origin=(0, 0, 0))


@pytest.fixture(scope="module")
def finished():
    return subprocess.run([*COMMAND, "--check"], capture_output=True, text=True, timeout=300, check=False)


def test_an_installation_that_works_is_said_to(finished):
    first, *lines, last = finished.stdout.splitlines()
    assert (finished.returncode, last) == (0, "all is well"), finished.stdout
    assert first.startswith("cryores-lite ")
    assert {re.split(r"\s{2,}", line)[1] for line in lines} >= {
        *("Python", "packages", "onnxruntime", "provider", "CPUs", "memory", "model", "self-test")
    }
    assert all(line.startswith(("ok  ", "-   ")) for line in lines)
    assert re.search(r"sha256 [0-9a-f]{64}", finished.stdout)


def test_the_self_test_expects_what_the_shipped_model_says():
    """After a new model: write what `measured()` returns into `cryores_lite/check.json`, beside the tolerance."""
    expected, found = json.loads(EXPECTED.read_text()), measured()
    assert found["model"] == expected["model"], f"{EXPECTED.name} should hold {found}"
    assert found["median"] == pytest.approx(expected["median"], abs=expected["tolerance"]), f"{found}"


def test_a_check_that_fails_hides_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "EXPECTED", tmp_path / "missing.json")
    text, well = check.report()
    assert not well
    (failed,) = (line for line in text.splitlines() if line.startswith("FAIL"))
    assert "self-test" in failed
    assert "missing.json" in failed


def test_another_number_or_another_model_fails(tmp_path, monkeypatch):
    expected = json.loads(EXPECTED.read_text())
    for wrong in ({**expected, "median": expected["median"] + 0.1}, {**expected, "model": "0" * 64}):
        path = tmp_path / "expected.json"
        path.write_text(json.dumps(wrong))
        monkeypatch.setattr(check, "EXPECTED", path)
        (found,) = check._self_test()
        assert found.ok is False


def test_two_wheels_of_onnxruntime_at_once_fail(tmp_path, monkeypatch):
    for name in ("onnxruntime", "onnxruntime-gpu"):
        folder = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert metadata.version("onnxruntime-gpu") == "1.0"
    (found,) = check._wheels()
    assert found.ok is False
    assert "pip uninstall onnxruntime onnxruntime-gpu" in found.said


def test_what_nobody_minds_is_no_failure():
    assert str(Finding("CUDA", "not here", None)).startswith("-   ")
    assert str(Finding("CPU", "here")).startswith("ok  ")
    assert str(replace(Finding("CPU", "gone"), ok=False)).startswith("FAIL")


def test_the_cpu_provider_opens_the_model():
    assert providers()["CPUExecutionProvider"]


def test_a_library_that_is_not_there_is_named_and_one_that_is_loads():
    assert "libnothere.so.9" in model._unloadable("libnothere.so.9")
    assert model._unloadable(_ctypes.__file__) is None


def test_cuda_that_cannot_be_used_is_refused_with_the_reason():
    if providers().get(model.CUDA):
        pytest.skip("CUDA can be used here")
    with pytest.raises(DeviceError, match=re.escape(model.why_not_cuda())):
        Model.open(device="cuda")
    assert Model.open(device="auto").provider == model.CPU


def test_threads_stay_within_the_quota(monkeypatch):
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    quota = cpu_quota()
    assert quota is None or 1 <= available_threads() <= max(1, quota)


V1 = {"cpu.cfs_quota_us": "{quota}", "cpu.cfs_period_us": "100000"}


@pytest.mark.parametrize(
    ("told", "root", "files"),
    [
        ("0::/job/step", "", {"cpu.max": "{quota} 100000"}),
        ("5:cpuset:/\n3:cpu,cpuacct:/job/step\n0::/", "cpu", V1),
    ],
    ids=["version 2", "version 1"],
)
def test_the_tightest_of_the_control_groups_around_counts(tmp_path, monkeypatch, told, root, files):
    (tmp_path / "own").write_text(f"{told}\n")
    monkeypatch.setattr(groups, "CGROUP_ROOT", tmp_path / "cgroup")
    monkeypatch.setattr(groups, "OWN_CGROUPS", tmp_path / "own")
    assert cpu_quota() is None
    for inner, quota in (("job/step", "max"), ("job", "150000"), ("other", "10000"), (".", "400000")):
        folder = tmp_path / "cgroup" / root / inner
        folder.mkdir(parents=True, exist_ok=True)
        for name, words in files.items():
            (folder / name).write_text(words.format(quota=quota if root == "" or quota != "max" else "-1"))
    assert cpu_quota() == 1.5


@pytest.mark.parametrize("told", ["", "0", "-1", "many", "2(x2)", "²", "1.5", "1000000"])
def test_no_word_of_slurm_gives_more_threads_than_there_are(monkeypatch, told):
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    most = available_threads()
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", told)
    assert available_threads() == most
    (found,) = check._cpus()
    assert found.ok is (None if told == "1000000" else True)
    assert (f"srun --cpus-per-task={told}" in found.said) == (told == "1000000")


def test_slurm_may_give_less_than_the_machine_has(monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert available_threads() == 1


def test_the_same_map_gives_the_same_bytes_and_threads_hardly_matter(tmp_path):
    found = []
    for number, threads in enumerate((1, 1, 2)):
        model = Model.open(device="cpu", threads=threads)
        result = estimate(built_in(), VOXEL_SIZE, model=model, threads=threads)
        files = [
            write_map(tmp_path / f"{number}_{what}.mrc", getattr(result, what), HEADER, label="same").read_bytes()
            for what in ("values", "mask", "uncertainty")
        ]
        found.append((files, result))
    assert found[0][0] == found[1][0]
    one, two = found[0][1], found[2][1]
    np.testing.assert_array_equal(one.mask, two.mask)
    np.testing.assert_allclose(one.values, two.values, atol=1e-3)
    np.testing.assert_allclose(one.uncertainty, two.uncertainty, atol=1e-3)


def test_the_built_in_map_is_the_same_everywhere():
    values = built_in().astype(np.float64)
    assert values.shape == (48, 48, 48)
    assert values.mean() == pytest.approx(0.0194962, abs=1e-6)
    np.testing.assert_array_equal(built_in(), built_in())
