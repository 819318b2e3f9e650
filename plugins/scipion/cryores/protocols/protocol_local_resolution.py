"""The protocol: writes the files of cryores-lite for a map, and registers them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

from pwem.constants import NO_INDEX
from pwem.convert.headers import Ccp4Header
from pwem.emlib.image import ImageHandler
from pwem.objects import Volume, VolumeMask
from pwem.protocols import ProtAnalysis3D
from pyworkflow import BETA
from pyworkflow.exceptions import PyworkflowException
from pyworkflow.object import Float
from pyworkflow.protocol.constants import GPU_LIST, USE_GPU
from pyworkflow.protocol.params import BooleanParam, PointerParam, StringParam

from cryores import Plugin

MRC_SUFFIXES = (".mrc", ".map", ".ccp4")
VOLUMES = {  # names of files in the result of the command: name and class of the output
    "locres": ("resolution_Volume", Volume),  # the name that other local-resolution protocols use
    "mask": ("mask", VolumeMask),
    "uncertainty": ("uncertainty_Volume", Volume),
    "filtered": ("filtered_Volume", Volume),
    "locres_fsc": ("fsc_resolution_Volume", Volume),
    "difference": ("difference_Volume", Volume),
}
PERCENTILES = {name: f"percentile_{name.replace('.', '_')}" for name in ("2.5", "25", "50", "75", "97.5")}
GLOBAL_RESOLUTION = "global_resolution"


class EstimateError(PyworkflowException):
    """The command refused a map; Scipion shows the message, without the trace of a program error."""


class CryoresProtLocalResolution(ProtAnalysis3D):
    """Estimates the local resolution of a map at every voxel of its molecule, in Å, from the map alone.

    A network compares the map with maps of known local resolution.
    Half maps, a mask or parameters are not needed; if half maps are given, their local FSC is computed for comparison.
    The input is a final map, if possible without a mask.
    The output volumes are in Å and 0 outside the molecule; a small number is a good resolution.
    """

    _label = "local resolution"
    _devStatus = BETA
    _possibleOutputs = {  # noqa: RUF012 # Scipion reads a dict of the class
        **dict(VOLUMES.values()),
        **dict.fromkeys((*PERCENTILES.values(), GLOBAL_RESOLUTION), Float),
    }

    # --------------------------- form ---------------------------

    def _defineParams(self, form: Any) -> None:
        form.addHidden(
            USE_GPU,
            BooleanParam,
            default=False,
            label="Use a graphics card?",
            help="Most maps take seconds without one. It needs an onnxruntime for graphics cards beside the command.",
        )
        form.addHidden(GPU_LIST, StringParam, default="0", label="Graphics card", help="Its number, from 0.")
        form.addSection(label="Input")
        form.addParam(
            "inputVolume",
            PointerParam,
            pointerClass="Volume",
            important=True,
            label="Map",
            help="The final map whose local resolution is estimated, if possible without a mask.",
        )
        form.addParam(
            "compareHalfMaps",
            BooleanParam,
            default=False,
            label="Compare with half maps?",
            help="Also compute the local FSC of two half maps. The estimate uses the map alone, with or without them.",
        )
        for number in (1, 2):
            form.addParam(
                f"halfMap{number}",
                PointerParam,
                pointerClass="Volume",
                allowsNull=True,
                condition="compareHalfMaps",
                label=f"Half map {number}",
                help="Leave both blank to use the half maps that are stored with the map.",
            )
        form.addParam(
            "writeUncertainty",
            BooleanParam,
            default=True,
            label="Uncertainty?",
            help="Also write the standard deviation of the error at every voxel, in Å.",
        )
        form.addParam(
            "writeFiltered",
            BooleanParam,
            default=False,
            label="Filtered map?",
            help="Also write the map low-passed everywhere at its local resolution. It is not sharpened.",
        )
        form.addParam(
            "writeReport",
            BooleanParam,
            default=True,
            label="Report?",
            help="Also write an HTML page with slices, histogram, surface and numbers.",
        )
        form.addParallelSection(threads=4, mpi=0)

    # --------------------------- steps ---------------------------

    def _insertAllSteps(self) -> None:
        self._insertFunctionStep(self.convertInputStep)
        self._insertFunctionStep(self.estimateStep)
        self._insertFunctionStep(self.createOutputStep)

    def convertInputStep(self) -> None:
        """Convert volumes that are not MRC files; give them the sampling rate and origin that Scipion knows."""
        volume = self.inputVolume.get()
        for location in self._locations():
            path = self._mrcPath(location)
            if path != location[1]:
                ImageHandler().convert(location, path)
                header = Ccp4Header(path, readHeader=True)
                header.setISPG(1)  # a volume, and not a stack of images
                shifts = volume.getOrigin(force=True).getShifts()
                header.copyCCP4Header(shifts, volume.getSamplingRate(), originField=Ccp4Header.ORIGIN)

    def estimateStep(self) -> None:
        """Run the command; if it refuses a map, fail with its message."""
        program, arguments = Plugin.getProgram(), shlex.join(self._arguments())
        if self.usesGpu():
            program = f"CUDA_VISIBLE_DEVICES=%(GPU)s {program}"  # Scipion inserts the cards with the operator %
            arguments = arguments.replace("%", "%%")
        try:
            self.runJob(program, arguments)
        except CalledProcessError as error:
            message = self.result()["error"] if self.resultPath().exists() else None
            raise EstimateError(message or f"cryores-lite failed with exit code {error.returncode}") from error

    def createOutputStep(self) -> None:
        """Register the maps with the sampling rate and origin of the input, and the numbers."""
        result, source = self.result(), self.inputVolume.get()
        outputs: dict[str, Any] = {}
        for name, (output, kind) in VOLUMES.items():
            if result["files"][name]:
                outputs[output] = kind(location=result["files"][name])
                outputs[output].setSamplingRate(source.getSamplingRate())
                outputs[output].setOrigin(source.getOrigin(force=True).clone())
        numbers = {output: result["percentiles"][name] for name, output in PERCENTILES.items()}
        numbers[GLOBAL_RESOLUTION] = result["global_resolution"]
        floats = {name: Float(round(value, 3)) for name, value in numbers.items() if value is not None}
        self._defineOutputs(**outputs, **floats)
        for output in outputs.values():
            self._defineSourceRelation(self.inputVolume, output)

    # --------------------------- texts ---------------------------

    def _validate(self) -> list[str]:
        errors = []
        volume, halves = self.inputVolume.get(), (self.halfMap1.get(), self.halfMap2.get())
        if volume is not None and not volume.getSamplingRate():
            errors.append("The map has no sampling rate; import it with one.")
        if self.compareHalfMaps:
            if (halves[0] is None) != (halves[1] is None):
                errors.append("One half map is given; give two, or none to use those that are stored with the map.")
            elif halves[0] is None and volume is not None and not volume.hasHalfMaps():
                errors.append("No half maps are stored with the map; give both, or switch off their comparison.")
        return errors

    def _summary(self) -> list[str]:
        if not hasattr(self, VOLUMES["locres"][0]):
            return ["The local resolution has not been estimated yet."]
        result = self.result()
        lowest, low, median, high, highest = (result["percentiles"][name] for name in PERCENTILES)
        if median is None:
            return ["No molecule was found.", *result["warnings"]]
        lines = [
            f"Local resolution: median *{median:.2f} Å*; half of the voxels within {low:.2f} to {high:.2f} Å,"
            f" 95 % within {lowest:.2f} to {highest:.2f} Å."
        ]
        if result["global_resolution"] is not None:
            lines.append(f"Global resolution: {result['global_resolution']:.2f} Å.")
        if result["median_uncertainty"] is not None:
            lines.append(f"Median standard deviation of the error: {result['median_uncertainty']:.2f} Å.")
        if result["comparison"] and result["comparison"]["median_fsc"] is not None:
            lines.append(f"Half maps: median of the local FSC resolution {result['comparison']['median_fsc']:.2f} Å.")
        return lines + [f"Warning: {warning}" for warning in result["warnings"]]

    def _methods(self) -> list[str]:
        if not hasattr(self, VOLUMES["locres"][0]):
            return []
        model = self.result()["model"]
        return [
            f"The local resolution of {self.getObjectTag('inputVolume')} was estimated from the map alone with"
            f" cryores-lite (network {model['name']} {model['version']}), which follows the idea of [Dai2023]."
        ]

    def _citations(self) -> list[str]:
        return ["Dai2023"]

    # --------------------------- files ---------------------------

    def resultPath(self) -> Path:
        """Return the path of the command's table, which has one line."""
        return Path(self._getExtraPath("result.jsonl"))

    def result(self) -> dict[str, Any]:
        """Return the line of JSON of the command; its fields are those of `cryores-lite --json`."""
        row: dict[str, Any] = json.loads(self.resultPath().read_text(encoding="utf-8").splitlines()[-1])
        return row

    def mapPath(self) -> str:
        """Return the path of the map that the command reads."""
        return self._mrcPath(self._locations()[0])

    def _arguments(self) -> list[str]:
        """Return the arguments of the command. The protocol owns its folder, so files are overwritten."""
        map_path, *half_maps = map(self._mrcPath, self._locations())
        arguments = [map_path, "--output-dir", self._getExtraPath(), "--overwrite", "--table", str(self.resultPath())]
        arguments += ["--voxel-size", f"{self.inputVolume.get().getSamplingRate():.8g}"]
        arguments += ["--device", "cuda" if self.usesGpu() else "cpu", "--threads", str(self.numberOfThreads.get())]
        if half_maps:
            arguments += ["--half-maps", *half_maps]
        wanted = {
            "--display": True,  # for the viewer
            "--uncertainty": self.writeUncertainty.get(),
            "--filtered": self.writeFiltered.get(),
            "--report": self.writeReport.get(),
        }
        return arguments + [option for option, is_wanted in wanted.items() if is_wanted]

    def _locations(self) -> list[tuple[int, str]]:
        """Return index and file of the map, and of the half maps if they are compared."""
        volume, halves = self.inputVolume.get(), (self.halfMap1.get(), self.halfMap2.get())
        locations = [volume.getLocation()]
        if self.compareHalfMaps and None not in halves:
            locations += [half.getLocation() for half in halves]
        elif self.compareHalfMaps:
            locations += [(NO_INDEX, name) for name in volume.getHalfMaps(asList=True)]
        return [(index, name[: -len(":mrc")] if name.endswith(":mrc") else name) for index, name in locations]

    def _mrcPath(self, location: tuple[int, str]) -> str:
        """Return the path of a volume as an MRC file: the volume itself, or that of its conversion."""
        index, name = location
        if index == NO_INDEX and name.lower().endswith(MRC_SUFFIXES):
            return name
        stem = Path(name.split(":")[0]).stem
        return str(self._getExtraPath(f"{stem}_{index}.mrc" if index != NO_INDEX else f"{stem}.mrc"))
