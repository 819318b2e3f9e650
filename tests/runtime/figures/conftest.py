import shutil

import pytest

from tests.runtime.command import rows, run
from tests.runtime.figures.browser import BROWSER_NAMES, Browser
from tests.runtime.paths import EXAMPLE


@pytest.fixture(scope="session")
def example_output(tmp_path_factory):
    """The JSON row of the example map, and the folder with its report and summary."""
    folder = tmp_path_factory.mktemp("example")
    (row,) = rows(run(EXAMPLE, "--report", "--png", "--json", "-o", folder, "-j", 1, check=True))
    return row, folder


@pytest.fixture(scope="session")
def report_path(example_output):
    return example_output[1] / "example_map_locres.html"


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Chromium; tests are skipped if it is not installed."""
    program = next(filter(None, map(shutil.which, BROWSER_NAMES)), None)
    if program is None:
        pytest.skip("Chromium is not installed")
    chromium = Browser(program, tmp_path_factory.mktemp("browser"))
    yield chromium
    chromium.close()
