"""`cryores-lite --check`: report versions, hardware and limits, and test that the installation works.

The report is plain text, to be pasted into an issue. Each check runs on its own, so that the report stays complete if
one of them fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from cryores_lite import __version__
from cryores_lite.types import length_text

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

REQUIRED_PACKAGES = ("numpy", "scipy", "scikit-image", "mrcfile", "pillow", "typer")
OPTIONAL_PACKAGES = ("gemmi", "matplotlib")
ONNXRUNTIME_PACKAGES = (  # they install the same files, so only one may be present
    *("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "onnxruntime-rocm"),
)
SELF_TEST_EXPECTED = files("cryores_lite.installation").joinpath("self_test.json")  # result with the shipped model
SELF_TEST_EDGE = 48  # voxels
SELF_TEST_VOXEL_SIZE = 1.5  # Å


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes
    ----------
    subject : what was checked
    text : the result
    ok : True if the check passed, False if it failed, None for information and harmless problems
    """

    subject: str
    text: str
    ok: bool | None = True

    def __str__(self) -> str:
        """Format the line."""
        return f"{'ok  ' if self.ok else '-   ' if self.ok is None else 'FAIL'}  {self.subject:12}  {self.text}"


def report() -> tuple[str, bool]:
    """Run all checks; return the report, and whether all passed."""
    findings = list(_findings())
    all_passed = all(finding.ok is not False for finding in findings)
    verdict = "all checks passed" if all_passed else "some checks failed: see FAIL"
    return "\n".join((f"cryores-lite {__version__}", *map(str, findings), verdict)), all_passed


def _findings() -> Iterator[Finding]:
    checks: dict[str, Callable[[], Iterator[Finding]]] = {
        "Python": _check_python,
        "packages": _check_packages,
        "onnxruntime": _check_onnxruntime_packages,
        "providers": _check_providers,
        "CPUs": _check_cpus,
        "memory": _check_memory,
        "model": _check_model,
        "self-test": _check_self_test,
    }
    for subject, check in checks.items():
        try:
            with contextlib.redirect_stdout(sys.stderr):  # libraries print
                findings = list(check())
        except Exception as error:  # noqa: BLE001 - --check reports every failure
            findings = [Finding(subject, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", False)]
        yield from findings


def _check_python() -> Iterator[Finding]:
    yield Finding("Python", f"{platform.python_version()} at {sys.executable}")
    yield Finding("system", f"{platform.platform()}, {platform.machine()}", None)


def _check_packages() -> Iterator[Finding]:
    versions = {name: _version(name) for name in (*REQUIRED_PACKAGES, *OPTIONAL_PACKAGES)}
    missing = [name for name in REQUIRED_PACKAGES if versions[name] is None]
    text = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    yield Finding("packages", text + (f"; missing: {', '.join(missing)}" if missing else ""), not missing)


def _check_onnxruntime_packages() -> Iterator[Finding]:
    versions = {name: version for name in ONNXRUNTIME_PACKAGES if (version := _version(name))}
    text = ", ".join(f"{name} {version}" for name, version in versions.items())
    text = text or "not installed by a package manager"
    if len(versions) > 1:
        text += f": they overwrite each other; pip uninstall {' '.join(versions)}, then install one of them"
    yield Finding("onnxruntime", text, len(versions) < 2)


def _check_providers() -> Iterator[Finding]:
    from cryores_lite.method.network import CPU, CUDA, cuda_problem, providers

    for name, opens_model in providers().items():
        reason = f": {cuda_problem()}" if name == CUDA and not opens_model else ""
        text = "listed, opens the model" if opens_model else f"listed, not usable here{reason}"
        yield Finding("provider", f"{name}: {text}", opens_model or (False if name == CPU else None))


def _check_cpus() -> Iterator[Finding]:
    from cryores_lite.resources import available_threads, cpu_quota, slurm_cpus

    limits = {
        "in the machine": os.cpu_count(),
        "by affinity": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "by control group": cpu_quota(),
        "by SLURM_CPUS_PER_TASK": slurm_cpus(),
    }
    text = ", ".join(f"{count:g} {limit}" for limit, count in limits.items() if count is not None)
    used, allocated = available_threads(), slurm_cpus()
    is_idle = allocated is not None and allocated > used
    advice = f"; Slurm allocated {allocated}: pass srun --cpus-per-task={allocated}" if is_idle else ""
    yield Finding("CPUs", f"{used} will be used ({text}){advice}", None if is_idle else True)


def _check_memory() -> Iterator[Finding]:
    from cryores_lite.resources import available_memory, estimated_memory

    free, needed = available_memory(), estimated_memory((256, 256, 256))
    text = f"{free / 1e9:.1f} GB free; a molecule in 256 x 256 x 256 voxels takes {needed / 1e9:.1f} GB"
    yield Finding("memory", text, free > needed)


def _check_model() -> Iterator[Finding]:
    from cryores_lite.method.network import Model, shipped_model

    model = Model.open(None, device="cpu", threads=1)
    yield Finding("model", f"{model.spec.name} {model.spec.version}, sha256 {model.sha256}, {shipped_model()}")


def _check_self_test() -> Iterator[Finding]:
    expected, start = json.loads(SELF_TEST_EXPECTED.read_text(encoding="utf-8")), time.perf_counter()
    result = self_test_result()
    text = f"median {length_text(result['median'], 3)} in {time.perf_counter() - start:.1f} s"
    if result["model"] != expected["model"]:
        yield Finding("self-test", f"{text}; no result is recorded for this model", False)
        return
    difference = abs(result["median"] - expected["median"])
    text += f", expected {expected['median']:.3f} ± {expected['tolerance']:g}"
    yield Finding("self-test", text, difference <= expected["tolerance"])


def self_test_result() -> dict[str, Any]:
    """Estimate the self-test map with the shipped model; return the fields of `self_test.json` except the tolerance."""
    from cryores_lite.method.network import Model
    from cryores_lite.method.pipeline import estimate

    model = Model.open(None, device="cpu", threads=1)
    result = estimate(self_test_map(), SELF_TEST_VOXEL_SIZE, model=model, threads=1)
    return {"model": model.sha256, "median": round(result.median, 4)}


def self_test_map() -> npt.NDArray[np.float32]:
    """Make the self-test map: a ball of random density in noise, (48, 48, 48) float32.

    The random numbers are hashes of the voxel numbers (splitmix64), so they are the same on every machine and with
    every version of NumPy.
    """
    import numpy as np
    from scipy import ndimage

    hashes = np.arange(2 * SELF_TEST_EDGE**3, dtype=np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 0x9E3779B97F4A7C15)):
        hashes = (hashes ^ (hashes >> np.uint64(shift))) * np.uint64(factor)
    lumps, noise = (hashes >> np.uint64(40)).astype(np.float64).reshape(2, *(SELF_TEST_EDGE,) * 3) / 2**24
    squared_radius = sum((np.indices(lumps.shape)[i] - SELF_TEST_EDGE / 2) ** 2 for i in range(3))
    in_ball = squared_radius < (SELF_TEST_EDGE / 3.5) ** 2
    density = ndimage.gaussian_filter(in_ball * lumps**4, 1.2) + 0.05 * (noise - 0.5)
    return np.asarray(density, np.float32)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
