from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared():
    """The folder of evaluation data beside the repository; it is not part of it."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("the shared evaluation data are not here")
    return folder
