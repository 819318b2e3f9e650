"""Curves of phase coupling: atoms are coupled in fine bands, and the table has a column for each kind."""

import sys

import numpy as np
import pytest

from training.evaluation.coupling_curves import atoms_of_kind, coupling_curve, main
from training.maps.structures import read_manifest

pytestmark = pytest.mark.slow


def test_atoms_are_coupled_in_fine_bands(structures):
    atoms = next(atoms_of_kind(read_manifest(structures, "train"), "protein", np.random.default_rng(0)))
    frequencies, curve = coupling_curve(atoms)
    assert curve[frequencies > 1 / 3].min() > 0.1


def test_the_table_has_a_column_for_every_kind_that_the_folder_holds(structures, monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["coupling_curves", "--structures", str(structures), "--kinds", "protein", "glycan"]
    )
    main()
    header, _, *rows = capsys.readouterr().out.splitlines()
    assert header == "| Å | protein (1) |"
    assert rows[0].startswith("| 40.00 |")
