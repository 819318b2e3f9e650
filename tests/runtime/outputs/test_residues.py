"""Local resolution of residues: the values of the map at their atoms, the same in every file."""

import csv
import gzip
import io
import itertools
import json
from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cryores_lite.errors import InputError
from cryores_lite.figures.palette import COLOUR_STOPS, OUTSIDE_COLOUR
from cryores_lite.io.csv_cells import escape_formula
from cryores_lite.io.mrc import read_map
from cryores_lite.outputs import residue_files as residues
from cryores_lite.outputs import residues as atoms
from cryores_lite.types import LocalResolution
from tests.runtime.command import CALL, one_error, python, rows, run
from tests.runtime.maps import save
from tests.runtime.paths import EXAMPLE

gemmi = pytest.importorskip("gemmi")

VOXEL = 1.5
SHAPE = (14, 16, 18)  # x, y, z
FIRST = (-6.0, 9.0, 21.0)  # Å, centre of the first voxel: whole voxels, so that NSTART can say it too
AXES = list(itertools.permutations((1, 2, 3)))
KEYS = ("atoms_json", "atoms_csv", "atoms_defattr", "atoms_model")


def truth(x, y, z):
    """A local resolution that linear interpolation reads off without error."""
    return 4 + 0.05 * (x - FIRST[0]) + 0.02 * (y - FIRST[1]) + 0.01 * (z - FIRST[2])


def save_linear(path, axes=(1, 2, 3), *, origin=(0, 0, 0), first=FIRST, shape=SHAPE, cell=SHAPE):
    """A map that holds `truth`; its NSTART gives `first` as the place of its first voxel, in the order of `axes`."""
    inside = np.stack(
        np.meshgrid(*(f + VOXEL * np.arange(n) for f, n in zip(FIRST, shape, strict=True)), indexing="ij")
    )
    values = truth(*inside).transpose([axis - 1 for axis in reversed(axes)])
    start = (round(first[axis - 1] / VOXEL) for axis in axes)
    fields = dict(zip(("mapc", "mapr", "maps", "nxstart", "nystart", "nzstart"), (*axes, *start), strict=True))
    fields |= dict(zip(("mx", "my", "mz"), cell, strict=True))
    return save(path, values, fields=fields | {"cella": tuple(VOXEL * n for n in cell), "origin": origin})


def answer(path, cut=None):
    """The map itself as its local resolution."""
    source = read_map(path)
    values = np.array(source.density.values)
    if cut:
        values[cut] = 0
    grid = source.density.grid
    return source, LocalResolution(
        values=values,
        mask=values > 0,
        uncertainty=values / 8,
        grid=grid,
        global_resolution=4.0,
        working_voxel_size=VOXEL,
        provider="CPUExecutionProvider",
    )


def molecule(*chains):
    """A model of chains: (name, residues), of (number, atoms), of (element, position)."""
    structure, model = gemmi.Structure(), gemmi.Model(1)
    for name, members in chains:
        chain = gemmi.Chain(name)
        for number, places in members:
            residue = gemmi.Residue()
            residue.name, residue.seqid = "ALA", number if isinstance(number, gemmi.SeqId) else gemmi.SeqId(number, " ")
            for n, (element, position) in enumerate(places):
                atom = gemmi.Atom()
                atom.name, atom.element, atom.pos = f"{element}{n}", gemmi.Element(element), gemmi.Position(*position)
                atom.b_iso = 77
                residue.add_atom(atom)
            chain.add_residue(residue)
        model.add_chain(chain)
    structure.add_model(model)
    return structure


def positions(n, seed=0):
    """Places inside the map, one voxel from its faces or more."""
    rng = np.random.default_rng(seed)
    return np.array(FIRST) + VOXEL * rng.uniform(1, np.array(SHAPE) - 2, (n, 3))


def saved(path, structure):
    structure.setup_entities()
    structure.make_mmcif_document().write_file(str(path))
    return path


@pytest.fixture
def model(tmp_path):
    """Two chains of three residues with three atoms and a hydrogen each."""
    places = positions(24).reshape(2, 3, 4, 3)
    chains = [
        (name, [(number, list(zip("NCOH", four, strict=True))) for number, four in enumerate(three, -1)])
        for name, three in zip("AB", places, strict=True)
    ]
    return saved(tmp_path / "model.cif", molecule(*chains))


def measured(model, map_path, cut=None):
    source, result = answer(map_path, cut)
    return atoms.measure_residues(atoms.read_fitted(model, source, map_path), result)


def expected(model):
    """The truth at the model's atoms, residue by residue."""
    return [
        np.mean([truth(*atom.pos.tolist()) for atom in residue if not atom.element.is_hydrogen])
        for chain in gemmi.read_structure(str(model))[0]
        for residue in chain
    ]


def copy_of(measurement):
    """The model with values as B factors, read again."""
    return gemmi.make_structure_from_block(gemmi.cif.read_string(residues.as_cif(measurement)).sole_block())


def locres(measurement):
    return [residue.locres for residue in measurement.residues]


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize(
    ("name", "words", "warned"),
    [
        ("nstart.mrc", {}, False),
        ("nstart.map", {}, False),
        ("nstart.CCP4", {}, False),
        ("origin.mrc", {"origin": FIRST, "first": (0, 0, 0)}, False),
        ("both.alike.mrc", {"origin": FIRST}, False),
        ("both.map", {"origin": (3.0, 4.0, 5.0)}, True),
        ("both.map.mrc", {"origin": FIRST, "first": (15.0, 3.0, -6.0)}, True),
        ("no_number.mrc", {"origin": (np.nan, 1.0, 2.0)}, False),
        ("crop.mrc", {"cell": (40, 44, 48)}, False),
    ],
)
def test_atoms_get_the_same_values_by_origin_nstart_axis_order_and_suffix(tmp_path, model, axes, name, words, warned):
    measurement = measured(model, save_linear(tmp_path / name, axes, **words))
    np.testing.assert_allclose(locres(measurement), expected(model), atol=1e-3)
    assert [bool("ORIGIN and NSTART" in note) for note in measurement.notes] == [True] * warned


def test_the_suffix_under_compression_places_the_map(tmp_path, model):
    path = save_linear(tmp_path / "a.map", origin=(300.0, 0.0, 0.0))
    packed = path.with_suffix(".map.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_allclose(locres(measured(model, packed)), expected(model), atol=1e-3)


def test_the_users_voxel_size_places_the_atoms(tmp_path, model):
    path = save_linear(tmp_path / "a.mrc", cell=(1, 1, 1))
    with mrcfile.open(path, "r+") as mrc:
        mrc.header.cella = (0, 0, 0)
    source = read_map(path, voxel_size=VOXEL)
    fitted = atoms.read_fitted(model, source, path)
    result = replace(answer(save_linear(tmp_path / "b.mrc"))[1], grid=source.density.grid)
    np.testing.assert_allclose(locres(atoms.measure_residues(fitted, result)), expected(model), atol=1e-3)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(*[st.floats(-3, 9)] * 3), min_size=1, max_size=20))
def test_an_interpolated_value_is_scipys_over_the_share_of_voxels_inside_the_mask(places):
    """NaN if that share is less than a half."""
    values = np.random.default_rng(0).uniform(2, 5, (4, 5, 6))
    values[values < 3] = 0
    total, share = (
        ndimage.map_coordinates(field, np.transpose(places), order=1, mode="grid-constant")
        for field in (values, (values > 0).astype(float))
    )
    expected = np.divide(total, share, out=np.full(len(places), np.nan), where=share >= 0.5)
    is_clear = np.abs(share - 0.5) > 1e-6
    interpolated = atoms.interpolate_at_atoms(values.astype(np.float32), np.array(places))
    np.testing.assert_allclose(interpolated[is_clear], expected[is_clear], rtol=1e-6)


def test_hydrogens_and_deuterium_change_nothing(tmp_path):
    carbon = ("C", (0.0, 15.0, 30.0))
    path = save_linear(tmp_path / "a.mrc")
    models = [
        saved(tmp_path / f"{n}.cif", molecule(("A", [(1, [carbon, *more])])))
        for n, more in enumerate(([], [("H", (6.0, 15.0, 30.0)), ("D", (8.0, 20.0, 30.0))]))
    ]
    without, both = (measured(model, path) for model in models)
    assert without.residues == both.residues
    assert both.residues[0].atoms == 1


def test_atoms_outside_the_mask_are_not_counted_and_a_residue_of_such_atoms_is_null(tmp_path):
    """The mask ends between x = 0 and x = 1.5 Å."""
    path = save_linear(tmp_path / "a.mrc")
    inside, edge, beyond, outside = ((x, 15.0, 30.0) for x in (-3.0, 0.5, 1.0, 9.0))
    chains = [
        ("A", [(1, [("C", inside), ("C", outside)]), (2, [("C", beyond)]), (3, [("H", inside)])]),
        ("B", [(1, [("C", edge)]), (2, [("C", (200.0, 0.0, 0.0))])]),
        ("C", [(1, [("C", outside)])]),
    ]
    model = saved(tmp_path / "m.cif", molecule(*chains))
    measurement = measured(model, path, cut=np.s_[:, :, 5:])
    first, second = round(truth(*inside), 3), round(truth(0, *edge[1:]), 3)
    assert locres(measurement) == pytest.approx([first, None, None, second, None, None], abs=1e-3)
    assert [residue.atoms for residue in measurement.residues] == [1, 0, 0, 1, 0, 0]
    assert measurement.chains == pytest.approx({"A": first, "B": second, "C": None}, abs=1e-3)
    assert "2 of 6 atoms of m.cif" in measurement.notes[0]
    data = json.loads(residues.as_json(measurement, (4, 5)))["local_resolution"]["0"]["data"]
    assert data["locres"] == locres(measurement)
    assert [colour == OUTSIDE_COLOUR for colour in data["color"]] == [value is None for value in data["locres"]]
    assert [row["locres"] for row in csv.DictReader(io.StringIO(residues.as_csv(measurement)))][1] == ""
    assert residues.as_defattr(measurement).count("\t/") == 2


def test_an_empty_mask_gives_nulls_and_a_note_and_never_nan(tmp_path, model):
    measurement = measured(model, save_linear(tmp_path / "a.mrc"), cut=np.s_[:])
    assert set(locres(measurement)) == {None}
    assert "NaN" not in residues.as_json(measurement, (0.1, 0.2))
    assert residues.as_defattr(measurement).splitlines() == ["attribute: locres", "recipient: residues"]
    assert "0 of 18" in measurement.notes[0]


def test_means_of_chains_and_of_the_model_are_means_over_atoms(tmp_path):
    places = positions(6)
    chains = [
        ("A", [(1, [("C", places[0])]), (2, [("C", p) for p in places[1:4]])]),
        ("B", [(1, [("C", p) for p in places[4:]])]),
    ]
    measurement = measured(saved(tmp_path / "m.cif", molecule(*chains)), save_linear(tmp_path / "a.mrc"))
    values = truth(*places.T)
    assert measurement.chains == pytest.approx({"A": values[:4].mean(), "B": values[4:].mean()}, abs=2e-3)
    assert measurement.average == pytest.approx(values.mean(), abs=2e-3)


def test_the_json_has_emdbs_form_and_parallel_lists(tmp_path, model):
    measurement = measured(model, save_linear(tmp_path / "a.mrc"))
    whole = json.loads(residues.as_json(measurement, (4.0, 5.0)))["local_resolution"]["0"]
    data = whole["data"]
    assert (whole["name"], data["unit"], data["numberofatoms"]) == ("model.cif", "angstrom", 18)
    assert {len(data[key]) for key in ("residue", "chain", "seq", "icode", "locres", "color")} == {6}
    assert data["residue"][:3] == ["A:-1 ALA", "A:0 ALA", "A:1 ALA"]
    assert (data["averagelocres"], data["chainlocres"]) == (measurement.average, measurement.chains)
    assert all(colour.startswith("#") and len(colour) == 7 for colour in data["color"])
    ends = json.loads(residues.as_json(measurement, (100.0, 101.0)))["local_resolution"]["0"]["data"]["color"]
    assert set(ends) == {COLOUR_STOPS[0]}


def test_the_attributes_are_chimerax_lines_in_residue_order(tmp_path):
    places = [("C", p) for p in positions(3)]
    model = saved(tmp_path / "m.cif", molecule(("AA", [(-5, places), (gemmi.SeqId(42, "B"), places)])))
    first, second, *lines = residues.as_defattr(measured(model, save_linear(tmp_path / "a.mrc"))).splitlines()
    assert (first, second) == ("attribute: locres", "recipient: residues")
    specifiers, values = zip(*(line.split("\t")[1:] for line in lines), strict=True)
    assert specifiers == ("/AA:-5", "/AA:42B")
    assert values[0] == values[1]
    assert 4 < float(values[0]) < 6


@pytest.mark.parametrize("suffix", [".cif", ".pdb", ".ent", ".cif.gz"])
def test_the_copy_of_the_model_holds_the_values_as_b_factors(tmp_path, model, suffix):
    structure, path = gemmi.read_structure(str(model)), tmp_path / f"other{suffix}"
    structure[0][0][0][0].aniso = gemmi.SMat33f(1, 1, 1, 0, 0, 0)
    text = structure.make_pdb_string() if suffix in (".pdb", ".ent") else structure.make_mmcif_document().as_string()
    path.write_bytes(gzip.compress(text.encode()) if suffix.endswith(".gz") else text.encode())
    measurement = measured(path, save_linear(tmp_path / "a.mrc"))
    copy = copy_of(measurement)
    b_factors = [[atom.b_iso for atom in residue] for chain in copy[0] for residue in chain]
    assert b_factors == [pytest.approx([value] * 4, abs=1e-3) for value in locres(measurement)]
    assert [chain.name for chain in copy[0]] == ["A", "B"]
    pairs = zip(copy[0].all(), structure[0].all(), strict=True)
    assert all(ours.atom.pos.dist(theirs.atom.pos) < 2e-3 for ours, theirs in pairs)
    assert not any(cra.atom.aniso.nonzero() for cra in copy[0].all())
    assert {cra.atom.b_iso for cra in measurement.fitted.structure[0].all()} == {77}


def test_only_the_first_of_several_models_is_taken(tmp_path, model):
    structure = gemmi.read_structure(str(model))
    other = structure[0].clone()
    other.num = 2
    structure.add_model(other)
    measurement = measured(saved(tmp_path / "two.cif", structure), save_linear(tmp_path / "a.mrc"))
    assert len(measurement.residues) == 6
    assert "two.cif contains 2 models" in measurement.notes[0]
    assert len(copy_of(measurement)) == 1


HOSTILE = ["A B", "a,b", "\"'", "A\nB", "/B:1-99", "=1+1", "#1", "*", ";exit", "data_", "ü", "", "[A", "A\tB", "A\rB"]


@pytest.mark.parametrize("name", HOSTILE)
def test_any_chain_name_is_written_as_data_in_every_file(tmp_path, model, name):
    source, result = answer(save_linear(tmp_path / "a.mrc"))
    fitted = atoms.read_fitted(model, source, tmp_path / "a.mrc")
    fitted.structure[0][0].name = name
    table = atoms.measure_residues(fitted, result)
    data = json.loads(residues.as_json(table, (4, 5)))["local_resolution"]["0"]["data"]
    chains = [row["chain"] for row in csv.DictReader(io.StringIO(residues.as_csv(table), newline=""))]
    assert (data["chain"], chains) == ([name] * 3 + ["B"] * 3, [escape_formula(name)] * 3 + ["B"] * 3)
    assert data["chainlocres"].keys() == {name, "B"}
    lines = residues.as_defattr(table).split("\n")[2:]
    writable = ["data_"] if name == "data_" else []
    assert [line.split("\t")[1] for line in lines if line] == [
        f"/{c}:{n}" for c in [*writable, "B"] for n in (-1, 0, 1)
    ]
    assert [ascii(name) in note for note in residues.omission_warnings(table)] == [True] * (not writable)
    copy = copy_of(table)
    assert [chain.name for chain in copy[0]] == [name, "B"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        ("folder", "model"),
        (b"", "model"),
        (b"\x00\xff" * 600, "model"),
        (b"data_x\nloop_\n_atom_site.id\n", "model"),
        (b"ATOM      1  C   ALA A   1      900.000 900.000 900.000  1.00 77.00           C\n", "outside the map's box"),
        (b"ATOM      1  H   ALA A   1        0.000  15.000  30.000  1.00 77.00           H\n", "no atoms"),
        ("data_x\nloop_\n_atom_site.id\n_atom_site.auth_asym_id\n1 'ü'\n".encode("latin-1"), "model"),
    ],
)
def test_a_file_without_a_fitted_model_is_refused_in_one_line(tmp_path, content, words):
    path, map_path = tmp_path / "model.pdb", save_linear(tmp_path / "a.mrc")
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as error:
        atoms.read_fitted(path, read_map(map_path), map_path)
    assert "\n" not in str(error.value)
    assert "model.pdb" in str(error.value)
    assert words in str(error.value)


@pytest.fixture
def inside(tmp_path):
    """A model in the middle of the example map."""
    places = 48 + np.random.default_rng(1).normal(0, 6, (5, 3))
    return saved(tmp_path / "it's; a # model.cif", molecule(("A", [(n, [("C", p)]) for n, p in enumerate(places)])))


@pytest.mark.slow
def test_the_command_writes_the_residues_of_every_map_and_names_the_files(tmp_path, inside):
    other = tmp_path / "an 'other'; # map.mrc"
    other.write_bytes(EXAMPLE.read_bytes())
    words = (EXAMPLE, other, "-o", tmp_path / "out", "--atoms", inside, "--atoms-model", "--json", "-j", 1)
    first, second = rows(run(*words, check=True))
    for key in KEYS:
        of_first, of_second = Path(first["files"][key]), Path(second["files"][key])
        assert of_first.read_bytes() == of_second.read_bytes()
        assert of_first.stem.startswith("example_map_locres")
        assert of_second.stem.startswith("an 'other'; # map_locres")
    local = read_map(first["files"]["locres"]).density
    data = json.loads(Path(first["files"]["atoms_json"]).read_text())["local_resolution"]["0"]["data"]
    near = [
        local.values[tuple(np.rint(cra.atom.pos.tolist()[::-1] / np.array(local.grid.voxel_size)).astype(int))]
        for cra in gemmi.read_structure(str(inside))[0].all()
    ]
    assert min(near) > 0
    np.testing.assert_allclose(data["locres"], near, atol=0.4)


@pytest.mark.slow
def test_without_gemmi_the_command_fails_in_one_line_before_the_long_work(tmp_path, inside):
    """The output folder, which cannot be made, is looked at just before the work: the message came earlier."""
    blocked = f"import sys; sys.modules['gemmi'] = None; {CALL}"
    words = (EXAMPLE, "-o", EXAMPLE / "below", "--atoms", inside)
    finished = python(blocked, *words)
    assert finished.returncode == 1
    one_error(finished, "gemmi", "pip install 'cryores-lite[atoms]'")
    one_error(run(*words), "below")


@pytest.mark.slow
def test_atoms_outside_the_mask_give_a_warning_and_the_maps_are_written(tmp_path):
    corner = saved(tmp_path / "corner.cif", molecule(("A", [(1, [("C", (2.0, 2.0, 2.0))])])))
    (row,) = rows(run(EXAMPLE, "-o", tmp_path / "out", "--atoms", corner, "--json", "-j", 1))
    assert row["outcome"] == "done"
    assert "0 of 1 atoms of corner.cif are inside the mask" in row["warnings"][-1]
