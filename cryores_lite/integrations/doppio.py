"""The job for ccpem-pipeliner and Doppio, which load it through an entry point."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeliner.data_structure import NODE_ATOMCOORDS, NODE_DENSITYMAP
from pipeliner.display_tools import create_results_display_object, make_maps_slice_montage_and_3d_display
from pipeliner.job_options import (
    BooleanJobOption,
    FileDescription,
    FloatJobOption,
    InputNodeJobOption,
    MultipleChoiceJobOption,
)
from pipeliner.pipeliner_job import ExternalProgram, PipelinerCommand, PipelinerJob, Ref

from cryores_lite import __version__
from cryores_lite.errors import CryoresError
from cryores_lite.job import Device, plan
from cryores_lite.outputs.catalogue import KIND, ON_REQUEST
from cryores_lite.outputs.histogram import binned
from cryores_lite.types import VOXEL_SIZE_RANGE

COMMAND = "cryores-lite"
CRYORES = Ref(
    authors=["Dai M", "Dong Z", "Xu K", "Zhang QC"],
    title="CryoRes: Local Resolution Estimation of Cryo-EM Density Maps by Deep Learning",
    journal="Journal of Molecular Biology",
    year="2023",
    volume="435",
    issue="9",
    pages="168059",
    doi="10.1016/j.jmb.2023.168059",
)
DISPLAYED_MAPS = {"locres": "Local resolution (Å)", "mask": "Mask", "filtered": "Map at its local resolution"}


class LocalResolutionJob(PipelinerJob):
    """Local resolution and mask of one map."""

    PROCESS_NAME = "cryores_lite.map_analysis.local_resolution"
    OUT_DIR = "LocalRes"
    CATEGORY_LABEL = "Local Resolution Determination"

    def __init__(self) -> None:
        super().__init__()
        self.jobinfo.display_name = "Local resolution from one map"
        self.jobinfo.version = __version__
        self.jobinfo.job_author = "The cryores_lite developers"
        self.jobinfo.short_desc = "Local resolution of a map and a mask, from the map alone"
        self.jobinfo.long_desc = (
            "Estimates the local resolution of a final map at every voxel of its molecule, in Å, and a mask."
            " Half maps, a mask or parameters are not needed."
        )
        self.jobinfo.references = [CRYORES]
        self.jobinfo.programs = [ExternalProgram(COMMAND, vers_com=[COMMAND, "--version"])]
        self.joboptions["input_map"] = InputNodeJobOption(
            label="Map:",
            node_type=NODE_DENSITYMAP,
            pattern=FileDescription("MRC/CCP4 map", [".mrc", ".map", ".ccp4", ".gz", ".bz2"]),
            help_text="The final map whose local resolution is estimated, if possible without a mask.",
            is_required=True,
        )
        self.joboptions["voxel_size"] = FloatJobOption(
            label="Voxel size (Å):",
            hard_min=0,
            suggested_min=VOXEL_SIZE_RANGE[0],
            suggested_max=VOXEL_SIZE_RANGE[1],
            step_value=0.01,
            help_text="Only if the map's header is wrong. Leave blank to use the header's.",
            in_continue=True,
        )
        for kind in ON_REQUEST:
            self.joboptions[kind.name] = BooleanJobOption(
                label=f"Write {kind.name}?", default_value=False, help_text=kind.option_help, in_continue=True
            )
        self.joboptions["atoms"] = InputNodeJobOption(
            label="Atomic model:",
            node_type=NODE_ATOMCOORDS,
            pattern=FileDescription("Atomic model", [".pdb", ".cif", ".mmcif"]),
            help_text="Also write the values of this model's residues.",
            in_continue=True,
        )
        self.joboptions["device"] = MultipleChoiceJobOption(
            label="Device:",
            choices=[device.value for device in Device],
            default_value=Device.auto.value,
            help_text="Where the network runs.",
            in_continue=True,
            jobop_group="Running options",
        )
        self.get_runtab_options(threads=True, addtl_args=True)

    def create_output_nodes(self) -> None:
        """Register the output files."""
        for name, path in self._files().items():
            if node := KIND[name].node:
                toplevel, _, *keywords = node.label.split(".")
                self.add_output_node(path.name, toplevel, keywords)

    def get_commands(self) -> list[PipelinerCommand]:
        """Return the command. The job owns its folder and may be continued in it, so files are overwritten."""
        command = [COMMAND, self.joboptions["input_map"].get_string(), "--output-dir", self.output_dir, "--overwrite"]
        command += ["--device", self.joboptions["device"].get_string(), "--threads", str(self.get_nr_threads())]
        if not self.joboptions["voxel_size"].is_blank:
            command += ["--voxel-size", self.joboptions["voxel_size"].get_string()]
        if atoms := self.joboptions["atoms"].get_string():
            command += ["--atoms", atoms]
        command += [KIND[name].option for name in self._requested()]
        return [*self.get_program_version_commands(), PipelinerCommand([*command, *self.parse_additional_args()])]

    def create_results_display(self) -> Sequence[Any]:
        """Return the displays: histogram of the local resolution inside the mask, report if there is one, and maps."""
        files = self._files()
        displays = _histogram(files["locres"])
        if "report" in files:
            page = str(files["report"])
            displays.append(
                create_results_display_object("html", title="Report", html_file=page, associated_data=[page])
            )
        maps = {str(files[name]): title for name, title in DISPLAYED_MAPS.items() if name in files}
        return [*displays, *make_maps_slice_montage_and_3d_display(in_maps=maps, output_dir=self.output_dir)]

    def _requested(self) -> list[str]:
        return [kind.name for kind in ON_REQUEST if self.joboptions[kind.name].get_boolean()]

    def _files(self) -> dict[str, Path]:
        return plan(Path(self.joboptions["input_map"].get_string()), Path(self.output_dir), self._requested()).outputs


def _histogram(path: Path) -> list[Any]:
    """Return the display of the histogram of local resolution, or [] if no molecule was found."""
    from cryores_lite.io.mrc import read_map

    try:
        values = read_map(path).density.values
    except CryoresError:  # a map of zeros only
        return []
    edges, counts = binned(values[values > 0])
    return [
        create_results_display_object(
            "histogram",
            title="Local resolution inside the mask",
            xlabel="Local resolution (Å)",
            ylabel="Voxels",
            bins=counts,
            bin_edges=edges,
            associated_data=[str(path)],
        )
    ]
