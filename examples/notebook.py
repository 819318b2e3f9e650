"""Local resolution of the example map, cell by cell: open in a notebook (the cells are marked), or run as it is.

pip install "cryores-lite[plot]"
"""

# %% Read a map. Bring your own: MRC, MAP or CCP4, plain, .gz or .bz2.
from pathlib import Path

from cryores_lite import estimate, plot, read_map

folder = Path(__file__).parent if "__file__" in globals() else Path()
found = read_map(folder / "example_map.mrc")
density = found.density

# %% Estimate. `result.values` is in Å on the grid of the map, 0 outside `result.mask`.
result = estimate(density.values, density.grid.voxel_size)
print(result)

# %% Numbers: percentiles, the expected error, and how much of the molecule is better than 4 Å.
inside = result.values[result.mask]
print({f"{percent} %": round(value, 2) for percent, value in result.percentiles.items()})
print(f"expected error {result.median_uncertainty:.2f} Å; {(inside < 4).mean():.0%} better than 4 Å")

# %% Three slices, over the map in grey.
figure = plot(result, density.values)
