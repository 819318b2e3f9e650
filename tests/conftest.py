import os
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared():
    """The folder of evaluation data beside the repository; it is not part of it."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("the shared evaluation data are not here")
    return folder


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Our commands on the PATH, run by this Python."""
    programs = tmp_path / "programs"
    programs.mkdir()
    modules = {
        "cryores-lite": "cli",
        "cryores-lite-compare": "comparison.command",
        "cryores-lite-gather": "batch.merge_tables",
    }
    for name, module in modules.items():
        script = programs / name
        script.write_text(
            f'#!/bin/sh\nexec "{sys.executable}" -c "from cryores_lite.{module} import main; main()" "$@"\n'
        )
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
