"""`python -m cryores_lite` is the command under another name."""

import sys

import pytest

from tests.runtime.command import COMMAND, run
from tests.runtime.maps import lumps, save

MODULE = [sys.executable, "-m", "cryores_lite"]
NAME = "python -m cryores_lite"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code"),
    [("--help", 0), ("--version", 0), ("", 2), ("--unknown", 2), ("none.mrc", 1), ("--maps-from none.txt", 2)],
)
def test_the_module_says_what_the_command_says_with_its_own_name(tmp_path, words, code):
    command, module = (run(*words.split(), command=name, cwd=tmp_path) for name in (COMMAND, MODULE))
    assert command.returncode == module.returncode == code
    own_name = command.stdout.split()[1] if words == "--help" else "cryores-lite"
    for said, expected in ((module.stdout, command.stdout), (module.stderr, command.stderr)):
        assert (NAME in said) == ("Usage: " in said)
        assert " ".join(said.replace(NAME, own_name).split()) == " ".join(expected.split())


@pytest.mark.slow
def test_the_module_makes_the_files_of_the_command(tmp_path):
    path = save(tmp_path / "m.mrc", lumps())
    for name, command in (("command", COMMAND), ("module", MODULE)):
        run(path, "-q", "-o", tmp_path / name, "-j", 1, command=command, check=True)
    for made in (tmp_path / "command").iterdir():
        assert (tmp_path / "module" / made.name).read_bytes() == made.read_bytes()
