"""Commands replace their own parts of a page and nothing else."""

import pytest

from training.evaluation.page import END, START, insert, insert_section

PAGE = f"# Title\n\ntext\n\n{START}\n\n### One\n\na\n\n### One more\n\nb\n\n{END}\n\n## After\n\n### One\n"


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(PAGE, encoding="utf-8")
    return path


def test_a_section_is_replaced_and_the_rest_of_the_page_stays(page):
    insert_section(page, "One", "new")
    assert page.read_text(encoding="utf-8") == PAGE.replace("\n\na\n\n", "\n\nnew\n\n")
    insert_section(page, "One more", "newer")
    insert_section(page, "One", "a")
    assert page.read_text(encoding="utf-8") == PAGE.replace("\n\nb\n\n", "\n\nnewer\n\n")


def test_a_new_section_is_added_between_the_markers(page):
    insert_section(page, "Two", "c")
    assert page.read_text(encoding="utf-8") == PAGE.replace(END, f"### Two\n\nc\n\n{END}")


def test_a_page_without_markers_is_refused(page):
    page.write_text("# Title\n", encoding="utf-8")
    for change in (lambda: insert(page, "x"), lambda: insert_section(page, "One", "x")):
        with pytest.raises(SystemExit, match="markers"):
            change()
