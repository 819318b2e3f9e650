"""Local resolution of the example map. Open it in a notebook editor (cells begin with `# %%`), or run it as a script.

pip install "cryores-lite[plot]"
"""

# %% Read a map: MRC, MAP or CCP4, plain, .gz or .bz2.
import tempfile
from pathlib import Path

from cryores_lite import estimate, estimate_file, plot, read_map

folder = Path(__file__).parent if "__file__" in globals() else Path()
density = read_map(folder / "example_map.mrc").density

# %% Estimate. `result.values` is in Å on the grid of the map, 0 outside `result.mask`.
result = estimate(density.values, density.grid.voxel_size)
print(result)

# %% Percentiles of the local resolution, its expected error, and the fraction of the molecule better than 4 Å.
inside = result.values[result.mask]
print({f"{percent} %": round(value, 2) for percent, value in result.percentiles.items()})
print(f"expected error {result.median_uncertainty:.2f} Å; {(inside < 4).mean():.0%} better than 4 Å")

# %% Plot three slices over the map in grey.
figure = plot(result, density.values)

# %% The same for a file, in one call: it writes the files of the command. A notebook shows slices and paths if
# the last line of a cell is `made`.
output_dir = tempfile.mkdtemp()
made = estimate_file(folder / "example_map.mrc", output_dir=output_dir, outputs=["report", "soft_mask"])
print(made.files["report"], made.numbers["percentiles"]["50"], made.numbers["methods_text"], sep="\n")
