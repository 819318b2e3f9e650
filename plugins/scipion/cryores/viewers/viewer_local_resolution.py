"""The viewer: coloured slices, histogram, surface in ChimeraX, and the page."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Any, Callable

from pwem.constants import AX_Z
from pwem.viewers import ChimeraView, EmPlotter, LocalResolutionViewer
from pwem.wizards import ColorScaleWizardBase
from pyworkflow.protocol.params import EnumParam, LabelParam
from pyworkflow.viewer import DESKTOP_TKINTER, View

from cryores.protocols import CryoresProtLocalResolution

AXES = ("x", "y", "z")
COLOURS = "cividis_r"  # those of cryores-lite: light is a fine resolution
INTERVALS = 11
BINS = 50
SLICES = range(3, 7)  # of nine, along the axis


class PageView(View):
    """Opens a page in the browser."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def show(self) -> None:
        webbrowser.open(self.path.resolve().as_uri())


class CryoresLocalResolutionViewer(LocalResolutionViewer):
    """Shows the local resolution in slices, as a histogram and on the surface of the map."""

    _label = "viewer local resolution"
    _targets = [CryoresProtLocalResolution]  # noqa: RUF012 # Scipion reads a list of the class
    _environments = [DESKTOP_TKINTER]  # noqa: RUF012

    def _defineParams(self, form: Any) -> None:
        form.addSection(label="Visualization")
        form.addParam("showReport", LabelParam, label="Show the report")
        form.addParam("showHistogram", LabelParam, label="Show the histogram")
        group = form.addGroup("Coloured slices and surface")
        group.addParam(
            "sliceAxis",
            EnumParam,
            default=AX_Z,
            choices=list(AXES),
            display=EnumParam.DISPLAY_HLIST,
            label="Slice axis",
        )
        group.addParam("showSlices", LabelParam, label="Show slices of the local resolution")
        group.addParam("showChimera", LabelParam, label="Show the map, coloured, in ChimeraX")
        percentiles = self.protocol.result()["percentiles"]
        ColorScaleWizardBase.defineColorScaleParams(
            group,
            defaultHighest=round(percentiles["97.5"] or 10, 2),
            defaultLowest=round(percentiles["2.5"] or 0, 2),
            defaultIntervals=INTERVALS,
            defaultColorMap=COLOURS,
        )

    def _getVisualizeDict(self) -> dict[str, Callable[[str], list[Any]]]:
        return {
            "showReport": self._showReport,
            "showHistogram": self._showHistogram,
            "showSlices": self._showSlices,
            "showChimera": self._showChimera,
        }

    def _showReport(self, _param: str) -> list[Any]:
        page = self.protocol.result()["files"]["report"]
        if page is None:
            return [self.warnMessage("The protocol wrote no report; run it again with the option Report.", "Report")]
        return [PageView(Path(page))]

    def _showHistogram(self, _param: str) -> list[Any]:
        values = self._values().compressed()
        plotter = EmPlotter(windowTitle="Histogram of the local resolution")
        plotter.createSubPlot("Local resolution in the molecule", "Local resolution (Å)", "Voxels")
        plotter.hist(values, bins=BINS)
        return [plotter]

    def _showSlices(self, _param: str) -> list[Any]:
        values, axis = self._values(), self.getEnumText("sliceAxis")
        plotter = EmPlotter(x=2, y=2, mainTitle=f"Local resolution (Å), slices along {axis}")
        for part in SLICES:
            number = values.shape[2 - AXES.index(axis)] * part // 9
            axes = plotter.createSubPlot(f"Slice {number + 1}", "", "")
            image = axes.imshow(
                self.getSliceImage(values, number, axis),
                vmin=self.lowest.get(),
                vmax=self.highest.get(),
                cmap=self._getColorName(),
                interpolation="nearest",
                origin="lower",
            )
        plotter.getColorBar(image)
        return [plotter]

    def _showChimera(self, _param: str) -> list[Any]:
        script = self.protocol._getExtraPath("chimera_resolution_map.py")
        self.createChimeraScript(
            script,
            self.protocol.result()["files"]["display"],
            self.protocol.mapPath(),
            self.protocol.inputVolume.get().getSamplingRate(),
            numColors=self.intervals.get(),
            lowResLimit=self.highest.get(),
            highResLimit=self.lowest.get(),
        )
        return [ChimeraView(script)]

    def _values(self) -> Any:
        """Return the local resolution in Å, masked outside the molecule."""
        return self.getImgData(self.protocol.result()["files"]["locres"])[0]
