"""Validation scores of residues: every residue with a value is there, by any chain name and number."""

import gzip
import json
from datetime import date
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from cryores_lite.outputs.residues import FittedModel, MeasuredModel, Residue
from cryores_lite.outputs.validation_scores import as_emv
from tests.runtime.command import rows, run
from tests.runtime.outputs.test_residues import expected, measured, molecule, positions, save_linear, saved
from tests.runtime.paths import EXAMPLE

gemmi = pytest.importorskip("gemmi")
jsonschema = pytest.importorskip("jsonschema")

SCHEMA = json.loads((files("cryores_lite.outputs") / "schema.json").read_text(encoding="utf-8"))
NUMBERS = [(-12, ""), (-1, ""), (0, ""), (42, ""), (42, "A"), (42, "B"), (43, ""), (999, ""), (1000, ""), (1001, "")]
NUMBERS += [(9999, "")]
CHAINS = ("A", "AA", "a", "B1", "9")


def scores(measurement, map_stem="a", model="net 1"):
    document = json.loads(as_emv(measurement, map_stem, model, "a paper", date(2026, 1, 31)))
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    return document


def listed(document):
    """(chain, number, insertion code, value) of every residue."""
    return [
        (chain["name"], residue["resSeqNumber"], residue.get("resInsCode", ""), residue["scoreValue"])
        for chain in document["chains"]
        for residue in chain["seqData"]
    ]


def numbered(chains=CHAINS, numbers=NUMBERS):
    """A model with every number in every chain, two atoms each."""
    places = iter(positions(2 * len(chains) * len(numbers)))
    return molecule(
        *(
            (name, [(gemmi.SeqId(n, code or " "), [("N", next(places)), ("C", next(places))]) for n, code in numbers])
            for name in chains
        )
    )


@pytest.mark.parametrize("suffix", [".cif", ".pdb", ".cif.gz"])
def test_residues_of_any_number_code_and_chain_have_their_value(tmp_path, suffix):
    path, structure = tmp_path / f"model{suffix}", numbered()
    if suffix == ".pdb":
        path.write_text(structure.make_pdb_string())
    else:
        saved(tmp_path / "model.cif", structure)
        if suffix.endswith(".gz"):
            path.write_bytes(gzip.compress((tmp_path / "model.cif").read_bytes()))
    found = listed(scores(measured(path, save_linear(tmp_path / "a.mrc"))))
    assert [row[:3] for row in found] == [(chain, *number) for chain in CHAINS for number in NUMBERS]
    truth = expected(tmp_path / "model.cif" if suffix != ".pdb" else path)
    np.testing.assert_allclose([row[3] for row in found], truth, atol=1e-3)


def test_numbers_that_a_pdb_file_writes_in_base_36_are_read(tmp_path):
    structure = numbered(("A",), [(9999, ""), (10000, ""), (12345, "")])
    (tmp_path / "m.pdb").write_text(structure.make_pdb_string())
    found = listed(scores(measured(tmp_path / "m.pdb", save_linear(tmp_path / "a.mrc"))))
    assert [number for _, number, _, _ in found] == [9999, 10000, 12345]


def test_residues_without_a_value_are_left_out_and_parts_of_a_chain_are_joined():
    members = (
        Residue("A", 1, "", "ALA", 5, 3.2),
        Residue("B", 1, "", "ALA", 0, None),
        Residue("C", 1, "", "ALA", 4, 4.0),
        Residue("A", 301, "", "HOH", 1, 3.3),
        Residue("A", 302, "", "HOH", 0, None),
    )
    document = scores(MeasuredModel(FittedModel("m.cif", None, np.empty((0, 3))), members))
    assert listed(document) == [("A", 1, "", 3.2), ("A", 301, "", 3.3), ("C", 1, "", 4.0)]
    assert [chain["name"] for chain in document["chains"]] == ["A", "C"]


@pytest.mark.parametrize(
    ("map_stem", "model", "entry"),
    [
        ("emd_11337", "6zow.cif.gz", ("EMD-11337", "6zow")),
        ("EMD-0407_sharpened", "6NBB.pdb", ("EMD-0407", "6nbb")),
        ("postprocess", "model_refined.cif", ("postprocess", "model_refined")),
        ("emd_12", "run1.pdb", ("emd_12", "run1")),
    ],
)
def test_codes_in_file_names_name_the_entry(map_stem, model, entry):
    member = Residue("A", 1, "", "ALA", 5, 3.2)
    document = scores(MeasuredModel(FittedModel(model, None, np.empty((0, 3))), (member,)), map_stem)
    assert (document["entry"]["volume_map"], document["entry"]["atomic_model"]) == entry


@pytest.mark.parametrize("spoil", [{"resource": "scores"}, {"chains": [{"name": "A", "seqData": [{}]}]}, {"more": 1}])
def test_the_schema_refuses_another_form(spoil):
    member = Residue("A", 1, "", "ALA", 5, 3.2)
    document = scores(MeasuredModel(FittedModel("m.cif", None, np.empty((0, 3))), (member,)))
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(document | spoil)


@pytest.mark.slow
def test_the_command_writes_the_values_of_its_csv(tmp_path):
    places = 48 + np.random.default_rng(1).normal(0, 6, (5, 3))
    model = saved(tmp_path / "1abc.cif", molecule(("AB", [(n + 998, [("C", p)]) for n, p in enumerate(places)])))
    (row,) = rows(run(EXAMPLE, "-o", tmp_path / "out", "--atoms", model, "--json", "-j", 1, check=True))
    document = json.loads(Path(row["files"]["atoms_emv"]).read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    table = [line.split(",") for line in Path(row["files"]["atoms_csv"]).read_text().splitlines()[1:]]
    assert listed(document) == [(chain, int(seq), code, float(v)) for chain, seq, code, _, _, v in table if v]
    assert document["entry"]["atomic_model"] == "1abc"
    assert row["model"]["sha256"][:12] in document["entry"]["source"]["method"]
