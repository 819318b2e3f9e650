"""The network as an onnxruntime session. No other module imports onnxruntime, or uses the names in the model file."""

from __future__ import annotations

import ctypes
import hashlib
import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

# Before the import: onnxruntime's wheels (1.29 and later) else write an id under HOME and look up a host.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

from cryores_lite.errors import DeviceError, ModelError, is_out_of_memory, out_of_memory
from cryores_lite.method import band_features, network_inputs, onnx_file
from cryores_lite.method.arguments import check_device, threads_argument
from cryores_lite.method.tiles import ALIGN, cover
from cryores_lite.resources import available_threads
from cryores_lite.types import EDITINGS, Float16Volume, MapResolution, Volume

if not hasattr(
    onnxruntime, "InferenceSession"
):  # a partial package that remains after one of two wheels was uninstalled
    raise ImportError("onnxruntime is only partly installed: uninstall all of its wheels, then install one")

ONNXRUNTIME_VERSION: str = onnxruntime.__version__
SHIPPED_MODEL = "cryores_v6.onnx"
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
CUDA_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
CUDA_OPTIONS = {
    "arena_extend_strategy": "kSameAsRequested",  # not the next power of two
    "cudnn_conv_algo_search": "HEURISTIC",  # tiles have several shapes, and tuning for each takes long
}
# Names in the model file: "evidence" is `features`, "level" is `median_resolution`, "doubt" the unscaled `log_std`.
INPUTS = ("evidence", "density", "bands", "context", "level")
OUTPUTS = ("global", "median", "doubt", "editing", "relative", "error", "mask")
MAP_OUTPUTS = 4  # the first outputs do not depend on tiles
MAX_TILE_EDGE = 512  # working voxels
MIN_TILE_EDGE = 16  # working voxels: an empty tile, for outputs that do not depend on tiles


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What the model expects and returns, read from the ONNX file's metadata (key `contract`, JSON).

    Attributes
    ----------
    name, version : of the model
    conditioning : version of `cryores_lite.method.network_inputs` that it was trained with
    evidence : features per band (`cryores_lite.method.band_features`)
    channels, context : number of coarse fields and of numbers per map
    halo, tile : working voxels: the network's reach, and the edge of the largest cube that is evaluated at once
    mask_threshold : lowest probability of a voxel of the molecule
    doubt_scale, doubt_power : `MapResolution.log_std` is doubt_scale · doubt ** doubt_power, fitted on validation maps
    error_scales : factor on the predicted error of local resolution for each of `EDITINGS`, fitted there too
    training : sha256 of the weights that it was exported from
    """

    name: str
    version: str
    conditioning: int
    evidence: int
    channels: int
    context: int
    halo: int
    tile: int
    mask_threshold: float
    doubt_scale: float
    doubt_power: float
    error_scales: tuple[float, ...]
    training: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Model:
    """An open model. Use `Model.open`, and pass the result to `estimate` for many maps."""

    spec: ModelSpec
    sha256: str
    provider: str
    session: Any
    warnings: tuple[str, ...] = ()

    @classmethod
    def open(cls, path: str | Path | None = None, *, device: str = "auto", threads: int | None = None) -> Model:
        """Open a model file, the shipped one by default.

        Parameters
        ----------
        path : an ONNX file of `export`, or None
        device : "cpu", "cuda" (refused where it cannot be used) or "auto" (CUDA where it works, else CPU)
        threads : CPU threads, or None for all that this process may use

        Raises
        ------
        ModelError
            The file is missing, damaged, or not for this version.
        DeviceError
            CUDA was requested and cannot be used.
        InputError
            The device or the number of threads is unknown.
        """
        check_device(device)
        threads = threads_argument(threads) or available_threads()
        file = shipped_model() if path is None else Path(path)
        data = onnx_file.read(file)
        session = _session(data, file, device, threads)
        provider = session.get_providers()[0]
        warnings: tuple[str, ...] = ()
        if device == "auto" and provider == CPU and CUDA in onnxruntime.get_available_providers():
            warnings = (f"CUDA cannot be used ({cuda_problem()}): running on the CPU.",)
        return cls(
            spec=_spec(session, file),
            sha256=hashlib.sha256(data).hexdigest(),
            provider=provider,
            session=session,
            warnings=warnings,
        )

    def map_resolution(self, features: Volume) -> MapResolution:
        """Estimate the resolution of a map and its kind of editing from `band_features`."""
        half, quarter = MIN_TILE_EDGE // 2, MIN_TILE_EDGE // 4
        global_, median, doubt, editing = self._run(
            OUTPUTS[:MAP_OUTPUTS],
            features,
            np.zeros((1, half, half, half), np.float16),
            np.zeros((self.spec.channels, quarter, quarter, quarter), np.float16),
            np.zeros(self.spec.context, np.float32),
            1.0,
        )
        log_std = self.spec.doubt_scale * float(doubt[0, 0]) ** self.spec.doubt_power
        return MapResolution(float(global_[0, 0]), float(median[0, 0]), log_std, tuple(map(float, editing[0])))

    def predict(
        self,
        features: Volume,
        density: Float16Volume,
        bands: Float16Volume,
        context: Volume,
        median_resolution: float,
    ) -> tuple[Volume, Volume, Volume]:
        """Evaluate one tile. The inputs are those of `NetworkInputs`, the fields cut to the tile.

        Returns
        -------
        On the quarter grid of the tile: local minus global resolution in Å (z, y, x); standard deviation of the local
        resolution's logarithm before `error_scale` (z, y, x); mask probability of each point's 4³ working voxels
        (64, z, y, x).
        """
        relative, error, mask = self._run(OUTPUTS[MAP_OUTPUTS:], features, density, bands, context, median_resolution)
        return relative[0, 0], error[0, 0], mask[0]

    def error_scale(self, editing: Sequence[float]) -> float:
        """Return the factor on the predicted errors of a map, from the probability of each of `EDITINGS`."""
        return float(np.dot(self.spec.error_scales, editing))

    def _run(self, outputs: tuple[str, ...], *inputs: Volume | Float16Volume | float) -> Any:
        *arrays, median_resolution = inputs
        feed = [np.ascontiguousarray(a, np.float32)[None] for a in arrays]
        feed.append(np.array([[median_resolution]], np.float32))
        return self.session.run(outputs, dict(zip(INPUTS, feed, strict=True)))


def shipped_model() -> Path:
    """Return the path of the model in the installed package, or in `models/` of a checkout of the repository."""
    package = Path(__file__).parents[1]
    candidates = (package / "models" / SHIPPED_MODEL, package.parent / "models" / SHIPPED_MODEL)
    return next((path for path in candidates if path.exists()), package / SHIPPED_MODEL)


def providers() -> dict[str, bool]:
    """Return, for each provider that onnxruntime lists, whether it can open the shipped model.

    TensorRT is left out: it compiles the model for minutes first.
    """
    data, usable = onnx_file.read(shipped_model()), {}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    for name in onnxruntime.get_available_providers():
        if "Tensorrt" in name:
            continue
        if name == CUDA and _missing_for_cuda():
            usable[name] = False
            continue
        try:
            session = onnxruntime.InferenceSession(data, options, providers=[name])
            usable[name] = session.get_providers()[0] == name
        except Exception:  # noqa: BLE001 - onnxruntime's errors share no base class below Exception
            usable[name] = False
    return usable


def cuda_problem() -> str:
    """Explain why a session was opened without CUDA."""
    if reason := _missing_for_cuda():
        return reason
    built_for = (
        f"this onnxruntime was built for CUDA {getattr(onnxruntime, 'cuda_version', None) or '(version unknown)'}"
    )
    for name in ("shared", "cuda"):  # in this order: the second needs the first
        library = Path(onnxruntime.__file__).parent / "capi" / f"libonnxruntime_providers_{name}.so"
        if library.exists() and (reason := _load_error(library)):
            return f"{reason}; {built_for}"
    return f"all libraries load, but no session opens (driver too old?); {built_for}"


def _missing_for_cuda() -> str | None:
    """Load the libraries that CUDA needs; return what is missing, or None."""
    if CUDA not in onnxruntime.get_available_providers():
        return "onnxruntime-gpu is not installed in place of onnxruntime"
    if reason := _load_error(CUDA_DRIVER):
        return f"no NVIDIA driver: {reason}"
    getattr(onnxruntime, "preload_dlls", lambda: None)()  # 1.21 and later: the libraries of NVIDIA's wheels
    return None


def _load_error(library: str | Path) -> str | None:
    """Return the system's message if a shared library cannot be loaded, else None."""
    try:
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        return " ".join(str(error).split())
    return None


def _session(data: bytes, file: Path, device: str, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False  # it would keep the largest tile's memory to the end
    providers: list[Any] = [CPU]
    if device != "cpu" and not _missing_for_cuda():
        providers.insert(0, (CUDA, CUDA_OPTIONS))
    try:
        session = onnxruntime.InferenceSession(data, options, providers=providers)
    except Exception as error:  # onnxruntime's own errors share no base class below Exception
        if is_out_of_memory(error):
            raise out_of_memory(f"the model {file.name}") from error
        raise ModelError(
            f"cannot open the model {file}",
            found=str(error).splitlines()[0][:160],
            expected="an ONNX file written by this project's export",
            try_="reinstall cryores-lite or pass another --model",
        ) from error
    if device == "cuda" and session.get_providers()[0] != CUDA:
        raise DeviceError(
            "CUDA cannot be used",
            found=cuda_problem(),
            expected="onnxruntime-gpu in place of onnxruntime, its CUDA libraries and a driver that supports them",
            try_="see docs/gpu.md, or use --device cpu",
        )
    return session


def _checked(name: str, value: Any, kind: str) -> Any:
    """Return a value of the contract if it is finite and has the type that `ModelSpec` declares (a list for a tuple).

    Raises
    ------
    ValueError
        The value has another type or is not finite, the tile is too large, or there is not one number for each of
        `EDITINGS`.
    """
    if kind.startswith("tuple"):
        if not isinstance(value, list) or len(value) != len(EDITINGS):
            raise ValueError(f"{name} is {value!r}")
        return tuple(_checked(name, number, "float") for number in value)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    is_valid = {"str": isinstance(value, str), "int": is_number and isinstance(value, int), "float": is_number}[kind]
    if is_valid and (name != "tile" or value <= MAX_TILE_EDGE):
        return value
    raise ValueError(f"{name} is {value!r}")


def _spec(session: Any, file: Path) -> ModelSpec:
    meta = session.get_modelmeta().custom_metadata_map
    expected = {
        "conditioning": network_inputs.VERSION,
        "evidence": band_features.FEATURES,
        "channels": network_inputs.CHANNELS,
        "context": network_inputs.CONTEXT,
    }
    try:
        contract = json.loads(meta["contract"])
        spec = ModelSpec(**{f.name: _checked(f.name, contract[f.name], str(f.type)) for f in fields(ModelSpec)})
        cover(np.zeros((1, 1, 1), bool), (ALIGN,) * 3, spec.halo, spec.tile**3)  # ValueError if they do not fit
    except (KeyError, ValueError, TypeError) as error:
        raise ModelError(
            f"{file} is not a model of this program",
            found=f"no usable contract in its metadata ({error})",
            expected="an ONNX file written by this project's export",
            try_="pass another --model",
        ) from error
    declared = {key: getattr(spec, key) for key in expected}
    names = tuple(i.name for i in session.get_inputs()), tuple(o.name for o in session.get_outputs())
    if declared != expected or names != (INPUTS, OUTPUTS):
        raise ModelError(
            f"{file} belongs to another version of this program",
            found=f"{declared}, inputs and outputs {names}",
            expected=f"{expected}, {(INPUTS, OUTPUTS)}",
            try_="use the model that came with this version",
        )
    return spec
