"""How far an estimate is from a known local resolution, split into level and pattern."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from cryores_lite.types import Mask, Volume

INTERVAL = 1.2816  # standard deviations within which a normal distribution holds 80 %


@dataclass(frozen=True)
class Scores:
    """Inside the truth's mask, over voxels that have an estimate (> 0). Lengths in Å, the rest are ratios.

    `level` is median estimate / median truth − 1; `pattern` the relative RMSE once the medians are made equal;
    `constant` the relative RMSE of the true median everywhere; `held` the share of the truth that lies within the
    80 % interval, where an uncertainty is given.
    """

    relative_rmse: float
    rmse: float
    mae: float
    bias: float
    r: float
    level: float
    pattern: float
    coverage: float
    mask_iou: float
    median: float
    true_median: float
    constant: float
    held: float

    def row(self) -> dict[str, float]:
        return asdict(self)


def score(estimate: Volume, truth: Volume, mask: Mask, limit: float = 0.0, uncertainty: Volume | None = None) -> Scores:
    """Compare an estimate (Å, 0 = none) and its standard deviation (Å) with the truth (Å, 0 outside its mask).

    Where a map was low-passed at `limit` Å, both are raised to it: nobody is judged on detail that is not there.
    """
    inside = truth > 0
    nan = float("nan")
    have = inside & np.isfinite(estimate) & (estimate > 0)
    if not have.any():
        return Scores(nan, nan, nan, nan, nan, nan, nan, 0.0, 0.0, nan, nan, nan, nan)
    everywhere, true, found = (np.maximum(v.astype(float), limit) for v in (truth[inside], truth[have], estimate[have]))
    median = float(np.median(everywhere))
    error = found - true
    scaled = found * np.median(true) / np.median(found) - true
    varies = found.std() > 1e-9 and true.std() > 1e-9
    return Scores(
        relative_rmse=_rms(error) / median,
        rmse=_rms(error),
        mae=float(np.abs(error).mean()),
        bias=float(error.mean()),
        r=float(np.corrcoef(found, true)[0, 1]) if varies else 0.0,
        level=float(np.median(found) / np.median(true) - 1),
        pattern=_rms(scaled) / median,
        coverage=float(have.sum() / inside.sum()),
        mask_iou=float((mask & inside).sum() / (mask | inside).sum()),
        median=float(np.median(found)),
        true_median=median,
        constant=_rms(everywhere - median) / median,
        held=nan if uncertainty is None else float((np.abs(error) <= INTERVAL * uncertainty[have]).mean()),
    )


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))
