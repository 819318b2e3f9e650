"""Errors of an estimate against a known local resolution, split into level and pattern."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

import numpy as np
import numpy.typing as npt

from cryores_lite.types import Mask, Volume

INTERVAL = 1.2816  # standard deviations within which 80 % of a normal distribution lies


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores over the voxels of the true mask that have an estimate (> 0).

    Attributes
    ----------
    relative_rmse : RMSE / median truth
    rmse, mae, bias : Å
    r : Pearson correlation
    level : median estimate / median truth - 1
    pattern : relative RMSE after the medians are made equal
    coverage : share of the true mask that has an estimate
    mask_iou : intersection over union of the masks
    median, true_median : Å
    constant : relative RMSE of the true median everywhere
    held : share of the truth within the 80 % interval, NaN without an uncertainty
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
        """The scores by name."""
        return asdict(self)


def score(estimate: Volume, truth: Volume, mask: Mask, limit: float = 0.0, uncertainty: Volume | None = None) -> Scores:
    """Compare an estimate (Å, 0 = none) and its standard deviation (Å) with the truth (Å, 0 outside its mask).

    If the map was low-passed at `limit` Å, estimate and truth are raised to it: the map contains no finer detail.
    """
    inside = truth > 0
    nan = float("nan")
    estimated = inside & np.isfinite(estimate) & (estimate > 0)
    if not estimated.any():
        undefined = {field.name: nan for field in fields(Scores)}
        return Scores(**{**undefined, "coverage": 0.0, "mask_iou": 0.0})
    all_true, true, values = (
        np.maximum(v.astype(float), limit) for v in (truth[inside], truth[estimated], estimate[estimated])
    )
    median = float(np.median(all_true))
    error = values - true
    scaled = values * np.median(true) / np.median(values) - true
    varies = values.std() > 1e-9 and true.std() > 1e-9
    return Scores(
        relative_rmse=_rms(error) / median,
        rmse=_rms(error),
        mae=float(np.abs(error).mean()),
        bias=float(error.mean()),
        r=float(np.corrcoef(values, true)[0, 1]) if varies else 0.0,
        level=float(np.median(values) / np.median(true) - 1),
        pattern=_rms(scaled) / median,
        coverage=float(estimated.sum() / inside.sum()),
        mask_iou=float((mask & inside).sum() / (mask | inside).sum()),
        median=float(np.median(values)),
        true_median=median,
        constant=_rms(all_true - median) / median,
        held=nan if uncertainty is None else float((np.abs(error) <= INTERVAL * uncertainty[estimated]).mean()),
    )


def _rms(values: npt.NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))
