"""A committee against labels: errors of its mean and members, and what its spread knows."""

from __future__ import annotations

from time import perf_counter

import numpy as np
from scipy.stats import spearmanr

from atomate2_alpot.potentials import Committee
from atomate2_alpot.schemas import (
    AssessmentDoc,
    CommitteeDoc,
    CommitteePrediction,
    Frames,
    ParityTable,
    Prediction,
)
from atomate2_alpot.uncertainty.calibration import calibration_from_dict, has_spread
from atomate2_alpot.uncertainty.committee_errors import component_points
from atomate2_alpot.uncertainty.diagnostics import z_statistics
from atomate2_alpot.uncertainty.errors import Quantity, compare, error_metrics


def assess_committee(committee: CommitteeDoc, frames: Frames, iteration: int) -> AssessmentDoc:
    """Measure a committee on labelled frames.

    Members must be on the energy scale of the labels (trained on them); nothing is subtracted.

    Parameters
    ----------
    committee : CommitteeDoc
    frames : Frames
        Labelled; others are left out.
    iteration : int

    Returns
    -------
    AssessmentDoc
        Errors of the committee mean and of each member; Spearman's ρ between spread and
        absolute error of the mean, per value for the energy, per component for the rest; how the
        committee's calibrations, if it has any, stand the test.

    Raises
    ------
    ValueError
        If no frame is labelled.
    """
    begin = perf_counter()
    labelled = frames[frames.is_labelled]
    if not len(labelled):
        raise ValueError(f"test set: none of {len(frames)} frames is labelled; label some first")
    prediction = Committee.from_doc(committee).predict(labelled)
    mean = Prediction(
        prediction.energies.mean(axis=0),
        prediction.forces.mean(axis=0),
        prediction.stress.mean(axis=0),
    )
    spread = Prediction(
        prediction.energies.std(axis=0),
        prediction.forces.std(axis=0),
        prediction.stress.std(axis=0),
    )
    errors, spreads = compare(labelled, mean), compare(labelled, spread)
    return AssessmentDoc(
        iteration=iteration,
        n_frames=len(labelled),
        metrics=error_metrics(labelled, mean),
        member_metrics=[error_metrics(labelled, m) for m in _members(prediction)],
        spread_correlation={name: _correlation(errors[name], spreads[name]) for name in errors},
        calibration=_calibration(committee, labelled, prediction),
        parity=_parity(labelled, errors, spreads),
        seconds=perf_counter() - begin,
    )


def _members(prediction: CommitteePrediction) -> list[Prediction]:
    return [
        Prediction(prediction.energies[m], prediction.forces[m], prediction.stress[m])
        for m in range(prediction.n_members)
    ]


def _calibration(
    committee: CommitteeDoc, frames: Frames, prediction: CommitteePrediction
) -> dict[str, dict[str, float]]:
    """Return the spread of z = error / σ before and after calibration, on labelled components."""
    if not committee.calibrations:
        return {}
    points, found = component_points(frames, prediction), {}
    for name, document in committee.calibrations.items():
        spread, error = points[name].spread, points[name].error
        usable = has_spread(spread)
        if not usable.any():
            continue
        spread, error = spread[usable], error[usable]
        sigma = calibration_from_dict(document).apply(spread)
        found[name] = {
            "z_std_spread": z_statistics(spread, error).std,
            "z_std": z_statistics(sigma, error).std,
            "n_points": float(len(error)),
        }
    return found


def _correlation(error: Quantity, spread: Quantity) -> float:
    if len(error.reference) < 3 or np.ptp(spread.predicted) == 0:
        return float("nan")
    return float(spearmanr(np.abs(error.error), spread.predicted).statistic)


def _parity(
    frames: Frames, errors: dict[str, Quantity], spreads: dict[str, Quantity]
) -> ParityTable:
    ids = np.array(frames.frame_id, dtype=object)
    return ParityTable.concat(
        [
            ParityTable.from_columns(
                quantity=[name] * len(quantity.reference),
                frame_id=ids[quantity.frame].tolist(),
                reference=quantity.reference,
                predicted=quantity.predicted,
                spread=spreads[name].predicted,
            )
            for name, quantity in errors.items()
        ]
    )
