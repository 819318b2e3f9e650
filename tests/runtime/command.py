"""Run the commands of the package, and read what they print."""

import json
import os
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from cryores_lite.cli import app

CALL = "from cryores_lite.cli import main; main()"


def installed(script, module):
    """The installed script, or the same command by `python -c` in a checkout that is not installed."""
    path = Path(sys.executable).with_name(script)
    return [str(path)] if path.exists() else [sys.executable, "-c", f"from {module} import main; main()"]


COMMAND = installed("cryores-lite", "cryores_lite.cli")
COMPARE = installed("cryores-lite-compare", "cryores_lite.comparison.command")
GATHER = installed("cryores-lite-gather", "cryores_lite.batch.merge_tables")
RELION = installed("cryores-lite-relion", "cryores_lite.integrations.relion")


def run(*arguments, command=COMMAND, import_first=(), check=False, **options):
    """Run a command to its end, with its output as text.

    Modules in the folders `import_first` replace installed ones. `check` requires exit code 0. Other options are those
    of `subprocess.run`.
    """
    # Users have a buffered standard output, which is flushed at the end.
    environment = {name: value for name, value in options.get("env", os.environ).items() if name != "PYTHONUNBUFFERED"}
    if import_first:
        python_path = os.pathsep.join(map(str, (*import_first, *sys.path)))
        environment["PYTHONPATH"] = python_path
    options["env"] = environment
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 300} | options
    finished = subprocess.run([*command, *map(str, arguments)], check=False, **options)
    if check:
        assert finished.returncode == 0, finished.stderr
    return finished


def python(code, *arguments, **options):
    """Run lines of Python as `run` runs a command; `CALL` is the line that calls our command."""
    return run(*arguments, command=[sys.executable, "-c", code], **options)


def invoke(monkeypatch, folder, *words, app=app):
    """Run a command in this process, with `folder` as the working directory: exit code, and stdout with stderr."""
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(app, words)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def rows(finished):
    """The JSON lines that the command printed, without NaN and Infinity."""

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in finished.stdout.splitlines()]


def one_error(finished, *fragments):
    """Require one line on stderr, an error with these fragments."""
    (line,) = finished.stderr.splitlines()
    assert line.startswith("error: ")
    for fragment in fragments:
        assert fragment in line
