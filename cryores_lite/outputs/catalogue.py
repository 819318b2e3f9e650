"""Every kind of file that can be written: its suffix, option, help and MRC label."""

from __future__ import annotations

ENDINGS = {  # of the files that can be written, by what they hold
    "locres": "_locres.mrc",
    "mask": "_mask.mrc",
    "locres_fsc": "_locres_fsc.mrc",
    "difference": "_locres_difference.mrc",
    "average": "_average.mrc",
    "uncertainty": "_locres_uncertainty.mrc",
    "filtered": "_locres_filtered.mrc",
    "display": "_locres_display.mrc",
    "chimerax": "_locres.cxc",
    "report": "_locres.html",
    "png": "_locres.png",
    "atoms_json": "_locres_residues.json",
    "atoms_csv": "_locres_residues.csv",
    "atoms_defattr": "_locres.defattr",
    "atoms_model": "_locres_model.cif",
}
SWITCHES = {  # what can be asked for, by what it makes
    "uncertainty": "NAME_locres_uncertainty.mrc: 1 standard deviation, in Å",
    "filtered": "NAME_locres_filtered.mrc: the map at its local resolution",
    "display": "NAME_locres_display.mrc: carried outwards, to colour by",
    "chimerax": "NAME_locres.cxc, which shows the map coloured in ChimeraX",
    "report": "NAME_locres.html: slices, histogram, surface, numbers",
    "png": "NAME_locres.png: one picture for a slide",
}
LABELS = {
    "locres": "local resolution (A); 0 = outside mask",
    "mask": "mask; 1 = molecule",
    "locres_fsc": "local resolution by half-map FSC (A); 0 = outside mask",
    "difference": "estimate minus half-map FSC, local resolution (A)",
    "average": "average of two half maps",
    "uncertainty": "local resolution, 1 standard deviation (A)",
    "filtered": "map low-passed at its local resolution",
    "display": "local resolution (A) carried outwards, to colour by",
}
FILES = (  # what a file can hold
    *(
        "locres",
        "mask",
        "locres_fsc",
        "difference",
        "average",
        "uncertainty",
        "filtered",
        "display",
        "chimerax",
        "report",
        "png",
    ),
    *("atoms_json", "atoms_csv", "atoms_defattr", "atoms_model"),
)
