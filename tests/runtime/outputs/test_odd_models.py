"""Atomic models with odd records: no position, a byte-order mark, missing columns, chains without names."""

import warnings

import numpy as np
import pytest

from cryores_lite.errors import InputError
from cryores_lite.io.mrc import read_map
from cryores_lite.outputs.residue_files import as_defattr, omission_warnings
from cryores_lite.outputs.residues import measure_residues, read_fitted
from cryores_lite.types import LocalResolution
from tests.runtime.maps import lumps, save

pytest.importorskip("gemmi")
VOXEL_SIZE = 1.5
COLUMNS = [
    "group_PDB",
    "id",
    "type_symbol",
    "label_atom_id",
    "label_alt_id",
    "label_comp_id",
    "label_asym_id",
    "label_seq_id",
]
PLACE = ["Cartn_x", "Cartn_y", "Cartn_z", "pdbx_PDB_model_num"]


def pdb(count=6, chain="A", first_x=None):
    rows = []
    for n in range(1, count + 1):
        x = first_x if first_x and n == 1 else f"{24 + n:8.3f}"
        rows.append(f"ATOM  {n:>5}  CA  ALA {chain}{n:>4}    {x}{24:8.3f}{24:8.3f}  1.00 20.00           C\n")
    return "".join(rows) + "END\n"


def cif(columns):
    values = {"label_alt_id": "."}
    head = "".join(f"_atom_site.{name}\n" for name in (*columns, *PLACE))
    rows = ""
    for n in range(1, 4):
        known = {"group_PDB": "ATOM", "id": n, "type_symbol": "C", "label_atom_id": "CA", "label_comp_id": "ALA"}
        known |= {"label_asym_id": "A", "label_seq_id": n, **values}
        rows += " ".join(str(known[name]) for name in columns) + f" {24 + n} 24 24 1\n"
    return f"data_x\nloop_\n{head}{rows}"


@pytest.fixture
def fit(tmp_path):
    path = save(tmp_path / "map.mrc", lumps((32, 32, 32)), voxel_size=VOXEL_SIZE)
    input_map = read_map(path)
    values = np.full((32, 32, 32), 4, np.float32)
    estimate = LocalResolution(
        values=values,
        mask=values > 0,
        uncertainty=values,
        grid=input_map.density.grid,
        global_resolution=4.0,
        working_voxel_size=1.0,
        provider="none",
    )

    def measured(content, name="model.pdb"):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return measure_residues(read_fitted(tmp_path / name, input_map, path), estimate)

    return measured


def test_an_atom_without_a_position_is_left_out_with_a_note(fit):
    model = fit(pdb(first_x="     nan"))
    assert [residue.locres for residue in model.residues] == [None, *[4.0] * 5]
    assert any("1 of 6 atoms" in note and "no position" in note for note in model.notes)


def test_a_model_without_any_position_is_refused(fit):
    with pytest.raises(InputError, match="position"):
        fit(pdb(count=1, first_x="     nan"))


@pytest.mark.parametrize("content", [pdb(), cif(COLUMNS)])
def test_a_byte_order_mark_loses_no_atom(fit, content):
    plain, marked = fit(content), fit(b"\xef\xbb\xbf" + content.encode())
    assert marked.residues == plain.residues
    assert all(residue.atoms == 1 for residue in marked.residues)


def test_a_missing_column_is_named(fit):
    without = [name for name in COLUMNS if name != "label_alt_id"]
    with pytest.raises(InputError, match="label_alt_id"):
        fit(cif(without), "model.cif")


def test_residues_of_chains_without_names_are_named_by_their_numbers(fit):
    model = fit(pdb(chain=" "))
    assert as_defattr(model).splitlines()[2:] == [f"\t:{n}\t4.0" for n in range(1, 7)]
    assert omission_warnings(model) == ()


def test_a_blank_chain_beside_a_named_one_is_omitted_with_a_warning(fit):
    model = fit(pdb(chain="A").replace("END\n", "") + pdb(chain=" "))
    assert all(line.startswith("\t/A:") for line in as_defattr(model).splitlines()[2:])
    assert len(omission_warnings(model)) == 1
