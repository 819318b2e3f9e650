"""Local resolution of residues as text: JSON, CSV, ChimeraX attributes and mmCIF. Any chain name is escaped."""

from __future__ import annotations

import csv
import io
import json
import re

from cryores_lite.figures.palette import OUTSIDE_COLOUR, hex_colour
from cryores_lite.io.csv_cells import escape_formula
from cryores_lite.outputs.residues import MeasuredModel, Residue, with_values

PLAIN_NAME = re.compile(r"\w+", re.ASCII)  # needs no quotes in a ChimeraX specifier
UNQUOTED_IN_CIF = re.compile(r"(?!(data|save|loop|stop|global)_)[a-z0-9][!-~]*", re.IGNORECASE)
COLUMNS = ("chain", "seq", "icode", "residue", "atoms", "locres")


def as_json(measured: MeasuredModel, colours: tuple[float, float]) -> str:
    """Write JSON in the form of EMDB's validation files: parallel lists, null for residues outside the mask.

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
    document = {"local_resolution": {"0": {"name": measured.fitted.name, "data": data}}}
    return json.dumps(document, allow_nan=False) + "\n"


def as_csv(measured: MeasuredModel) -> str:
    """Write CSV with one line per residue; the last field (Å) is empty for residues outside the mask."""
    out = io.StringIO()
    has_return = any("\r" in residue.chain + residue.name for residue in measured.residues)
    # QUOTE_MINIMAL does not quote a carriage return in some versions of Python.
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC if has_return else csv.QUOTE_MINIMAL)
    writer.writerow(COLUMNS)
    rows = ((r.chain, r.seq, r.icode, r.name, r.atoms, r.locres) for r in measured.residues)
    writer.writerows(map(escape_formula, row) for row in rows)
    return out.getvalue()


def as_defattr(measured: MeasuredModel) -> str:
    """Write the ChimeraX attribute `locres` of the measured residues that a specifier can name."""
    listed = [r for r in measured.residues if r.locres is not None and specifier(r, measured)]
    lines = [f"\t{specifier(r, measured)}\t{r.locres}" for r in listed]
    return "\n".join(("attribute: locres", "recipient: residues", *lines)) + "\n"


def as_cif(measured: MeasuredModel) -> str:
    """Write the model as mmCIF, with the local resolution of residues as B-factors, 0 outside the mask."""
    import gemmi

    structure = with_values(measured)
    labels = {name for chain in structure[0] for residue in chain for name in (chain.name, residue.subchain)}
    labels |= {entity.name for entity in structure.entities}
    groups = gemmi.MmcifOutputGroups(all(map(UNQUOTED_IN_CIF.fullmatch, labels)))
    groups.atoms = groups.group_pdb = True
    if not groups.entity:  # gemmi quotes names in the table of atoms only
        for number, chain in enumerate(structure[0]):
            for residue in chain:
                residue.subchain = f"c{number}"
    text: str = structure.make_mmcif_document(groups).as_string()
    return text


def omission_warnings(measured: MeasuredModel) -> tuple[str, ...]:
    """Return a warning that names the chains whose residues the ChimeraX attributes omit."""
    names = sorted({residue.chain for residue in measured.residues if not specifier(residue, measured)})
    if not names:
        return ()
    chains = ", ".join(map(ascii, names))
    return (f"The .defattr file omits residues that no ChimeraX specifier can name, of chain {chains}.",)


def specifier(residue: Residue, measured: MeasuredModel) -> str:
    """Return the ChimeraX specifier of a residue, or an empty text if none can name it without quotes.

    In a model whose chains have no names, the number alone names the residue.
    """
    number = f":{residue.seq}{residue.icode}"
    if residue.icode and not is_plain(residue.icode):
        return ""
    if is_plain(residue.chain):
        return f"/{residue.chain}{number}"
    return "" if any(other.chain.strip() for other in measured.residues) else number


def is_plain(name: str) -> bool:
    """Return whether a name has letters, digits and _ only."""
    return PLAIN_NAME.fullmatch(name) is not None
