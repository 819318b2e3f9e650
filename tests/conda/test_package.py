"""The recipe is built, indexed, solved and installed with conda's own libraries, from a local channel.

The channel holds the distributions of this environment, repacked, so that the installed command works. Only `python`
is a stub: a virtual environment with three links to the interpreter that runs this test.
"""

import asyncio
import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "example_map.mrc"
rattler = pytest.importorskip("rattler")
package_streaming = pytest.importorskip("rattler.package_streaming")
rattler_build = pytest.importorskip("rattler_build")
requirements = pytest.importorskip("packaging.requirements")
utils = pytest.importorskip("packaging.utils")

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
SITE = f"lib/python{VERSION}/site-packages"
PLATFORM = str(rattler.Subdir.current())
ROOTS = ("cryores-lite", "pip", "hatchling")  # installed directly or for the build


def dependencies(distribution):
    """Names of the dependencies of a distribution on this platform, without extras."""
    for line in distribution.requires or ():
        requirement = requirements.Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield utils.canonicalize_name(requirement.name)


def all_distributions():
    """The distributions in `ROOTS` and all of their dependencies, by name."""
    distributions, names = {}, list(ROOTS)
    while names:
        name = names.pop()
        if name not in distributions:
            try:
                distributions[name] = importlib.metadata.distribution(name)
            except importlib.metadata.PackageNotFoundError:
                pytest.skip(f"{name} is not installed here (see .ci/conda)")
            names += dependencies(distributions[name])
    return distributions


def assemble(folder, name, version, depends, entries):
    rattler_build.assemble_package(
        name=name,
        version=version,
        target_platform=PLATFORM,
        build_string="0",
        output_dir=folder / PLATFORM,
        files=entries,
        depends=depends,
        compression_level=1,
    )


@pytest.fixture(scope="module")
def channel(tmp_path_factory):
    """A local channel with all packages except the one under test."""
    folder = tmp_path_factory.mktemp("channel")
    (folder / PLATFORM).mkdir()
    stub = tmp_path_factory.mktemp("python")
    base = Path(sys._base_executable).resolve()
    (stub / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")
    for name in ("python", "python3", f"python{VERSION}"):
        (stub / name).symlink_to(base)
    links = {name: f"bin/{name}" for name in ("python", "python3", f"python{VERSION}")}
    entries = [
        rattler_build.FileEntry.from_paths(stub / name, target)
        for name, target in {"pyvenv.cfg": "pyvenv.cfg", **links}.items()
    ]
    assemble(folder, "python", ".".join(map(str, sys.version_info[:3])), [], entries)
    for name, distribution in all_distributions().items():
        if name == ROOTS[0]:
            continue
        files = [
            file for file in distribution.files or () if ".." not in file.parts and "__pycache__" not in file.parts
        ]
        entries = [
            rattler_build.FileEntry.from_paths(Path(distribution.locate_file(file)), f"{SITE}/{file}") for file in files
        ]
        assemble(folder, name, distribution.version, ["python", *dependencies(distribution)], entries)
    asyncio.run(rattler.index.index_fs(folder))
    return folder


@pytest.fixture(scope="module")
def built(channel, tmp_path_factory):
    """The package that the recipe builds, added to the channel."""
    recipe = rattler_build.Stage0Recipe.from_file(ROOT / "conda" / "recipe.yaml")
    variants = rattler_build.VariantConfig({"python_min": [VERSION]})
    (result,) = recipe.run_build(
        variant_config=variants,
        tool_config=rattler_build.ToolConfiguration(test_strategy="skip"),
        output_dir=tmp_path_factory.mktemp("built"),
        channels=[channel.as_uri()],
    )
    (package,) = result.packages
    (channel / "noarch").mkdir(exist_ok=True)
    copy = channel / "noarch" / Path(package).name
    copy.write_bytes(Path(package).read_bytes())
    asyncio.run(rattler.index.index_fs(channel))
    return copy


@pytest.fixture(scope="module")
def prefix(channel, built, tmp_path_factory):
    """A conda environment, solved and installed from the channel: its folder and the names of its packages."""
    folder = tmp_path_factory.mktemp("prefix") / "env"

    async def make():
        records = await rattler.solve([channel.as_uri()], ["cryores-lite"], platforms=[PLATFORM, "noarch"])
        await rattler.install(records, folder, cache_dir=folder.with_name("cache"), show_progress=False)
        return {record.name.normalized for record in records}

    return folder, asyncio.run(make())


def test_the_package_contains_program_model_and_licence_for_any_python(built, tmp_path):
    package_streaming.extract(built, tmp_path)
    index = json.loads((tmp_path / "info" / "index.json").read_text())
    assert (index["name"], index["noarch"], index["subdir"]) == ("cryores-lite", "python", "noarch")
    assert (tmp_path / "info" / "licenses" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"info", "site-packages"}
    site = tmp_path / "site-packages"
    assert {path.name.split("-")[0] for path in site.iterdir()} == {"cryores_lite"}
    model = Path("cryores_lite") / "models" / "cryores_v6.onnx"
    assert (site / model).read_bytes() == (ROOT / "models" / model.name).read_bytes()


def test_the_solver_installs_the_dependencies_without_torch(prefix):
    _, names = prefix
    assert {"cryores-lite", "python", "numpy", "onnxruntime", "scikit-image"} <= names
    assert "torch" not in names


def test_the_command_runs_from_the_environment(prefix, tmp_path):
    folder, _ = prefix
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    command = [folder / "bin" / "cryores-lite", EXAMPLE, "-o", tmp_path, "--json", "-j", "1"]
    finished = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=300, check=False)
    assert finished.returncode == 0, finished.stderr
    row = json.loads(finished.stdout)
    assert (row["outcome"], row["model"]["name"]) == ("done", "cryores")
    command = [folder / "bin" / "python", "-c", "import cryores_lite; print(cryores_lite.__file__)"]
    located = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=60, check=True)
    assert Path(located.stdout).is_relative_to(folder)
    for name in ("cryores-lite-compare", "cryores-lite-gather", "cryores-lite-relion"):
        assert subprocess.run([folder / "bin" / name, "--help"], env=clean, capture_output=True, check=True).stdout
