"""Draw figures of docs/outputs.md from the files that the command writes for the example map.

pip install ".[docs]" && python docs/outputs.py
pip install ".[docs]" && python docs/outputs.py --half-maps ../shared/bench/d2

With --half-maps, only the files of half maps are drawn, from half1.mrc.gz and half2.mrc.gz of a folder.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import numpy as np
from scipy import ndimage

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.colors import LinearSegmentedColormap

from cryores_lite import estimate, plot, read_map
from cryores_lite.figures.display_map import contour_level
from cryores_lite.figures.matplotlib_plot import widest_planes
from cryores_lite.figures.palette import COLOUR_STOPS, DIFFERENCE_STOPS, OUTSIDE_COLOUR, colour_range, difference_limit
from cryores_lite.outputs.soft_mask import soft_mask

ROOT = Path(__file__).resolve().parents[1]
MAP = ROOT / "examples" / "example_map.mrc"
PALETTE = LinearSegmentedColormap.from_list("cryores_lite", COLOUR_STOPS)
DIFFERENCE_PALETTE = LinearSegmentedColormap.from_list("differences", DIFFERENCE_STOPS)
HALF_MAP_PICTURES = {
    "outputs_half_maps.png": ("locres", "locres_fsc", "locres_difference"),
    "outputs_directions.png": ("locres_worst", "locres_anisotropy", "fsc3d"),
    "outputs_fsc_filtered.png": ("average", "locres_filtered", "locres_fsc_filtered"),
}
SURFACE_OVERSAMPLING = 4  # points per voxel along each axis
MIN_PIECE_SIZE = 60 * SURFACE_OVERSAMPLING**3  # points in the smallest piece of surface that is drawn
MAP_OPTIONS = ("--uncertainty", "--filtered", "--display")
SOFT_MASKS = ((3, 8), (6, 10))  # Å: extension and edge


def write_maps(folder: Path) -> dict[str, np.ndarray]:
    """Run the command; return the values of the input and of every map that it writes, by name."""
    code = "from cryores_lite.cli import main; main()"
    subprocess.run([sys.executable, "-c", code, MAP, "-o", folder, "--quiet", *MAP_OPTIONS], check=True)
    endings = ("locres", "mask", "locres_uncertainty", "locres_filtered", "locres_display")
    maps = {ending: read_map(folder / f"{MAP.stem}_{ending}.mrc").density.values for ending in endings}
    return {"map": read_map(MAP).density.values, **maps}


def draw_slices(maps: dict[str, np.ndarray], panels: tuple[str, ...], path: Path) -> None:
    """Draw one slice of each map, where the molecule is widest."""
    y = widest_planes(maps["mask"] > 0)[1]
    low, high = colour_range(maps["locres"])
    figure, axes = plt.subplots(1, len(panels), figsize=(3.1 * len(panels), 3.0), layout="constrained")
    for axis, name in zip(axes, panels, strict=True):
        values = maps[name][:, y]
        axis.set(
            title=f"{MAP.stem}_{name}.mrc" if name != "map" else MAP.name,
            xticks=[],
            yticks=[],
            facecolor=OUTSIDE_COLOUR,
        )
        axis.title.set_fontsize("small")
        if name in ("locres", "locres_display"):
            image = axis.imshow(np.where(values > 0, values, np.nan), cmap=PALETTE, vmin=low, vmax=high, origin="lower")
            figure.colorbar(image, ax=axis, label="Å", shrink=0.8)
        elif name == "locres_uncertainty":
            image = axis.imshow(np.where(values > 0, values, np.nan), cmap="magma", origin="lower")
            figure.colorbar(image, ax=axis, label="Å", shrink=0.8)
        else:
            density = maps["map"][:, y]
            limits = (0, 1) if name == "mask" else (density.min(), density.max())
            axis.imshow(values, cmap="gray", vmin=limits[0], vmax=limits[1], origin="lower")
    figure.savefig(path, dpi=75)


def write_half_map_files(source: Path, folder: Path) -> dict[str, np.ndarray]:
    """Run the command on the half maps of a folder; return the values of every map that it writes, by name."""
    halves = [folder / f"{source.name}_half{n}.mrc.gz" for n in (1, 2)]
    for n, half in enumerate(halves, 1):
        half.write_bytes((source / f"half{n}.mrc.gz").read_bytes())
    code = "from cryores_lite.cli import main; main()"
    options = ("--half-maps", *halves, "--directions", "--filtered", "--quiet")
    subprocess.run([sys.executable, "-c", code, *options], check=True)
    names = {"mask", *(name for names in HALF_MAP_PICTURES.values() for name in names)}
    return {name: read_map(folder / f"{source.name}_{name}.mrc").density.values for name in names}


def draw_half_map_slices(maps: dict[str, np.ndarray], names: tuple[str, ...], stem: str, path: Path) -> None:
    """Draw one slice of each map: through the origin of Fourier space, or where the molecule is widest."""
    inside = maps["mask"] > 0
    y = widest_planes(inside)[1]
    low, high = colour_range(maps["locres_fsc"])
    figure, axes = plt.subplots(1, len(names), figsize=(3.4 * len(names), 3.1), layout="constrained")
    for axis, name in zip(axes, names, strict=True):
        plane = maps["fsc3d"].shape[1] // 2 if name == "fsc3d" else y
        values, shown = maps[name][:, plane], np.where(inside[:, plane], maps[name][:, plane], np.nan)
        axis.set(title=f"{stem}_{name}.mrc", xticks=[], yticks=[], facecolor=OUTSIDE_COLOUR)
        axis.title.set_fontsize("small")
        if name == "fsc3d":
            image, label = axis.imshow(values, cmap="viridis", vmin=0, vmax=1, origin="lower"), "FSC"
        elif name == "locres_difference":
            limit = difference_limit(shown)
            image = axis.imshow(shown, cmap=DIFFERENCE_PALETTE, vmin=-limit, vmax=limit, origin="lower")
            label = "Å"
        elif name == "locres_anisotropy":
            image, label = axis.imshow(shown, cmap="magma", vmin=1, origin="lower"), "worst / best"
        elif name.endswith("filtered") or name == "average":
            axis.imshow(values, cmap="gray", origin="lower")
            continue
        else:
            image, label = axis.imshow(shown, cmap=PALETTE, vmin=low, vmax=high, origin="lower"), "Å"
        figure.colorbar(image, ax=axis, label=label, shrink=0.8)
    figure.savefig(path, dpi=75)


def draw_soft_masks(maps: dict[str, np.ndarray], path: Path) -> None:
    """Draw a slice of the mask and of soft masks, and their values along a line through it."""
    voxel_size, mask = read_map(MAP).density.grid.voxel_size, maps["mask"] > 0
    y, z = widest_planes(mask)[1], widest_planes(mask)[0]
    masks = {"mask": maps["mask"]}
    masks |= {f"soft mask {e},{w}": soft_mask(mask, voxel_size, e, w) for e, w in SOFT_MASKS}
    figure, axes = plt.subplots(1, 1 + len(masks), figsize=(3.1 * (1 + len(masks)), 3.0), layout="constrained")
    for axis, (name, values) in zip(axes, masks.items(), strict=False):
        axis.imshow(values[:, y], cmap="gray", origin="lower")
        axis.axhline(z, color="tab:orange", lw=0.8, ls=":")
        axis.set(title=name, xticks=[], yticks=[])
        axes[-1].plot(np.arange(mask.shape[2]) * voxel_size[2], values[z, y], label=name)
    axes[-1].set(title="along the dotted line", xlabel="x, Å", ylim=(-0.05, 1.45))
    axes[-1].legend(fontsize="x-small", loc="upper right")
    figure.savefig(path, dpi=75)


def draw_surface(maps: dict[str, np.ndarray], path: Path) -> None:
    """Draw the surface of the ChimeraX script, seen along two axes, at its contour level and in its colours."""
    level = contour_level(maps["map"], maps["mask"] > 0)
    low, high = colour_range(maps["locres"])
    inside = ndimage.zoom(maps["map"], SURFACE_OVERSAMPLING, order=3) > level
    pieces, count = ndimage.label(inside)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    inside &= sizes[pieces] >= MIN_PIECE_SIZE  # like `surface dust`
    solid = ndimage.gaussian_filter(inside.astype(np.float32), 1.2)
    local = ndimage.zoom(maps["locres_display"], SURFACE_OVERSAMPLING, order=1)
    figure, axes = plt.subplots(1, 2, figsize=(7, 3.4), layout="constrained")
    for axis, along in zip(axes, (1, 2), strict=True):
        density, local_resolution = np.moveaxis(solid, along, 0), np.moveaxis(local, along, 0)
        hit = density > 0.5
        depth = hit.argmax(0)
        surface_values = np.take_along_axis(local_resolution, depth[None], 0)[0]
        slopes = [np.take_along_axis(slope, depth[None], 0)[0] for slope in np.gradient(density)]
        light = slopes[0] / np.maximum(np.sqrt(sum(slope**2 for slope in slopes)), 1e-6)
        picture = PALETTE((surface_values - low) / (high - low))
        picture[..., :3] *= (0.35 + 0.65 * np.clip(light, 0, 1))[..., None]
        picture[~hit.any(0)] = 1
        rows, columns = (slice(np.flatnonzero(hit.any((0, n)))[0], np.flatnonzero(hit.any((0, n)))[-1]) for n in (2, 1))
        axis.imshow(picture[rows, columns], origin="lower", interpolation="bilinear")
        axis.set_axis_off()
    scale = plt.cm.ScalarMappable(plt.Normalize(low, high), PALETTE)
    figure.colorbar(scale, ax=axes, label="local resolution (Å)", shrink=0.8)
    figure.savefig(path, dpi=75)


def draw_plot(path: Path) -> None:
    """Draw the figure of `cryores_lite.plot`."""
    density = read_map(MAP).density
    plot(estimate(density.values, density.grid.voxel_size), density.values).savefig(path, dpi=65)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half-maps", type=Path, help="folder with half1.mrc.gz and half2.mrc.gz")
    args = parser.parse_args()
    if args.half_maps:
        with tempfile.TemporaryDirectory() as folder:
            maps = write_half_map_files(args.half_maps, Path(folder))
        for name, panels in HALF_MAP_PICTURES.items():
            draw_half_map_slices(maps, panels, args.half_maps.name, ROOT / "docs" / name)
        return
    with tempfile.TemporaryDirectory() as folder:
        maps = write_maps(Path(folder))
    docs = ROOT / "docs"
    draw_slices(maps, ("map", "locres", "mask", "locres_uncertainty"), docs / "outputs_maps.png")
    draw_slices(maps, ("map", "locres_filtered", "locres", "locres_display"), docs / "outputs_extra.png")
    draw_soft_masks(maps, docs / "outputs_softmask.png")
    draw_plot(docs / "outputs_plot.png")
    draw_surface(maps, docs / "outputs_surface.png")


if __name__ == "__main__":
    main()
