"""Score a model on cases, and the physical estimate from which its network starts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryores_lite.method.coupling_estimate import coupling_estimate
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
    """The model's estimate for a case, its scores, and those of the estimates without a network.

    `physical` is from the solvent's noise, `coupling` from the phase coupling.
    """

    case: Case
    estimate: LocalResolution
    scores: Scores
    physical: Scores
    coupling: Scores


def score_case(case: Case, model: Model) -> ScoredCase:
    """Run the model on a case and score it."""
    threads = available_threads()
    estimate = estimate_local_resolution(case.density, model, threads, iter)
    prepared = prepare_map(case.density, threads)
    solvent = prepared.solvent
    coupled = coupling_estimate(prepared.spectra.coupling, solvent.molecule).local_resolution(solvent.molecule)
    fields = resample_to_crop(prepared.frame, solvent.resolution, coupled, solvent.molecule.astype(np.float32))
    physical, coupling, molecule = (np.zeros(case.truth.shape, np.float32) for _ in range(3))
    for whole, part in zip((physical, coupling, molecule), fields, strict=True):
        whole[prepared.frame.box.slices] = part
    mask = molecule > 0.5
    return ScoredCase(
        case,
        estimate,
        score(estimate.values, case.truth, estimate.mask, case.low_pass_limit, estimate.uncertainty),
        score(prepared.scale * physical, case.truth, mask, case.low_pass_limit),
        score(prepared.scale * coupling, case.truth, mask, case.low_pass_limit),
    )
