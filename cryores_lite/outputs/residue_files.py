"""Residues' local resolution as text: JSON, CSV, ChimeraX attributes and mmCIF. Names are data, whatever they hold."""

from __future__ import annotations

import csv
import io
import json
import re

from cryores_lite.figures.palette import OUTSIDE_COLOUR, hex_colour
from cryores_lite.io.csv_cells import escape_formula
from cryores_lite.outputs.residues import Measured, Residue, with_values

PLAIN = re.compile(r"\w+", re.ASCII)  # means itself in a ChimeraX specifier
BARE = re.compile(r"(?!(data|save|loop|stop|global)_)[a-z0-9][!-~]*", re.IGNORECASE)  # and in CIF without quotes
COLUMNS = ("chain", "seq", "icode", "residue", "atoms", "locres")


def as_json(measured: Measured, colours: tuple[float, float]) -> str:
    """In the form of EMDB's validation files: parallel lists, null where nothing was measured.

    Parameters
    ----------
    colours : Å of the palette's first and last colour
    """
    residues = measured.residues
    data = {
        "unit": "angstrom",
        "averagelocres": measured.average,
        "numberofatoms": sum(residue.atoms for residue in residues),
        "residue": [f"{r.chain}:{r.seq}{r.icode} {r.name}" for r in residues],
        "chain": [r.chain for r in residues],
        "seq": [r.seq for r in residues],
        "icode": [r.icode for r in residues],
        "locres": [r.locres for r in residues],
        "color": [OUTSIDE_COLOUR if r.locres is None else hex_colour(r.locres, *colours) for r in residues],
        "chainlocres": measured.chains,
    }
    whole = {"local_resolution": {"0": {"name": measured.fitted.name, "data": data}}}
    return json.dumps(whole, allow_nan=False) + "\n"


def as_csv(measured: Measured) -> str:
    """One line per residue; the last field, Å, is empty where nothing was measured."""
    out = io.StringIO()
    returns = any("\r" in residue.chain + residue.name for residue in measured.residues)  # not quoted by every Python
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL)
    writer.writerow(COLUMNS)
    rows = ((r.chain, r.seq, r.icode, r.name, r.atoms, r.locres) for r in measured.residues)
    writer.writerows(map(escape_formula, row) for row in rows)
    return out.getvalue()


def as_defattr(measured: Measured) -> str:
    """The residue attribute `locres` for ChimeraX, of measured residues whose chain a specifier can name."""
    known = [r for r in measured.residues if r.locres is not None and has_specifier(r)]
    lines = [f"\t/{r.chain}:{r.seq}{r.icode}\t{r.locres}" for r in known]
    return "\n".join(("attribute: locres", "recipient: residues", *lines)) + "\n"


def as_cif(measured: Measured) -> str:
    """The model with its residues' values in the B-factor column, 0 where nothing was measured."""
    import gemmi

    structure = with_values(measured)
    labels = {name for chain in structure[0] for residue in chain for name in (chain.name, residue.subchain)}
    labels |= {entity.name for entity in structure.entities}
    groups = gemmi.MmcifOutputGroups(all(map(BARE.fullmatch, labels)))
    groups.atoms = groups.group_pdb = True
    if not groups.entity:  # gemmi quotes names among the atoms, and nowhere else
        for number, chain in enumerate(structure[0]):
            for residue in chain:
                residue.subchain = f"c{number}"
    text: str = structure.make_mmcif_document(groups).as_string()
    return text


def left_out(measured: Measured) -> tuple[str, ...]:
    """Tell the user of chains of which the ChimeraX attributes leave residues out."""
    names = sorted({residue.chain for residue in measured.residues if not has_specifier(residue)})
    if not names:
        return ()
    said = ", ".join(map(ascii, names))
    return (f"The .defattr leaves out residues that no ChimeraX specifier can name, of chain {said}.",)


def has_specifier(residue: Residue) -> bool:
    """Whether its chain and number mean themselves in ChimeraX, and nothing else can come of them."""
    return is_plain(residue.chain) and (not residue.icode or is_plain(residue.icode))


def is_plain(name: str) -> bool:
    """Letters, digits and _ only."""
    return PLAIN.fullmatch(name) is not None
