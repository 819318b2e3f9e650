"""`--check` reports a working installation as such and names what is broken; results are reproducible."""

import _ctypes
import json
import re
from dataclasses import replace
from importlib import metadata

import numpy as np
import pytest

from cryores_lite import resources
from cryores_lite.errors import DeviceError
from cryores_lite.installation import diagnostics
from cryores_lite.installation.diagnostics import (
    SELF_TEST_EXPECTED,
    SELF_TEST_VOXEL_SIZE,
    Finding,
    self_test_map,
    self_test_result,
)
from cryores_lite.io.mrc import write_map
from cryores_lite.io.mrc_header import Header
from cryores_lite.method import network
from cryores_lite.method.network import Model, providers
from cryores_lite.method.pipeline import estimate
from cryores_lite.resources import available_threads, cpu_quota
from tests.runtime.command import run

HEADER = Header(cella=(1, 1, 1), cellb=(90, 90, 90), m=(1, 1, 1), nstart=(0, 0, 0), axes=(1, 2, 3), origin=(0, 0, 0))


@pytest.fixture(scope="module")
def finished():
    return run("--check")


@pytest.mark.slow
def test_a_working_installation_passes_every_check(finished):
    first, *lines, last = finished.stdout.splitlines()
    assert (finished.returncode, last) == (0, "all checks passed"), finished.stdout
    assert first.startswith("cryores-lite ")
    assert {re.split(r"\s{2,}", line)[1] for line in lines} >= {
        *("Python", "packages", "onnxruntime", "provider", "CPUs", "memory", "model", "self-test")
    }
    assert all(line.startswith(("ok  ", "-   ")) for line in lines)
    assert re.search(r"sha256 [0-9a-f]{64}", finished.stdout)


def test_the_self_test_expects_the_result_of_the_shipped_model():
    """After a change of the model: write `self_test_result()` and a tolerance into `installation/self_test.json`."""
    expected, result = json.loads(SELF_TEST_EXPECTED.read_text()), self_test_result()
    assert result["model"] == expected["model"], f"{SELF_TEST_EXPECTED.name} should hold {result}"
    assert result["median"] == pytest.approx(expected["median"], abs=expected["tolerance"]), f"{result}"


def test_a_failing_check_does_not_hide_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(diagnostics, "SELF_TEST_EXPECTED", tmp_path / "missing.json")
    text, is_well = diagnostics.report()
    assert not is_well
    (failed,) = (line for line in text.splitlines() if line.startswith("FAIL"))
    assert "self-test" in failed
    assert "missing.json" in failed


def test_the_self_test_fails_for_another_median_or_another_model(tmp_path, monkeypatch):
    expected = json.loads(SELF_TEST_EXPECTED.read_text())
    for wrong in ({**expected, "median": expected["median"] + 0.1}, {**expected, "model": "0" * 64}):
        path = tmp_path / "expected.json"
        path.write_text(json.dumps(wrong))
        monkeypatch.setattr(diagnostics, "SELF_TEST_EXPECTED", path)
        (finding,) = diagnostics._check_self_test()
        assert finding.ok is False


def test_two_installed_packages_of_onnxruntime_fail(tmp_path, monkeypatch):
    for name in ("onnxruntime", "onnxruntime-gpu"):
        folder = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert metadata.version("onnxruntime-gpu") == "1.0"
    (finding,) = diagnostics._check_onnxruntime_packages()
    assert finding.ok is False
    assert "pip uninstall onnxruntime onnxruntime-gpu" in finding.text


def test_a_finding_that_does_no_harm_is_not_a_failure():
    assert str(Finding("CUDA", "not here", None)).startswith("-   ")
    assert str(Finding("CPU", "here")).startswith("ok  ")
    assert str(replace(Finding("CPU", "gone"), ok=False)).startswith("FAIL")


def test_the_cpu_provider_opens_the_model():
    assert providers()["CPUExecutionProvider"]


def test_a_missing_library_is_named_and_an_existing_one_loads():
    assert "libnothere.so.9" in network._load_error("libnothere.so.9")
    assert network._load_error(_ctypes.__file__) is None


def test_unusable_cuda_is_refused_with_the_reason():
    if providers().get(network.CUDA):
        pytest.skip("CUDA can be used here")
    with pytest.raises(DeviceError, match=re.escape(network.cuda_problem())):
        Model.open(device="cuda")
    assert Model.open(device="auto").provider == network.CPU


CPU_QUOTA_FILES_V1 = {"cpu.cfs_quota_us": "{quota}", "cpu.cfs_period_us": "100000"}


@pytest.mark.parametrize(
    ("own_groups", "root", "files"),
    [
        ("0::/job/step", "", {"cpu.max": "{quota} 100000"}),
        ("5:cpuset:/\n3:cpu,cpuacct:/job/step\n0::/", "cpu", CPU_QUOTA_FILES_V1),
    ],
    ids=["version 2", "version 1"],
)
def test_the_tightest_of_the_enclosing_control_groups_counts(tmp_path, monkeypatch, own_groups, root, files):
    (tmp_path / "own").write_text(f"{own_groups}\n")
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.setattr(resources, "CGROUP_ROOT", tmp_path / "cgroup")
    monkeypatch.setattr(resources, "OWN_CGROUPS", tmp_path / "own")
    assert cpu_quota() is None
    for inner, quota in (("job/step", "max"), ("job", "150000"), ("other", "10000"), (".", "400000")):
        folder = tmp_path / "cgroup" / root / inner
        folder.mkdir(parents=True, exist_ok=True)
        for name, template in files.items():
            (folder / name).write_text(template.format(quota=quota if root == "" or quota != "max" else "-1"))
    assert cpu_quota() == 1.5
    assert available_threads() == 1


@pytest.mark.parametrize("cpus", ["", "0", "-1", "many", "2(x2)", "²", "1.5", "1000000"])
def test_no_value_from_slurm_gives_more_threads_than_are_available(monkeypatch, cpus):
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    threads = available_threads()
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", cpus)
    assert available_threads() == threads
    (finding,) = diagnostics._check_cpus()
    assert finding.ok is (None if cpus == "1000000" else True)
    assert (f"srun --cpus-per-task={cpus}" in finding.text) == (cpus == "1000000")


def test_slurm_may_allow_fewer_threads_than_the_machine_has(monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert available_threads() == 1


@pytest.mark.slow
def test_equal_runs_give_equal_bytes_and_the_number_of_threads_hardly_matters(tmp_path):
    runs = []
    for number, threads in enumerate((1, 1, 2)):
        model = Model.open(device="cpu", threads=threads)
        result = estimate(self_test_map(), SELF_TEST_VOXEL_SIZE, model=model, threads=threads)
        files = [
            write_map(tmp_path / f"{number}_{field}.mrc", getattr(result, field), HEADER, label="same").read_bytes()
            for field in ("values", "mask", "uncertainty")
        ]
        runs.append((files, result))
    assert runs[0][0] == runs[1][0]
    one_thread, two_threads = runs[0][1], runs[2][1]
    np.testing.assert_array_equal(one_thread.mask, two_threads.mask)
    np.testing.assert_allclose(one_thread.values, two_threads.values, atol=1e-3)
    np.testing.assert_allclose(one_thread.uncertainty, two_threads.uncertainty, atol=1e-3)


def test_the_self_test_map_is_the_same_on_every_machine():
    values = self_test_map().astype(np.float64)
    assert values.shape == (48, 48, 48)
    assert values.mean() == pytest.approx(0.0194962, abs=1e-6)
    np.testing.assert_array_equal(self_test_map(), self_test_map())
