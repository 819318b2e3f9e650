"""The content of each kind of output file, by its name in the catalogue: voxels of an MRC file, text, or bytes.

Every function takes the result of a finished map. Libraries that only some files need are imported in its function.
"""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cryores_lite import __version__
from cryores_lite.figures.palette import colour_range
from cryores_lite.io.mrc_header import has_voxel_size, is_placed_by_origin, is_placed_by_start
from cryores_lite.method.coarse_voxels import scale_factor
from cryores_lite.outputs import chimerax as chimerax_script
from cryores_lite.outputs.outcome import row, voxel_size
from cryores_lite.outputs.paper import CRYORES, Deposit, deposits, methods_text, program
from cryores_lite.outputs.residues import MeasuredModel
from cryores_lite.outputs.result import Job, MapResult

Voxels: TypeAlias = npt.NDArray[Any]


def locres(result: MapResult) -> Voxels:
    """Local resolution in Å, 0 outside the mask."""
    return result.map_and_estimate()[1].values


def mask(result: MapResult) -> Voxels:
    """Mask of the molecule."""
    return result.map_and_estimate()[1].mask


def uncertainty(result: MapResult) -> Voxels:
    """Standard deviation of the error in Å, 0 outside the mask."""
    return result.map_and_estimate()[1].uncertainty


def locres_fsc(result: MapResult) -> Voxels:
    """Local resolution from half maps in Å, 0 outside the mask."""
    assert result.comparison, "written with half maps only"
    return result.comparison.values


def difference(result: MapResult) -> Voxels:
    """Estimate minus local resolution from half maps, in Å."""
    from cryores_lite.half_maps import comparison

    assert result.comparison, "written with half maps only"
    return comparison.difference(result.map_and_estimate()[1], result.comparison)


def directions(result: MapResult) -> Voxels:
    """FSC of the half maps by direction, in Fourier space."""
    from cryores_lite.half_maps import directions

    assert result.comparison, "written with half maps only"
    assert result.comparison.directions, "measured with half maps"
    grid = result.map_and_estimate()[1].grid
    return directions.fsc_volume(result.comparison.directions, grid.shape, grid.voxel_size)


def worst(result: MapResult) -> Voxels:
    """Local resolution from half maps in the worst direction, in Å."""
    assert result.comparison is not None
    assert result.comparison.worst is not None, "measured on request"
    return result.comparison.worst


def anisotropy(result: MapResult) -> Voxels:
    """Local resolution from half maps in the worst direction / that in the best one."""
    assert result.comparison is not None
    assert result.comparison.anisotropy is not None, "measured on request"
    return result.comparison.anisotropy


def average(result: MapResult) -> Voxels:
    """Average of the two half maps, which is the map."""
    return result.map_and_estimate()[0].density.values


def soft_mask(result: MapResult) -> Voxels:
    """Mask of the molecule, extended and with a soft edge."""
    from cryores_lite.outputs import soft_mask

    _, estimate = result.map_and_estimate()
    return soft_mask.soft_mask(
        estimate.mask, estimate.grid.voxel_size, *result.job.soft_mask_widths, threads=result.threads
    )


def filtered(result: MapResult) -> Voxels:
    """The map, low-passed at its local resolution."""
    from cryores_lite.outputs.local_filter import locally_filtered

    input_map, estimate = result.map_and_estimate()
    return locally_filtered(
        input_map.density.values, estimate.values, input_map.density.grid.voxel_size, result.threads
    )


def filtered_fsc(result: MapResult) -> Voxels:
    """The map, each voxel weighted by its own half-map FSC, 0 outside the mask."""
    from cryores_lite.half_maps.fsc_filter import filtered_by_fsc

    assert result.local_fsc, "written with half maps only"
    input_map, estimate = result.map_and_estimate()
    density = input_map.density
    weighted = filtered_by_fsc(density.values, result.local_fsc, density.grid.voxel_size, result.threads)
    return np.where(estimate.mask, weighted, np.float32(0))


def unpacked(result: MapResult) -> Voxels:
    """The map itself, for the script: ChimeraX opens no compressed maps."""
    return result.map_and_estimate()[0].density.values


def display(result: MapResult) -> Voxels:
    """Local resolution in Å, extended outwards so that it colours a surface."""
    from cryores_lite.figures.display_map import extend_outwards

    _, estimate = result.map_and_estimate()
    return extend_outwards(estimate.values, estimate.grid.voxel_size)


def chimerax(result: MapResult) -> str:
    """Commands that show the map in ChimeraX, coloured by its local resolution."""
    from cryores_lite.figures.display_map import contour_level

    input_map, estimate = result.map_and_estimate()
    shown, header = result.job.displayed_path, input_map.header
    as_ccp4 = is_placed_by_start(shown) and any(header.origin)
    surface_level = contour_level(input_map.density.values, estimate.mask)
    finest = float(estimate.values.min(where=estimate.values > 0, initial=np.inf))
    names = chimerax_names(result.job)
    given = result.job.voxel_size
    if shown != result.job.map_path or (given is not None and has_voxel_size(header, given)):
        given = None  # the file that ChimeraX opens has this voxel size in its header
    return chimerax_script.script(
        names,
        surface_level,
        finest,
        _colours(result),
        as_ccp4,
        voxel_size=given,
        origin=header.origin if is_placed_by_origin(header, shown) else None,
    )


def chimerax_names(job: Job) -> tuple[str, str]:
    """Return the paths of the map and of the map that colours it, from the script's folder and quoted.

    Links to folders are followed, as ChimeraX follows them.

    Raises
    ------
    OutputError
        A script cannot hold the name.
    """

    def from_script(path: Path) -> str:
        return chimerax_script.quoted(chimerax_script.path_from(str(path.parent.resolve() / path.name), script_folder))

    script_folder = str(job.outputs["chimerax"].parent.resolve())
    colouring_map = job.outputs.get("display", job.outputs["locres"])
    return from_script(job.displayed_path), from_script(colouring_map)


def report(result: MapResult) -> str:
    """HTML page."""
    from cryores_lite.figures import html_report, report_notes
    from cryores_lite.figures.display_map import in_zyx_order
    from cryores_lite.half_maps import comparison

    input_map, estimate = result.map_and_estimate()
    density = input_map.density.values
    low, high = report_notes.TRAINING_RANGE
    scale = scale_factor(estimate.grid.voxel_size)
    trained = (scale * low, scale * high) if result.model else None
    notes = (*result.warnings, *report_notes.map_notes(density, estimate, trained))
    fsc = result.comparison.values if result.comparison else None
    clear = comparison.clear_differences(estimate, result.comparison) if result.comparison else None
    axes, colours = input_map.header.axes, result.job.colours
    shown = in_zyx_order(density, estimate, axes, fsc, colours=colours, clear_difference=clear)
    return html_report.render(
        estimate,
        result.comparison,
        shown,
        name=result.job.density_path.name,
        notes=notes,
        methods=methods_text(result),
        deposition=[_fields(deposit) for deposit in deposits(result)],
        settings=_settings(result),
        record=_row(result),
    )


def png(result: MapResult) -> bytes:
    """PNG picture for a slide."""
    from cryores_lite.figures import png_summary
    from cryores_lite.figures.display_map import in_zyx_order

    input_map, estimate = result.map_and_estimate()
    shown = in_zyx_order(input_map.density.values, estimate, input_map.header.axes, colours=result.job.colours)
    return png_summary.render(estimate, shown, result.job.density_path.name)


def histogram(result: MapResult) -> str:
    """SVG file of the histogram."""
    from cryores_lite.figures import svg_charts

    _, estimate = result.map_and_estimate()
    return svg_charts.histogram_file(
        estimate.values[estimate.mask],
        estimate.median,
        _colours(result),
        result.job.density_path.name,
        axis=result.job.colours,
    )


def atoms_json(result: MapResult) -> str:
    """Local resolution of the residues, in the form of EMDB's validation files."""
    from cryores_lite.outputs.residue_files import as_json

    return as_json(_residues(result), _colours(result))


def atoms_csv(result: MapResult) -> str:
    """Local resolution of the residues, one line each."""
    from cryores_lite.outputs.residue_files import as_csv

    return as_csv(_residues(result))


def atoms_defattr(result: MapResult) -> str:
    """Local resolution of the residues as attributes for ChimeraX."""
    from cryores_lite.outputs.residue_files import as_defattr

    return as_defattr(_residues(result))


def atoms_emv(result: MapResult) -> str:
    """Local resolution of the residues as validation scores."""
    from cryores_lite.io.mrc import map_stem
    from cryores_lite.outputs.validation_scores import as_emv

    by = program(result.model)
    reference = CRYORES if result.model else by
    today = datetime.now(timezone.utc).date()
    return as_emv(_residues(result), map_stem(result.job.density_path), by, reference, today)


def atoms_model(result: MapResult) -> str:
    """The atomic model with the local resolution in its B-factor column, as mmCIF."""
    from cryores_lite.outputs.residue_files import as_cif

    return as_cif(_residues(result))


def _colours(result: MapResult) -> tuple[float, float]:
    """Return Å of the first and the last colour: those of the job, or from the map's own local resolution."""
    return result.job.colours or colour_range(result.map_and_estimate()[1].values)


def _residues(result: MapResult) -> MeasuredModel:
    assert result.residues, "written with an atomic model only"
    return result.residues


def _fields(deposit: Deposit) -> dict[str, str]:
    """Return the names and values of a deposit for the page."""
    return {
        "File": deposit.file,
        "Type": deposit.type,
        "Voxel size (x, y, z)": " × ".join(f"{size:.6g}" for size in deposit.voxel_size) + " Å",
        "Contour level": f"{deposit.contour_level:.4g}",
        "Annotation": deposit.annotation,
    }


def _row(result: MapResult) -> dict[str, Any]:
    """Return the JSON row without time and memory of the complete run, which are not known yet."""
    return {name: value for name, value in row(result).items() if name not in ("seconds", "peak_memory_gb")}


def _settings(result: MapResult) -> dict[str, str]:
    """Return names and values for the last table of the page."""
    from cryores_lite.figures.display_map import zyx_axes

    job, model, comparison = result.job, result.model, result.comparison
    input_map, estimate = result.map_and_estimate()
    z, y, x = (estimate.grid.shape[n] for n in zyx_axes(input_map.header.axes))
    voxel_size_from = "the header" if job.voxel_size is None else "the command line"
    identity = f"{model.name} {model.version}, sha256 {model.sha256}" if model else "none (statistical method)"
    peak = "" if result.peak_memory is None else f"; peak memory {result.peak_memory / 1e9:.2f} GB"
    working = f"; {estimate.working_voxel_size:.4g} Å for the network" if model else ""
    return {
        "Map": "average of the half maps" if job.averages_half_maps else str(job.map_path),
        **({"Half maps": " and ".join(map(str, comparison.paths))} if comparison else {}),
        "Box": f"{x} × {y} × {z} voxels (x, y, z)",
        "Voxel size": f"{voxel_size(estimate):.4g} Å, from {voxel_size_from}{working}",
        **({"Colours": "{:g} to {:g} Å, from the command line".format(*job.colours)} if job.colours else {}),
        "Program": f"cryores_lite {__version__}",
        "Model": identity,
        "Ran on": f"{estimate.provider}, CPU threads: {result.threads}",
        "Time and memory": f"{result.seconds:.1f} s for the estimate{peak}",
    }
