"""Local resolution of residues in the form of EM validation scores, as scipion-em-validation and 3DBionotes use it.

A document has a `resource`, an `entry` that names map and model, and for each chain the list `seqData` of residues with
`resSeqName`, `resSeqNumber` and `scoreValue`.
"""

from __future__ import annotations

import json
import re
from datetime import date
from typing import Any

from cryores_lite.outputs.residues import MeasuredModel, Residue

RESOURCE = "EMV-cryores_lite-Scores"
EMDB_ENTRY = re.compile(r"emd[-_]?(\d{4,})", re.IGNORECASE)
PDB_ENTRY = re.compile(r"(?:pdb_?)?([1-9][a-z0-9]{3})", re.IGNORECASE)


def as_emv(measured: MeasuredModel, map_stem: str, program: str, citation: str, day: date) -> str:
    """Write the scores of a model's residues as JSON. Residues without a value are left out.

    Parameters
    ----------
    map_stem : name of the map without suffixes; the entry's EMDB code if it contains one
    program : program with its version
    citation : reference of the method
    day : day of the calculation
    """
    model_stem = measured.fitted.name.split(".")[0]
    pdb_entry = PDB_ENTRY.fullmatch(model_stem)
    document = {
        "resource": RESOURCE,
        "entry": {
            "volume_map": volume_map(map_stem),
            "atomic_model": pdb_entry[1].lower() if pdb_entry else model_stem,
            "date": day.isoformat(),
            "source": {
                "method": f"{program}: local resolution in angstrom, mean over the atoms of a residue",
                "citation": citation,
            },
        },
        "chains": [{"name": name, "seqData": residues} for name, residues in _chains(measured).items()],
    }
    return json.dumps(document, allow_nan=False) + "\n"


def volume_map(map_stem: str) -> str:
    """Return the EMDB code in the name of a map, such as EMD-1234, or the name without a code."""
    code = EMDB_ENTRY.search(map_stem)
    return f"EMD-{code[1]}" if code else map_stem


def _chains(measured: MeasuredModel) -> dict[str, list[dict[str, Any]]]:
    """Return the residues with a value by chain. Parts of a chain that are apart in the file are joined."""
    chains: dict[str, list[dict[str, Any]]] = {}
    for residue in measured.residues:
        if residue.locres is not None:
            chains.setdefault(residue.chain, []).append(_score(residue))
    return chains


def _score(residue: Residue) -> dict[str, Any]:
    """Return one residue. The insertion code, which the form does not know, has a field of its own where it exists."""
    code = {"resInsCode": residue.icode} if residue.icode else {}
    return {"resSeqName": residue.name, "resSeqNumber": residue.seq, **code, "scoreValue": residue.locres}
