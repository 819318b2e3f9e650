import csv

import gemmi
import numpy as np
import pytest


@pytest.fixture(scope="session")
def structures(tmp_path_factory):
    """A folder of two small made-up molecules, one to train on and one to validate with."""
    folder = tmp_path_factory.mktemp("structures")
    rows = []
    for number, split in enumerate(("train", "validation")):
        rng = np.random.default_rng(number)
        walk = np.cumsum(rng.normal(0, 1.2, (700, 3)), 0)
        place = 12 * np.tanh((walk - walk.mean(0)) / 12)
        structure = gemmi.Structure()
        structure.name = f"made{number}"
        model, chain, residue = gemmi.Model(1), gemmi.Chain("A"), gemmi.Residue()
        residue.name, residue.seqid = "GLY", gemmi.SeqId(1, " ")
        for n, xyz in enumerate(place):
            atom = gemmi.Atom()
            atom.name, atom.element = f"C{n}", gemmi.Element("CNOS"[n % 4])
            atom.pos = gemmi.Position(*xyz)
            residue.add_atom(atom)
        chain.add_residue(residue)
        model.add_chain(chain)
        structure.add_model(model)
        structure.make_mmcif_document().write_file(str(folder / f"made{number}.cif"))
        rows.append({"id": f"made{number}", "file": f"made{number}.cif", "kind": "protein", "split": split})
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder
