"""Scipion plugin for cryores-lite: the local resolution of a map, from the map alone."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import Any

import pwem
from pyworkflow import VarTypes
from pyworkflow.utils import Environ

__version__ = "0.1.0"
_logo = "logo.png"
_references = ["Dai2023"]

COMMAND = "cryores-lite"
COMMAND_VERSION = "0.1.0"  # of cryores-lite, which this plugin installs
HOME = "CRYORES_LITE_HOME"
ENVIRONMENT = "env"  # folder of the conda environment in the folder of the package
PYTHON_VARIABLES = ("PYTHONHOME", "PYTHONPATH")  # for Scipion's Python, not for that of the command


class Plugin(pwem.Plugin):
    """Finds and installs the command.

    Scipion and cryores-lite need different versions of the same libraries, so that the command has an environment of
    its own.
    """

    _homeVar = HOME
    _supportedVersions = (COMMAND_VERSION,)
    _url = "https://pypi.org/project/scipion-em-cryores"

    @classmethod
    def _defineVariables(cls) -> None:
        cls._defineEmVar(
            HOME,
            str(Path(f"{COMMAND}-{COMMAND_VERSION}", ENVIRONMENT)),
            description=f"Environment with bin/{COMMAND}, made by conda or venv.",
            var_type=VarTypes.FOLDER,
        )

    @classmethod
    def getProgram(cls) -> str:
        """Return the command, quoted for a shell: that of the environment, else the one on the PATH."""
        return shlex.quote(cls._findCommand() or COMMAND)

    @classmethod
    def _findCommand(cls) -> str | None:
        return shutil.which(COMMAND, path=cls.getHome("bin")) or shutil.which(COMMAND)

    @classmethod
    def getActiveVersion(cls, home: str | None = None, versions: list[str] | None = None) -> str:
        """Return the version in the path of the environment, or '' if the path has none."""
        parts = Path(home or cls.getHome()).parts
        return next((v for v in versions or cls._supportedVersions if any(v in part for part in parts)), "")

    @classmethod
    def getEnviron(cls) -> Any:
        environ = Environ(os.environ)
        for name in PYTHON_VARIABLES:
            environ.pop(name, None)
        return environ

    @classmethod
    def validateInstallation(cls) -> list[str]:
        if cls._findCommand():
            return []
        return [
            f"The command {COMMAND} was not found in {cls.getHome('bin')}, nor on the PATH.",
            f"Install it with `scipion3 installb {COMMAND}-{COMMAND_VERSION}`,"
            f" or set {HOME} in the configuration of Scipion to an environment that has it.",
        ]

    @classmethod
    def defineBinaries(cls, env: Any) -> None:
        done = "installed"
        install = (
            f"{cls.getCondaActivationCmd()} conda create --yes --prefix ./{ENVIRONMENT} python=3.12 pip"
            f" && ./{ENVIRONMENT}/bin/python -m pip install {COMMAND}=={COMMAND_VERSION} && touch {done}"
        )
        env.addPackage(
            COMMAND,
            version=COMMAND_VERSION,
            tar="void.tgz",  # nothing to unpack
            commands=[(install, done)],
            default=True,
        )
