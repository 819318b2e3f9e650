"""The JSON that is written is the JSON that the schema promises."""

import copy
import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from cryores_lite.outputs.catalogue import KIND
from cryores_lite.outputs.outcome import row
from cryores_lite.outputs.residue_files import as_json
from cryores_lite.outputs.residues import FittedModel, MeasuredModel, Residue
from cryores_lite.outputs.result import MapResult
from tests.runtime.outputs.helpers import GRID, done, job

jsonschema = pytest.importorskip("jsonschema")

SCHEMA = json.loads((files("cryores_lite.outputs") / "schema.json").read_text(encoding="utf-8"))
VALID = jsonschema.Draft202012Validator(SCHEMA)
OUTPUTS = {name: Path(f"{name}.file") for name in KIND}


def as_read(outcome):
    return json.loads(json.dumps(row(outcome), allow_nan=False))


ROWS = {
    "done": as_read(done(np.ones(GRID.shape, bool), OUTPUTS)),
    "empty": as_read(done(np.zeros(GRID.shape, bool), OUTPUTS)),
    "failed": as_read(MapResult(job=job(OUTPUTS), error="no such file")),
}


def residues(*members):
    return json.loads(as_json(MeasuredModel(FittedModel("m.cif", None, np.empty((0, 3))), members), (3.0, 5.0)))


def test_the_schema_is_valid_and_names_every_field():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    row_schema, data = SCHEMA["$defs"]["row"], SCHEMA["$defs"]["data"]
    assert set(row_schema["required"]) == set(row_schema["properties"]) == set(ROWS["done"])
    assert row_schema["properties"]["files"]["required"] == list(KIND)
    written = residues()["local_resolution"]["0"]["data"]
    assert set(data["required"]) == set(data["properties"]) == set(written)


@pytest.mark.parametrize("outcome", ROWS)
def test_the_row_of_every_outcome_is_valid(outcome):
    VALID.validate(ROWS[outcome])


def test_residues_inside_and_outside_the_mask_are_valid():
    VALID.validate(residues(Residue("A", -1, "", "ALA", 5, 3.2), Residue('"', 7, "B", "H\n", 0, None)))
    VALID.validate(residues(Residue("A", 1, "", "ALA", 0, None)))


@pytest.mark.parametrize(
    "spoil",
    [
        {"outcome": "perhaps"},
        {"error": "but it is done"},
        {"median": "4 Å"},
        {"median": -1},
        {"files": {}},
        {"warnings": None},
        {"model": {"name": "net", "version": "1", "sha256": "abc"}},
    ],
)
def test_a_row_with_a_wrong_value_is_invalid(spoil):
    assert not VALID.is_valid(ROWS["done"] | spoil)


def test_a_row_without_a_field_is_invalid():
    for field in ROWS["done"]:
        shortened = copy.deepcopy(ROWS["done"])
        del shortened[field]
        assert not VALID.is_valid(shortened)
