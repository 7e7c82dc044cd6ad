"""The iteration document from the documents of its stages."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from atomate2_alpot.flows.state import LoopState
from atomate2_alpot.schemas import (
    AssessmentDoc,
    IterationDoc,
    LabelBatchDoc,
    SelectionDoc,
    TrainingDoc,
)

PACKAGES: tuple[str, ...] = (
    "atomate2-alpot",
    "atomate2",
    "jobflow",
    "pymatgen",
    "ase",
    "torch",
    "mace-torch",
    "chgnet",
    "matgl",
    "scikit-learn",
    "numpy",
)


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # optional backends
            continue
    return versions


def describe_iteration(
    state: LoopState,
    verdict: tuple[str, str],
    selection: SelectionDoc,
    labels: LabelBatchDoc | None = None,
    training: TrainingDoc | None = None,
    assessment: AssessmentDoc | None = None,
) -> IterationDoc:
    """Condense the documents of one iteration; its size does not grow with the frames.

    Parameters
    ----------
    state : LoopState
        As it was while the iteration ran.
    verdict : tuple of str
        Status and message (see :func:`decide_status`).
    selection : SelectionDoc
    labels, training, assessment : documents or None
        None when the iteration ended before that stage.

    Returns
    -------
    IterationDoc
    """
    functional = labels.functional if labels else "none"
    return IterationDoc(
        campaign_id=state.campaign_id,
        iteration=state.iteration,
        status=verdict[0],
        message=verdict[1],
        functional=functional,
        surrogate=labels.surrogate if labels else None,
        elements=labels.frames.elements if labels else [],
        counts=_counts(state, selection, labels, training, assessment),
        verdicts=selection.verdicts,
        failures=labels.failure_counts if labels else {},
        thresholds=selection.thresholds,
        spread_quantiles=selection.spread_quantiles,
        metrics=assessment.metrics if assessment else {},
        member_metrics=assessment.member_metrics if assessment else [],
        spread_correlation=assessment.spread_correlation if assessment else {},
        calibration=assessment.calibration if assessment else {},
        committee=state.committee_names,
        trained=[m.label for m in training.committee.members] if training else [],
        seeds={
            "select": selection.seed,
            **({f"train_{m.member}": m.seed for m in training.members} if training else {}),
        },
        timings=_timings(selection, training, assessment),
        versions=package_versions(),
    )


def _counts(
    state: LoopState,
    selection: SelectionDoc,
    labels: LabelBatchDoc | None,
    training: TrainingDoc | None,
    assessment: AssessmentDoc | None,
) -> dict[str, int]:
    return {
        "screened": selection.n_screened,
        "passed": selection.n_passed,
        "selected": selection.n_selected,
        "labelled": labels.n_labelled if labels else 0,
        "failed": len(labels.failures) if labels else 0,
        "dataset": int((training.splits.column("member") == 0).sum()) if training else 0,
        "labels_total": state.n_labels,
        "test": assessment.n_frames if assessment else 0,
    }


def _timings(
    selection: SelectionDoc,
    training: TrainingDoc | None,
    assessment: AssessmentDoc | None,
) -> dict[str, float]:
    timings = dict(selection.seconds)
    if training:
        timings["train"] = sum(m.seconds for m in training.members)
    if assessment:
        timings["assess"] = assessment.seconds
    return timings
