"""Make a model for a release from atomic structures, as a recipe file describes it.

    python -m training.release training/recipes/v6.json --structures FOLDER --work runs/v6

The stages are: simulate maps, train the local network, train the level network, calibrate, export. The result is in
the folder `release` of --work: the ONNX file, the weights, the calibration, the logs and the list of structures. A
finished stage is skipped, and a stopped run continues with the same command: at the last simulated signal, or at the
last checkpoint of a network. `release.log` lists the stages with times.

`v6.json` begins with the weights of version 5; `from_nothing.json` begins with random weights.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from export.calibrate import calibrate
from export.export import export
from training.data import LEVELS_FOLDER, make_simulated_files
from training.level import LevelConfig, train_level
from training.maps.recipe import Recipe
from training.train import TrainingConfig, train
from training.widen import widen

SPLITS = ("train", "validation")


@dataclass(frozen=True)
class Simulation:
    """Simulated signals of the structures of one split."""

    split: str
    seed: int
    signals: int


@dataclass(frozen=True, kw_only=True)
class ReleaseRecipe:
    """The contents of a recipe file.

    Attributes
    ----------
    name, version : of the model
    data : the simulated signals, with different seeds within a split
    local, level : settings of `TrainingConfig` and `LevelConfig`, without folders; without `local`, the local network
        is the one of `start`
    simulator : settings of the simulator's `Recipe` that differ from the defaults
    start : weights at which the training of both networks starts
    widen_start : whether these weights are those of version 5, without phase coupling (`training.widen`)
    calibration_maps : number of simulated maps for the calibration
    """

    name: str
    version: str
    data: tuple[Simulation, ...]
    level: dict[str, Any]
    local: dict[str, Any] | None = None
    simulator: Recipe = field(default_factory=Recipe)
    start: Path | None = None
    widen_start: bool = False
    calibration_maps: int


def read_recipe(path: Path) -> ReleaseRecipe:
    """Read a recipe file (JSON). Its `start` is relative to its folder.

    Raises
    ------
    SystemExit
        A setting is missing, unknown or invalid, or the weights of `start` do not exist.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    try:
        start = path.parent / content.pop("start") if "start" in content else None
        simulator: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in content.pop("simulator", {}).items()
        }
        data = tuple(Simulation(**row) for row in content.pop("data"))
        recipe = ReleaseRecipe(**content, data=data, simulator=Recipe(**simulator), start=start)
    except (KeyError, TypeError) as error:
        raise SystemExit(f"error: {path}: {error}; training/recipes has examples") from None
    if {simulation.split for simulation in data} != set(SPLITS):
        raise SystemExit(f"error: {path}: data needs signals of both splits, train and validation")
    if (recipe.widen_start or not recipe.local) and not start:
        raise SystemExit(f"error: {path}: widen_start and a recipe without local need start weights")
    if start and not start.exists():
        raise SystemExit(
            f"error: {path}: start: {start} does not exist: copy the weights there, or train from random weights "
            "with training/recipes/from_nothing.json"
        )
    return recipe


class Stage(NamedTuple):
    """A part of a release. `run` starts it, or continues it after a stop."""

    name: str
    run: Callable[[], None]


@dataclass(frozen=True, eq=False, kw_only=True)
class Release:
    """A recipe with its folders, number of processes and device."""

    recipe: ReleaseRecipe
    structures: Path
    work: Path
    workers: int = 1
    device: str = "cpu"

    def stages(self) -> list[Stage]:
        """All stages, in order."""
        return [
            *(Stage(folder_of(simulation), partial(self.simulate, simulation)) for simulation in self.recipe.data),
            Stage("collect", self.collect),
            Stage("local", self.train_local),
            Stage("level", self.train_level),
            Stage("calibrate", self.calibrate),
            Stage("export", self.export),
        ]

    @property
    def out(self) -> Path:
        """The folder of the result."""
        return self.work / "release"

    @property
    def onnx_file(self) -> Path:
        """The model file."""
        return self.out / f"{self.recipe.name}_v{self.recipe.version}.onnx".replace(" ", "_")

    def simulate(self, simulation: Simulation) -> None:
        """Simulate the maps of one split and seed."""
        make_simulated_files(
            self.structures,
            simulation.split,
            simulation.signals,
            simulation.seed,
            self.work / folder_of(simulation),
            recipe=self.recipe.simulator,
            workers=self.workers,
        )

    def collect(self) -> None:
        """Link the files of every split into one folder, and list the structures of the training signals."""
        signals: list[tuple[str, str]] = []
        for simulation in self.recipe.data:
            source, target = self.work / folder_of(simulation), self.work / simulation.split
            (target / LEVELS_FOLDER).mkdir(parents=True, exist_ok=True)
            for path in sorted(source.rglob("*.npz")):
                link(path, target / path.relative_to(source).with_name(f"{simulation.seed}-{path.name}"))
            if simulation.split == "train":
                with (source / "structures.csv").open(newline="") as file:
                    signals += [
                        (f"{simulation.seed}-{row['signal']}", row["structure"]) for row in csv.DictReader(file)
                    ]
        with (self.out / "structures.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("signal", "structure"), *signals])

    def start_weights(self) -> Path | None:
        """The weights at which the training starts, widened if they are those of version 5."""
        if self.recipe.start and self.recipe.widen_start:
            return widen(self.recipe.start, self.work / "widened.safetensors")
        return self.recipe.start

    def train_local(self) -> None:
        """Train the local network, from the last checkpoint if there is one, or copy that of the start."""
        start = self.start_weights()
        if self.recipe.local is None:
            assert start is not None  # `read_recipe` has checked it
            (self.work / "local").mkdir(exist_ok=True)
            shutil.copy2(start, self.work / "local" / "weights.safetensors")
            return
        train(
            TrainingConfig(
                data=self.work / "train",
                validation=self.work / "validation",
                out=self.work / "local",
                start=start,
                device=self.device,
                **self.recipe.local,
            )
        )
        shutil.copy2(self.work / "local" / "log.csv", self.out / "local.csv")

    def train_level(self) -> None:
        """Train the level network, from the last checkpoint if there is one."""
        train_level(
            LevelConfig(
                data=self.work / "train",
                validation=self.work / "validation",
                weights=self.work / "local" / "weights.safetensors",
                out=self.out / "weights.safetensors",
                log=self.out / "level.csv",
                start=self.start_weights(),
                **self.recipe.level,
            )
        )

    def calibrate(self) -> None:
        """Fit the mask's threshold and the scales of the stated errors."""
        recipe = self.recipe
        weights, validation = self.out / "weights.safetensors", self.work / "validation"
        settings = calibrate(weights, validation, self.structures, recipe.calibration_maps, recipe.simulator)
        (self.out / "calibration.json").write_text(json.dumps(settings, indent=1) + "\n")

    def export(self) -> None:
        """Write the ONNX file."""
        settings = json.loads((self.out / "calibration.json").read_text())
        part = self.work / "export" / self.onnx_file.name  # so that no parts of a stopped export are in the result
        part.parent.mkdir(exist_ok=True)
        export(self.out / "weights.safetensors", part, self.recipe.name, self.recipe.version, settings)
        part.replace(self.onnx_file)


def folder_of(simulation: Simulation) -> str:
    """The name of a simulation's folder and stage."""
    return f"simulate-{simulation.split}-{simulation.seed}"


def link(source: Path, target: Path) -> None:
    """Link a file into another folder, or copy it where the file system has no hard links."""
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def claim_folder(work: Path, recipe_file: Path) -> None:
    """Make the folder of a release, or check that it was made for the same recipe.

    Raises
    ------
    SystemExit
        The folder contains a release with other settings.
    """
    text = recipe_file.read_text(encoding="utf-8")
    (work / "finished").mkdir(parents=True, exist_ok=True)
    (work / "release").mkdir(exist_ok=True)
    recipe_copy = work / "recipe.json"
    if recipe_copy.exists() and json.loads(recipe_copy.read_text(encoding="utf-8")) != json.loads(text):
        raise SystemExit(
            f"error: {work} contains a release with other settings ({recipe_copy}): use another --work folder"
        )
    recipe_copy.write_text(text, encoding="utf-8")


def run_stages(release: Release) -> None:
    """Run all stages that are not finished."""

    def log(text: str) -> None:
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}"
        print(line, flush=True)
        with (release.work / "release.log").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    for stage in release.stages():
        finished_mark = release.work / "finished" / stage.name
        if finished_mark.exists():
            log(f"{stage.name}: skipped, finished before")
            continue
        log(f"{stage.name}: started")
        stage.run()
        finished_mark.touch()
        log(f"{stage.name}: finished")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, help="recipe file, such as training/recipes/v6.json")
    parser.add_argument("--structures", type=Path, required=True, help="folder of structures")
    parser.add_argument("--work", type=Path, required=True, help="folder for data, checkpoints, logs and the result")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="number of processes that simulate")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    recipe = read_recipe(args.recipe)
    claim_folder(args.work, args.recipe)
    release = Release(
        recipe=recipe, structures=args.structures, work=args.work, workers=args.workers, device=args.device
    )
    run_stages(release)
    print(release.onnx_file)


if __name__ == "__main__":
    main()
