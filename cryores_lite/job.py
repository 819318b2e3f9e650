"""Process one map, from its input to its output files."""

from __future__ import annotations

import contextlib
import sys
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from cryores_lite.errors import CryoresError, InputError, interrupt_cause, is_out_of_memory, out_of_memory
from cryores_lite.fourier.criterion import Criterion
from cryores_lite.outputs.catalogue import KINDS, ON_REQUEST, ON_REQUEST_WITH_ATOMS, ON_REQUEST_WITH_HALF_MAPS, When
from cryores_lite.outputs.result import SOFT_MASK_WIDTHS, Job, MapResult, Method, ModelIdentity

if TYPE_CHECKING:
    from cryores_lite.half_maps.pair import HalfMapPair
    from cryores_lite.io.mrc import Map
    from cryores_lite.method.network import Model
    from cryores_lite.outputs.residues import MeasuredModel
    from cryores_lite.types import HalfMapComparison, LocalResolution, Progress

    MapAndHalves: TypeAlias = tuple[Map, HalfMapPair | None]
    PrefetchedInput: TypeAlias = MapAndHalves | Exception | None  # a map, the error from reading it, None: not read


class Device(str, Enum):
    """Where the network runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


@dataclass(frozen=True)
class RunOptions:
    """The network and the hardware that runs it."""

    model: Path | None  # an ONNX network; None: the shipped one
    device: str
    threads: int | None  # None: all that this process may use


@dataclass(frozen=True, eq=False)
class FileResult:
    """What `estimate_file` made of one map.

    Attributes
    ----------
    files : paths of the output files by content, such as "locres", "mask" and "report"
    numbers : the fields of a line of `--json`
    local_resolution : arrays on the grid of the map
    """

    files: Mapping[str, Path]
    numbers: Mapping[str, Any]
    local_resolution: LocalResolution

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the user."""
        return tuple(self.numbers["warnings"])

    def __repr__(self) -> str:
        return f"FileResult({self.local_resolution}, {', '.join(map(str, self.files.values()))})"

    def _repr_html_(self) -> str:
        """Return slices, warnings and paths as HTML, for a notebook."""
        from cryores_lite.figures import html_parts

        lines = [*self.warnings, *(f"{name}: {path}" for name, path in self.files.items())]
        return self.local_resolution._repr_html_() + "".join(f"<div>{html_parts.text(line)}</div>" for line in lines)


def plan(
    map_path: Path | None,
    output_dir: Path | None,
    requested: Collection[str] = (),
    *,
    atoms: Path | None = None,
    half_maps: tuple[Path, Path] | None = None,
    method: Method = Method.network,
    criterion: Criterion = Criterion.fsc_0143,
    voxel_size: float | None = None,
    soft_mask_widths: tuple[float, float] = SOFT_MASK_WIDTHS,
    colours: tuple[float, float] | None = None,
    overwrite: bool = False,
) -> Job:
    """Describe the job of one map: its inputs, its options, and the paths of its output files.

    Output files are those that the inputs imply and those `requested` by name. Without a map, the average of the half
    maps is the map, and is written too.
    """
    from cryores_lite.io.half_map_names import full_map_stem
    from cryores_lite.io.mrc import is_compressed, map_stem

    implied = {
        When.ALWAYS: True,
        When.WITH_HALF_MAPS: bool(half_maps),
        When.WITHOUT_MAP: map_path is None,
        When.WITH_ATOMS: bool(atoms),
        When.WITH_DIRECTIONS: "directions" in requested,
        When.FILTERED_WITH_HALF_MAPS: bool(half_maps) and "filtered" in requested,
        When.WITH_SCRIPT: "chimerax" in requested and map_path is not None and is_compressed(map_path),
    }
    if map_path is None:
        assert half_maps, "a map or two half maps are required"
        map_path, stem = half_maps[0], full_map_stem(half_maps[0])
    else:
        stem = map_stem(map_path)
    folder = output_dir or map_path.parent
    kinds = [kind for kind in KINDS if implied.get(kind.when) or kind.name in requested]
    return Job(
        map_path=map_path,
        voxel_size=voxel_size,
        outputs={kind.name: folder / f"{stem}{kind.suffix}" for kind in kinds},
        overwrite=overwrite,
        atoms=atoms,
        half_maps=half_maps,
        method=method,
        criterion=criterion,
        soft_mask_widths=soft_mask_widths,
        colours=colours,
    )


def estimate_file(
    path: str | Path,
    *,
    output_dir: str | Path | None = None,
    outputs: Collection[str] = (),
    half_maps: tuple[str | Path, str | Path] | None = None,
    atoms: str | Path | None = None,
    method: str = "network",
    criterion: str = "0.143",
    voxel_size: float | None = None,
    soft_mask_widths: tuple[float, float] = SOFT_MASK_WIDTHS,
    colours: tuple[float, float] | None = None,
    model: Model | str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    overwrite: bool = False,
    progress: Progress = iter,
) -> FileResult:
    """Estimate the local resolution of a map in a file, and write the files that the command `cryores-lite` writes.

    Parameters
    ----------
    path : MRC, MAP or CCP4 file, plain, .gz or .bz2
    output_dir : folder of the output files; None for that of the map
    outputs : names of files to write in addition, as the options of the command without "--" and with "_" for "-":
        "report", "png", "uncertainty", ...
    half_maps : two half maps to compare with
    atoms : PDB or mmCIF file of a fitted model
    method : "network" or "statistical"
    criterion : "0.143", "0.5", "1-bit" or "fdr"; where the local FSC of the half maps is read
    voxel_size : Å, in place of the one in the header
    soft_mask_widths : Å, extension and edge of the output "soft_mask"
    colours : Å of the first and the last colour in the figures; None: from the map's own percentiles
    model : an open `Model` (to serve many maps), a file, or None for the shipped one
    device : "auto", "cpu" or "cuda"; used when `model` is not open yet
    threads : CPU threads, or None for all that this process may use
    overwrite : replace existing files
    progress : wraps the sequence of tiles, for a progress bar

    Returns
    -------
    FileResult, with the paths of the files and the fields of a line of `--json`

    Raises
    ------
    CryoresError
        The map, an argument, the model or the output folder cannot be used; no file is written.
    """
    from cryores_lite.figures.palette import limits_argument
    from cryores_lite.method.arguments import threads_argument, voxel_size_argument, widths_argument
    from cryores_lite.method.network import Model
    from cryores_lite.outputs.outcome import row
    from cryores_lite.resources import peak_memory

    with_inputs = (*(ON_REQUEST_WITH_ATOMS if atoms else ()), *(ON_REQUEST_WITH_HALF_MAPS if half_maps else ()))
    _check_names("outputs", outputs, [kind.name for kind in (*ON_REQUEST, *with_inputs)])
    _check_names("method", [method], [known.value for known in Method])
    _check_names("criterion", [criterion], [known.value for known in Criterion])
    if voxel_size is not None:
        voxel_size_argument(voxel_size)
    start, threads = time.perf_counter(), threads_argument(threads)
    job = plan(
        Path(path),
        Path(output_dir) if output_dir is not None else None,
        outputs,
        atoms=Path(atoms) if atoms is not None else None,
        half_maps=(Path(half_maps[0]), Path(half_maps[1])) if half_maps else None,
        method=Method(method),
        criterion=Criterion(criterion),
        voxel_size=voxel_size,
        soft_mask_widths=widths_argument(soft_mask_widths),
        colours=None if colours is None else limits_argument(colours),
        overwrite=overwrite,
    )
    network = None
    if job.method is Method.network:
        network = model if isinstance(model, Model) else Model.open(model, device=device, threads=threads)
    result = _estimate_and_write(job, network, threads, progress, None)
    numbers = row(replace(result, seconds=time.perf_counter() - start, peak_memory=peak_memory()))
    return FileResult(job.outputs, numbers, result.map_and_estimate()[1])


def _check_names(argument: str, names: Collection[str], known: Collection[str]) -> None:
    """Refuse names that are not known."""
    unknown = [names] if isinstance(names, str) else [name for name in names if name not in known]
    if unknown:
        raise InputError(
            f"the argument {argument}", found=unknown[0], expected=", ".join(known), try_="pass a list of these names"
        )


def lazy_model(options: RunOptions) -> Callable[[], Model]:
    """Return a function that opens the network at its first call, and returns the same network at later calls."""
    from cryores_lite.method.network import Model

    return cache(lambda: Model.open(options.model, device=options.device, threads=options.threads))


def read_input(job: Job) -> MapAndHalves:
    """Read the map and the half maps of a job; without a map, average the half maps."""
    if not job.half_maps:
        from cryores_lite.io.mrc import read_map

        return read_map(job.map_path, voxel_size=job.voxel_size), None
    from cryores_lite.half_maps.pair import read_map_and_halves

    return read_map_and_halves(job.map_path, job.half_maps, job.averages_half_maps, job.voxel_size)


def run_job(
    job: Job, network: Callable[[], Model], threads: int | None, progress: Progress, prefetched: PrefetchedInput = None
) -> MapResult:
    """Estimate one map and write its files. A failure becomes a result with an error, so that other maps can follow.

    Parameters
    ----------
    network : opens the network, or returns the open one
    threads : CPU threads; None: all that this process may use
    progress : wraps the sequence of the map's tiles
    prefetched : the map if it was read in advance, or the error from reading it
    """
    from cryores_lite.resources import peak_memory

    start, model = time.perf_counter(), None
    with contextlib.redirect_stdout(sys.stderr):  # libraries print; stdout is for results
        try:
            model = network() if job.method is Method.network else None
            result = _estimate_and_write(job, model, threads, progress, prefetched)
        except Exception as error:  # noqa: BLE001 - a failed map must not stop the others
            result = MapResult(job=job, model=_identity(model), error=_error_line(error, job.map_path.name))
    return replace(result, seconds=time.perf_counter() - start, peak_memory=peak_memory())


def _identity(model: Model | None) -> ModelIdentity | None:
    return ModelIdentity(model.spec.name, model.spec.version, model.sha256) if model else None


def _error_line(error: Exception, map_name: str) -> str:
    """Describe the error of one map in one line. Raise it again if it would stop every other map too."""
    if isinstance(error, CryoresError):
        return " ".join(str(error).split())
    if interrupt := interrupt_cause(error):
        raise interrupt from None
    if is_out_of_memory(error):
        return str(out_of_memory(map_name))
    if isinstance(error, ImportError):
        raise error
    traceback.print_exc()  # a bug
    return f"internal error, {error!r}"


def _estimate_and_write(
    job: Job, model: Model | None, threads: int | None, progress: Progress, prefetched: PrefetchedInput
) -> MapResult:
    """Read, estimate and write one map: all its files, or none."""
    from cryores_lite.io.atomic_write import publish, refuse_existing, staging_folder
    from cryores_lite.io.input_checks import check_input
    from cryores_lite.method import pipeline, statistical
    from cryores_lite.outputs import write
    from cryores_lite.outputs.residues import measure_residues, read_fitted
    from cryores_lite.resources import available_threads, peak_memory

    start = time.perf_counter()
    _clean_up_once(job.folder)
    refuse_existing(job.outputs.values(), job.overwrite)
    write.check(job)
    threads = threads or available_threads()
    input_map, pair = _prefetched_or_read(job, prefetched)
    input_map = check_input(job.map_path, input_map, by_name=not job.half_maps)
    fitted = read_fitted(job.atoms, input_map, job.density_path) if job.atoms else None
    with staging_folder(job.folder) as staged:  # before the long work: an unwritable folder fails at once
        if model:
            estimate = pipeline.estimate_local_resolution(input_map.density, model, threads, progress)
        else:
            estimate = statistical.estimate_by_noise(input_map.density, threads)
        local_fsc = comparison = None
        if pair:
            from cryores_lite.half_maps.comparison import compare
            from cryores_lite.half_maps.local_fsc import checked_local_fsc, threshold_of

            threshold = threshold_of(job.criterion)
            local_fsc = checked_local_fsc(pair.first, pair.second, threshold=threshold, threads=threads)
            comparison = compare(
                pair, estimate, threads, local_fsc, job.criterion, local_directions="directions" in job.outputs
            )
        residues = measure_residues(fitted, estimate) if fitted else None
        result = MapResult(
            job=job,
            seconds=time.perf_counter() - start,
            peak_memory=peak_memory(),
            threads=threads,
            model=_identity(model),
            map=input_map,
            local_resolution=estimate,
            comparison=comparison,
            local_fsc=local_fsc,
            residues=residues,
            warnings=_warnings(job, input_map, estimate, comparison, residues),
        )
        for name, path in job.outputs.items():
            write.write(name, staged / path.name, result)
        refuse_existing(job.outputs.values(), job.overwrite)
        locres_last = sorted(job.outputs, key=lambda name: name == "locres")
        publish(staged, [job.outputs[name].name for name in locres_last], job.overwrite)
    return result


def _prefetched_or_read(job: Job, prefetched: PrefetchedInput) -> MapAndHalves:
    """Return the map that was read in advance, or read it now."""
    if isinstance(prefetched, Exception):
        raise prefetched
    return prefetched or read_input(job)


def _warnings(
    job: Job,
    input_map: Map,
    estimate: LocalResolution,
    comparison: HalfMapComparison | None,
    residues: MeasuredModel | None,
) -> tuple[str, ...]:
    """Collect the warnings from all steps. Contrast that is certainly inverted is said once."""
    from cryores_lite.io.half_map_names import half_maps_hint
    from cryores_lite.io.input_checks import DARK_MOLECULE
    from cryores_lite.method.coupling_estimate import INVERTED_CONTRAST
    from cryores_lite.outputs.residue_files import omission_warnings

    residue_warnings = (*residues.notes, *omission_warnings(residues)) if residues else ()
    if comparison:
        half_map_warnings = comparison.warnings
    else:
        unused = half_maps_hint(job.map_path)
        half_map_warnings = (unused,) if unused else ()
    said_again = {DARK_MOLECULE} if INVERTED_CONTRAST in estimate.warnings else set()
    input_warnings = [warning for warning in input_map.warnings if warning not in said_again]
    return (*input_warnings, *estimate.warnings, *residue_warnings, *half_map_warnings)


@cache
def _clean_up_once(folder: Path) -> None:
    """Clean up after killed runs, once per process and folder: a scan of 100,000 files takes a second."""
    from cryores_lite.io.atomic_write import clean_up_dead_runs

    clean_up_dead_runs(folder)
