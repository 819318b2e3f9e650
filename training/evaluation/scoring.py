"""Score a model on cases, and the physical estimate from which its network starts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryores_lite.method.network import Model
from cryores_lite.method.pipeline import estimate_local_resolution
from cryores_lite.method.restore import resample_to_crop
from cryores_lite.resources import available_threads
from cryores_lite.types import LocalResolution
from training.evaluation.cases import Case
from training.evaluation.metrics import Scores, score
from training.prepared_map import prepare_map


@dataclass(frozen=True, eq=False)
class ScoredCase:
    """The model's estimate for a case, its scores, and those of the physical estimate."""

    case: Case
    estimate: LocalResolution
    scores: Scores
    physical: Scores


def score_case(case: Case, model: Model) -> ScoredCase:
    """Run the model on a case and score it."""
    threads = available_threads()
    estimate = estimate_local_resolution(case.density, model, threads, iter)
    prepared = prepare_map(case.density, threads)
    solvent = prepared.solvent
    local, molecule = resample_to_crop(prepared.frame, solvent.resolution, solvent.molecule.astype(np.float32))
    physical, mask = np.zeros(case.truth.shape, np.float32), np.zeros(case.truth.shape, bool)
    physical[prepared.frame.box.slices] = prepared.scale * local
    mask[prepared.frame.box.slices] = molecule > 0.5
    return ScoredCase(
        case,
        estimate,
        score(estimate.values, case.truth, estimate.mask, case.low_pass_limit, estimate.uncertainty),
        score(physical, case.truth, mask, case.low_pass_limit),
    )
