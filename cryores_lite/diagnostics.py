"""`cryores-lite --check`: what this installation is made of, and whether it works. Plain text, to paste into an issue.

Each line is looked for on its own, so that one that is broken hides no other.
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

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

NEEDED = ("numpy", "scipy", "scikit-image", "mrcfile", "pillow", "typer")
OPTIONAL = ("gemmi", "matplotlib")
WHEELS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "onnxruntime-rocm")
EXPECTED = files("cryores_lite.method").joinpath("self_test.json")  # what the self-test finds with the shipped model
EDGE, VOXEL_SIZE = 48, 1.5  # of the self-test's map: voxels, Å


@dataclass(frozen=True)
class Finding:
    """One line: `ok` is None where nothing is wrong that this program minds."""

    what: str
    said: str
    ok: bool | None = True

    def __str__(self) -> str:
        """Write the line."""
        return f"{'ok  ' if self.ok else '-   ' if self.ok is None else 'FAIL'}  {self.what:12}  {self.said}"


def report() -> tuple[str, bool]:
    """Look at everything: the text, and whether all is well."""
    found = list(_findings())
    well = all(finding.ok is not False for finding in found)
    lines = [f"cryores-lite {__version__}", *map(str, found), "all is well" if well else "something is wrong: see FAIL"]
    return "\n".join(lines), well


def _findings() -> Iterator[Finding]:
    looks: dict[str, Callable[[], Iterator[Finding]]] = {
        "Python": _python,
        "packages": _packages,
        "onnxruntime": _wheels,
        "providers": _providers,
        "CPUs": _cpus,
        "memory": _memory,
        "model": _model,
        "self-test": _self_test,
    }
    for what, look in looks.items():
        try:
            with contextlib.redirect_stdout(sys.stderr):  # libraries print
                found = list(look())
        except Exception as error:  # of whatever kind: that is what is to be told
            found = [Finding(what, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", False)]
        yield from found


def _python() -> Iterator[Finding]:
    yield Finding("Python", f"{platform.python_version()} at {sys.executable}")
    yield Finding("system", f"{platform.platform()}, {platform.machine()}", None)


def _packages() -> Iterator[Finding]:
    versions = {name: _version(name) for name in (*NEEDED, *OPTIONAL)}
    missing = [name for name in NEEDED if versions[name] is None]
    there = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    yield Finding("packages", there + (f"; missing: {', '.join(missing)}" if missing else ""), not missing)


def _wheels() -> Iterator[Finding]:
    there = {name: version for name in WHEELS if (version := _version(name))}
    said = ", ".join(f"{name} {version}" for name, version in there.items()) or "not installed by a package manager"
    if len(there) > 1:
        said += f": they overwrite each other; pip uninstall {' '.join(there)}, then install one of them"
    yield Finding("onnxruntime", said, len(there) < 2)


def _providers() -> Iterator[Finding]:
    from cryores_lite.method.network import CPU, CUDA, providers, why_not_cuda

    for name, opens in providers().items():
        why = f": {why_not_cuda()}" if name == CUDA and not opens else ""
        words = "listed, opens the model" if opens else f"listed, cannot be used here{why}"
        yield Finding("provider", f"{name}: {words}", opens or (False if name == CPU else None))


def _cpus() -> Iterator[Finding]:
    from cryores_lite.resources import available_threads, cpu_quota, slurm_cpus

    told = {
        "in the machine": os.cpu_count(),
        "by affinity": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "by control group": cpu_quota(),
        "by SLURM_CPUS_PER_TASK": slurm_cpus(),
    }
    limits = ", ".join(f"{count:g} {where}" for where, count in told.items() if count is not None)
    used, given = available_threads(), slurm_cpus()
    idle = f"; Slurm gave {given}: pass srun --cpus-per-task={given}" if given and given > used else ""
    yield Finding("CPUs", f"{used} will be used ({limits}){idle}", None if idle else True)


def _memory() -> Iterator[Finding]:
    from cryores_lite.resources import available_memory, estimated_memory

    free, wanted = available_memory(), estimated_memory((256, 256, 256))
    yield Finding(
        "memory", f"{free / 1e9:.1f} GB free; a molecule of 256 voxels takes {wanted / 1e9:.1f}", free > wanted
    )


def _model() -> Iterator[Finding]:
    from cryores_lite.method.network import Model, shipped

    model = Model.open(None, device="cpu", threads=1)
    yield Finding("model", f"{model.spec.name} {model.spec.version}, sha256 {model.sha256}, {shipped()}")


def _self_test() -> Iterator[Finding]:
    expected, start = json.loads(EXPECTED.read_text(encoding="utf-8")), time.perf_counter()
    found = measured()
    said = f"median {found['median']:.3f} Å in {time.perf_counter() - start:.1f} s"
    if found["model"] != expected["model"]:
        yield Finding("self-test", f"{said}; nothing is known of this model", False)
        return
    off = abs(found["median"] - expected["median"])
    said += f", expected {expected['median']:.3f} ± {expected['tolerance']:g}"
    yield Finding("self-test", said, off <= expected["tolerance"])


def measured() -> dict[str, Any]:
    """Estimate the built-in map with the shipped model: what `method/self_test.json` holds, less the tolerance."""
    from cryores_lite.method.network import Model
    from cryores_lite.method.pipeline import estimate

    model = Model.open(None, device="cpu", threads=1)
    return {"model": model.sha256, "median": round(estimate(built_in(), VOXEL_SIZE, model=model, threads=1).median, 4)}


def built_in() -> npt.NDArray[np.float32]:
    """Make a ball of lumps in noise, the same on every machine: whole numbers are scrambled, none is drawn."""
    import numpy as np
    from scipy import ndimage

    place = np.arange(2 * EDGE**3, dtype=np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 0x9E3779B97F4A7C15)):
        place = (place ^ (place >> np.uint64(shift))) * np.uint64(factor)  # as in splitmix64
    lumps, noise = (place >> np.uint64(40)).astype(np.float64).reshape(2, EDGE, EDGE, EDGE) / 2**24
    away = sum((np.indices(lumps.shape)[i] - EDGE / 2) ** 2 for i in range(3))
    density = ndimage.gaussian_filter((away < (EDGE / 3.5) ** 2) * lumps**4, 1.2) + 0.05 * (noise - 0.5)
    return np.asarray(density, np.float32)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
