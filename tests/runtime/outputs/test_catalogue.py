"""Every kind of file in the catalogue can be made and is described."""

import pytest

from cryores_lite.outputs import contents
from cryores_lite.outputs.catalogue import KINDS
from tests.runtime.paths import ROOT


def test_every_kind_of_file_has_a_function_that_makes_its_content_and_every_map_a_label():
    for kind in KINDS:
        assert getattr(contents, kind.name).__doc__
        assert (kind.label is not None) == kind.suffix.endswith(".mrc")


def test_every_kind_of_file_is_described_in_the_documents():
    described = ROOT / "docs" / "outputs.md"
    if not described.exists():
        pytest.skip("the documents are not here")
    text = described.read_text(encoding="utf-8")
    assert [kind.name for kind in KINDS if f"`NAME{kind.suffix}`" not in text] == []
