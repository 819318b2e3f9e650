"""The inference session: the only state, and the only room that knows onnxruntime."""

from __future__ import annotations

import ctypes
import hashlib
import json
import math
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from cryores_lite.errors import DeviceError, ModelError, is_out_of_memory, out_of_memory
from cryores_lite.method import band_features as evidence
from cryores_lite.method import network_inputs as condition
from cryores_lite.method import onnx_file as onnxfile
from cryores_lite.method.tiles import ALIGN, cover
from cryores_lite.resources import available_threads
from cryores_lite.types import Half, MapResolution, Volume

if not hasattr(onnxruntime, "InferenceSession"):  # what stays when one of two wheels is uninstalled
    raise ImportError("onnxruntime is there only in part: uninstall all of its wheels, then install one")

SHIPPED = "cryores_v5.onnx"
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
CUDA_OPTIONS = {
    "arena_extend_strategy": "kSameAsRequested",  # not the next power of two
    "cudnn_conv_algo_search": "HEURISTIC",  # tiles come in several shapes: no tuning anew for each
}
INPUTS = ("evidence", "density", "bands", "context", "level")
OUTPUTS = ("global", "median", "doubt", "relative", "error", "mask")
LARGEST_TILE = 512  # working voxels
SMALLEST = 16  # working voxels, the edge of a tile that only asks for the level


@dataclass(frozen=True)
class ModelSpec:
    """The contract, read from the ONNX file's metadata (key `contract`, JSON).

    Attributes
    ----------
    name, version : of the model
    conditioning : version of `cryores_lite.method.network_inputs` that it was trained with
    evidence : numbers per rung of the ladder
    channels, context : number of coarse fields and of numbers per map
    halo, tile : working voxels: the network's reach, and the edge of the largest cube that is evaluated at once
    mask_threshold : probability from which on a voxel is molecule
    doubt_scale, doubt_power : the level's error is doubt_scale · doubt ** doubt_power, fitted on validation maps
    error_scale : factor on the stated error of local resolution, fitted there too
    training : sha256 of the weights it was exported from
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
    error_scale: float
    training: str


@dataclass(frozen=True, eq=False)
class Model:
    """An open model. Use `Model.open`; hand it to `estimate` to serve many maps."""

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
            The file is missing, damaged, or breaks the contract.
        DeviceError
            CUDA was asked for and cannot be used.
        """
        file = shipped() if path is None else Path(path)
        data = onnxfile.read(file)
        session = _session(data, file, device, threads or available_threads())
        provider = session.get_providers()[0]
        said: tuple[str, ...] = ()
        if device == "auto" and provider == CPU and CUDA in onnxruntime.get_available_providers():
            said = (f"CUDA cannot be used ({why_not_cuda()}): the CPU does the work",)
        return cls(_spec(session, file), hashlib.sha256(data).hexdigest(), provider, session, said)

    def level(self, evidence: Volume) -> MapResolution:
        """Ask for the level of a map alone."""
        half, quarter = SMALLEST // 2, SMALLEST // 4
        overall, median, doubt = self._run(
            OUTPUTS[:3],
            evidence,
            np.zeros((1, half, half, half), np.float16),
            np.zeros((self.spec.channels, quarter, quarter, quarter), np.float16),
            np.zeros(self.spec.context, np.float32),
            1.0,
        )
        stated = self.spec.doubt_scale * float(doubt[0, 0]) ** self.spec.doubt_power
        return MapResolution(float(overall[0, 0]), float(median[0, 0]), stated)

    def predict(
        self, evidence: Volume, density: Half, bands: Half, context: Volume, level: float
    ) -> tuple[Volume, Volume, Volume]:
        """Evaluate one tile, on the quarter grid: relative resolution in Å, its relative error, (64, z, y, x) mask
        probability of each point's 4³ working voxels."""
        relative, error, mask = self._run(OUTPUTS[3:], evidence, density, bands, context, level)
        return relative[0, 0], self.spec.error_scale * error[0, 0], mask[0]

    def _run(self, outputs: tuple[str, ...], *inputs: Volume | Half | float) -> Any:
        *arrays, level = inputs
        feed = [np.ascontiguousarray(a, np.float32)[None] for a in arrays] + [np.array([[level]], np.float32)]
        return self.session.run(outputs, dict(zip(INPUTS, feed, strict=True)))


def shipped() -> Path:
    """The model in the installed package, or in the repository's `models/` when run from a checkout."""
    here = Path(__file__).parents[1]
    return next(
        (p for p in (here / "models" / SHIPPED, here.parent / "models" / SHIPPED) if p.exists()), here / SHIPPED
    )


def providers() -> dict[str, bool]:
    """Whether each provider that onnxruntime lists really opens the shipped model; those that first build for minutes
    are left out."""
    data, found = onnxfile.read(shipped()), {}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    for name in onnxruntime.get_available_providers():
        if "Tensorrt" in name:
            continue
        if name == CUDA and _without_cuda():
            found[name] = False
            continue
        try:
            session = onnxruntime.InferenceSession(data, options, providers=[name])
            found[name] = session.get_providers()[0] == name
        except Exception:  # onnxruntime's own errors share no base class below Exception
            found[name] = False
    return found


def why_not_cuda() -> str:
    """Say why CUDA cannot be used, once a session has not been given it."""
    if said := _without_cuda():
        return said
    made_for = f"this onnxruntime is made for CUDA {getattr(onnxruntime, 'cuda_version', None) or 'of its own choice'}"
    for name in ("shared", "cuda"):  # in this order: the second needs the first
        library = Path(onnxruntime.__file__).parent / "capi" / f"libonnxruntime_providers_{name}.so"
        if library.exists() and (said := _unloadable(library)):
            return f"{said}; {made_for}"
    return f"all libraries are there, but no session can be opened: is the driver too old? {made_for}"


def _without_cuda() -> str | None:
    """Load the libraries that CUDA needs, or say what must be there before that."""
    if CUDA not in onnxruntime.get_available_providers():
        return "onnxruntime-gpu is not installed in place of onnxruntime"
    if said := _unloadable(DRIVER):
        return f"no NVIDIA driver: {said}"
    getattr(onnxruntime, "preload_dlls", lambda: None)()  # 1.21 and later: the libraries of NVIDIA's wheels
    return None


def _unloadable(library: str | Path) -> str | None:
    """Say in the system's words why a shared library cannot be loaded, or None if it can."""
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
    options.enable_cpu_mem_arena = False  # else it keeps the largest tile's memory until the end
    wanted: list[Any] = [CPU]
    if device != "cpu" and not _without_cuda():
        wanted.insert(0, (CUDA, CUDA_OPTIONS))
    try:
        session = onnxruntime.InferenceSession(data, options, providers=wanted)
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
            found=why_not_cuda(),
            expected="onnxruntime-gpu in place of onnxruntime, its CUDA libraries and a driver that knows them",
            try_="see docs/gpu.md, or use --device cpu",
        )
    return session


def _checked(name: str, value: Any, kind: str) -> Any:
    """Let a value of the contract pass if it is what `ModelSpec` says: a text, a count, or a finite number."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    right = {"str": isinstance(value, str), "int": number and isinstance(value, int), "float": number}[kind]
    if right and (name != "tile" or value <= LARGEST_TILE):
        return value
    raise ValueError(f"{name} is {value!r}")


def _spec(session: Any, file: Path) -> ModelSpec:
    meta = session.get_modelmeta().custom_metadata_map
    expected = {
        "conditioning": condition.VERSION,
        "evidence": evidence.FEATURES,
        "channels": condition.CHANNELS,
        "context": condition.CONTEXT,
    }
    try:
        contract = json.loads(meta["contract"])
        spec = ModelSpec(**{f.name: _checked(f.name, contract[f.name], str(f.type)) for f in fields(ModelSpec)})
        cover(np.zeros((1, 1, 1), bool), (ALIGN,) * 3, spec.halo, spec.tile**3)  # a ValueError where they do not fit
    except (KeyError, ValueError, TypeError) as error:
        raise ModelError(
            f"{file} is not a model of this program",
            found=f"no usable contract in its metadata ({error})",
            expected="an ONNX file written by this project's export",
            try_="pass another --model",
        ) from error
    found = {key: getattr(spec, key) for key in expected}
    names = tuple(i.name for i in session.get_inputs()), tuple(o.name for o in session.get_outputs())
    if found != expected or names != (INPUTS, OUTPUTS):
        raise ModelError(
            f"{file} belongs to another version of this program",
            found=f"{found}, inputs and outputs {names}",
            expected=f"{expected}, {(INPUTS, OUTPUTS)}",
            try_="use the model that came with this version",
        )
    return spec
