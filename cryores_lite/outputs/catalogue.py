"""The list of all output files of a map.

To add an output file, add an entry here and a function of the same name in `contents.py`. Options, help, JSON fields
and output nodes are derived from the entry. `--help` reads this list, so no large library is imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class When(Enum):
    """When a kind of file is written."""

    ALWAYS = auto()
    WITH_HALF_MAPS = auto()
    WITHOUT_MAP = auto()  # half maps only: their average is the map
    WITH_ATOMS = auto()  # an atomic model is given
    FILTERED_WITH_HALF_MAPS = auto()  # --filtered, and half maps are given
    WITH_SCRIPT = auto()  # a script is requested, for a map that ChimeraX cannot open as it is
    ON_REQUEST = auto()  # by an option
    ON_REQUEST_WITH_ATOMS = auto()
    ON_REQUEST_WITH_HALF_MAPS = auto()
    WITH_DIRECTIONS = auto()  # the resolution by direction is requested


@dataclass(frozen=True)
class Node:
    """The type of an output node of RELION and ccpem-pipeliner.

    `number` is the type in RELION 3.1; files without a number are listed for ccpem-pipeliner only.
    """

    label: str
    number: int | None = None


@dataclass(frozen=True, kw_only=True)
class OutputKind:
    """One kind of output file.

    Attributes
    ----------
    name : key in the JSON field `files`, function in `contents.py`, and option if the file is written on request
    suffix : end of the file name, after the name of the map
    when : condition under which the file is written
    help : content in a few words, for the help of the option
    label : content as the label of an MRC file; None for other files. {criterion} stands for that of the local FSC
    value : how the help writes the value of the option, which may be left out; empty for a switch
    node : type in RELION and ccpem-pipeliner; None if the file is not listed there
    """

    name: str
    suffix: str
    when: When = When.ON_REQUEST
    help: str = ""
    label: str | None = None
    value: str = ""
    node: Node | None = None

    @property
    def option(self) -> str:
        """The option that requests the file."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def option_help(self) -> str:
        """The help text of that option."""
        return f"Also write NAME{self.suffix}: {self.help}."


KINDS = (
    OutputKind(
        name="locres",
        suffix="_locres.mrc",
        when=When.ALWAYS,
        label="local resolution (A); 0 = outside mask",
        node=Node("Image3D.mrc.cryores_lite.localresmap", 12),
    ),
    OutputKind(
        name="mask",
        suffix="_mask.mrc",
        when=When.ALWAYS,
        label="mask; 1 = molecule",
        node=Node("Mask3D.mrc.cryores_lite", 7),
    ),
    OutputKind(
        name="locres_fsc",
        suffix="_locres_fsc.mrc",
        when=When.WITH_HALF_MAPS,
        label="local resolution, half-map {criterion} (A); 0 = outside",
    ),
    OutputKind(
        name="difference",
        suffix="_locres_difference.mrc",
        when=When.WITH_HALF_MAPS,
        label="estimate minus half-map {criterion}, loc. res. (A)",
    ),
    OutputKind(
        name="directions",
        suffix="_fsc3d.mrc",
        when=When.ON_REQUEST_WITH_HALF_MAPS,
        help="FSC by direction; and NAME_locres_worst.mrc, NAME_locres_anisotropy.mrc",
        label="FSC by direction in Fourier space; frequency 0 at the centre",
    ),
    OutputKind(
        name="worst",
        suffix="_locres_worst.mrc",
        when=When.WITH_DIRECTIONS,
        label="local resolution in the worst direction (A)",
    ),
    OutputKind(
        name="anisotropy",
        suffix="_locres_anisotropy.mrc",
        when=When.WITH_DIRECTIONS,
        label="local resolution, worst / best direction; 0 = outside mask",
    ),
    OutputKind(
        name="average",
        suffix="_average.mrc",
        when=When.WITHOUT_MAP,
        label="average of two half maps",
    ),
    OutputKind(
        name="uncertainty",
        suffix="_locres_uncertainty.mrc",
        help="1 standard deviation, in Å",
        label="local resolution, 1 standard deviation (A)",
        node=Node("Image3D.mrc.cryores_lite.localresmap.uncertainty", 12),
    ),
    OutputKind(
        name="soft_mask",
        suffix="_softmask.mrc",
        help="the mask extended by EXTEND Å, with a soft edge of EDGE Å; default 3,8",
        label="soft mask; 1 = molecule, 0 = outside",
        value="[EXTEND,EDGE]",
        node=Node("Mask3D.mrc.cryores_lite.soft", 7),
    ),
    OutputKind(
        name="filtered",
        suffix="_locres_filtered.mrc",
        help="the map, low-passed at its local resolution; with half maps, also one weighted by their FSC",
        label="map low-passed at its local resolution",
        node=Node("DensityMap.mrc.cryores_lite.localresfiltered", 11),
    ),
    OutputKind(
        name="filtered_fsc",
        suffix="_locres_fsc_filtered.mrc",
        when=When.FILTERED_WITH_HALF_MAPS,
        label="map weighted by its local half-map FSC",
    ),
    OutputKind(
        name="display",
        suffix="_locres_display.mrc",
        help="local resolution extended outwards, to colour surfaces",
        label="local resolution (A) carried outwards, to colour by",
        node=Node("Image3D.mrc.cryores_lite.localresmap.display", 12),
    ),
    OutputKind(
        name="chimerax",
        suffix="_locres.cxc",
        help="shows the map coloured in ChimeraX",
        node=Node("VisualisationScript.cxc.cryores_lite.chimerax"),
    ),
    OutputKind(
        name="unpacked",
        suffix="_map.mrc",
        when=When.WITH_SCRIPT,
        label="the map, unpacked for ChimeraX",
    ),
    OutputKind(
        name="report",
        suffix="_locres.html",
        help="slices, histogram, surface, numbers",
        node=Node("LogFile.html.cryores_lite.report"),
    ),
    OutputKind(
        name="png",
        suffix="_locres.png",
        help="one picture for a slide",
    ),
    OutputKind(
        name="histogram",
        suffix="_locres_histogram.svg",
        help="the histogram of the local resolution as SVG",
    ),
    OutputKind(
        name="atoms_json",
        suffix="_locres_residues.json",
        when=When.WITH_ATOMS,
    ),
    OutputKind(
        name="atoms_csv",
        suffix="_locres_residues.csv",
        when=When.WITH_ATOMS,
    ),
    OutputKind(
        name="atoms_defattr",
        suffix="_locres.defattr",
        when=When.WITH_ATOMS,
    ),
    OutputKind(
        name="atoms_emv",
        suffix="_locres_emv.json",
        when=When.WITH_ATOMS,
    ),
    OutputKind(
        name="atoms_model",
        suffix="_locres_model.cif",
        when=When.ON_REQUEST_WITH_ATOMS,
        help="the model with the values in its B-factor column",
    ),
)
KIND = {kind.name: kind for kind in KINDS}
ALWAYS = tuple(kind for kind in KINDS if kind.when is When.ALWAYS)
ON_REQUEST = tuple(kind for kind in KINDS if kind.when is When.ON_REQUEST)
ON_REQUEST_WITH_ATOMS = tuple(kind for kind in KINDS if kind.when is When.ON_REQUEST_WITH_ATOMS)
ON_REQUEST_WITH_HALF_MAPS = tuple(kind for kind in KINDS if kind.when is When.ON_REQUEST_WITH_HALF_MAPS)
