"""The histogram of local resolution as a table, in bins of a round width."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

BIN_WIDTHS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)  # Å
MAX_BINS = 50
DECIMALS = 2  # of the edges
VALUES_AT_A_TIME = 1 << 18  # as 64-bit numbers, they fit into a cache of 2 MB
EDGE_TOLERANCE = 1e-5  # of a bin: a value that is so little below an edge is one on the edge, rounded to 32 bits


def binned(
    values: npt.NDArray[np.float32], max_bins: int = MAX_BINS, widths: Sequence[float] = BIN_WIDTHS
) -> tuple[list[float], list[int]]:
    """Count values in at most `max_bins` bins of one width, the smallest of `widths` for which they suffice.

    Parameters
    ----------
    values : (n,) Å
    widths : Å, in ascending order; the last one is used if all others need too many bins

    Returns
    -------
    The edges of the bins (Å), one more than bins, and the number of values in each bin from its lower edge to below its
    upper edge; two empty lists without values.
    """
    if not values.size:
        return [], []
    extent = float(values.max()) - float(values.min())
    width = next((width for width in widths if extent / width < max_bins - 1), widths[-1])
    first, last = bins_of(np.array([values.min(), values.max()]), width).tolist()
    counts = np.zeros(last - first + 1, int)
    for start in range(0, values.size, VALUES_AT_A_TIME):
        counts += np.bincount(bins_of(values[start : start + VALUES_AT_A_TIME], width) - first, minlength=len(counts))
    return [round((first + n) * width, DECIMALS) for n in range(len(counts) + 1)], counts.tolist()


def bins_of(values: npt.NDArray[np.float32], width: float) -> npt.NDArray[np.intp]:
    """Return the number of the bin of each value; bin 0 begins at 0."""
    return np.floor(values / np.float64(width) + EDGE_TOLERANCE).astype(np.intp)
