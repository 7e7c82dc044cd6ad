"""The jobs between stages: they carry state, check policies, and extend the flow.

Every job that extends the flow sets ``pass_manager_config=False``: jobflow would else route the
new jobs to the worker of the job that made them, over whatever they are configured to use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobflow import JobConfig, Response, job

from atomate2_alpot.flows.record import describe_iteration
from atomate2_alpot.flows.state import LoopState, Pointer
from atomate2_alpot.flows.stopping import RUNNING, decide_status
from atomate2_alpot.schemas import (
    BLOBS,
    AssessmentDoc,
    IterationDoc,
    LabelBatchDoc,
    SelectionDoc,
    TrainingDoc,
)

if TYPE_CHECKING:
    from atomate2_alpot.flows.loop import ActiveLearningMaker

EXPANDING = JobConfig(pass_manager_config=False)

TEST_SET = "fixed test set"


@job
def carry(pointers: dict[str, Pointer | list[Pointer] | None]) -> dict[str, Any]:
    """Turn pointers into references inside this job's output, where every engine follows them."""
    return {
        name: [p.reference() for p in target]
        if isinstance(target, list)
        else (target.reference() if target is not None else None)
        for name, target in pointers.items()
    }


@job(data=BLOBS, output_schema=LabelBatchDoc)
def hand_on(batch: LabelBatchDoc) -> LabelBatchDoc:
    """Store labels that are known already as a gather of this campaign."""
    return batch


@job(config=EXPANDING)
def start_loop(
    maker: ActiveLearningMaker, state: LoopState, counts: dict[str, dict[str, Any]]
) -> Response:
    """Begin iteration 1 when the labels made before it satisfy the policy."""
    return Response(replace=maker.iteration_flow(begin_loop(maker, state, counts)))


@job(config=EXPANDING)
def check_selection(
    maker: ActiveLearningMaker, state: LoopState, selection: Pointer, n_selected: int
) -> Response:
    """Go on to labels, or end the campaign when nothing was selected."""
    if n_selected == 0:
        return Response(replace=maker.nothing_selected_flow(state, selection))
    state = state.advanced(n_labels=state.n_labels + n_selected)
    return Response(replace=maker.label_flow(state, selection))


@job(config=EXPANDING)
def check_labels(
    maker: ActiveLearningMaker,
    state: LoopState,
    selection: Pointer,
    labels: Pointer,
    counts: dict[str, Any],
) -> Response:
    """Go on to training if the labels that succeeded satisfy the policy."""
    maker.check_label_policy(counts)
    return Response(replace=maker.train_flow(state, selection, labels))


@job(data=BLOBS, output_schema=IterationDoc)
def record_iteration(
    maker: ActiveLearningMaker,
    state: LoopState,
    selection: SelectionDoc,
    labels: LabelBatchDoc | None = None,
    training: TrainingDoc | None = None,
    assessment: AssessmentDoc | None = None,
) -> IterationDoc:
    """Write the iteration document, with the decision whether to go on."""
    if labels is None:
        verdict = "nothing_selected", why_nothing(selection)
    else:
        metrics = assessment.metrics if assessment else {}
        verdict = decide_status(maker.loop, state.iteration, state.n_labels, metrics)
    return describe_iteration(state, verdict, selection, labels, training, assessment)


@job(config=EXPANDING)
def decide(
    maker: ActiveLearningMaker, state: LoopState, status: str, committee_names: list[str]
) -> Response:
    """Extend the flow by the next iteration, or end it."""
    if status != RUNNING:
        return Response(output={"campaign_id": state.campaign_id, "status": status})
    state = state.advanced(iteration=state.iteration + 1, committee_names=committee_names)
    return Response(replace=maker.iteration_flow(state))


def begin_loop(
    maker: ActiveLearningMaker, state: LoopState, counts: dict[str, dict[str, Any]]
) -> LoopState:
    """Return the state that iteration 1 starts with, without sets of which no label succeeded.

    Parameters
    ----------
    maker : ActiveLearningMaker
    state : LoopState
    counts : dict
        ``n_requested``, ``n_labelled``, ``failures`` of the fixed test set, then of the sets of
        ``state.dataset`` in their order.

    Raises
    ------
    RuntimeError
        See :func:`check_first_labels`.
    """
    check_first_labels(maker, counts)
    sets = dict(counts)
    del sets[TEST_SET]
    kept = [p for p, c in zip(state.dataset, sets.values(), strict=True) if c["n_labelled"]]
    return state.advanced(dataset=kept)


def check_first_labels(maker: ActiveLearningMaker, counts: dict[str, dict[str, Any]]) -> None:
    """Judge the labels made before the loop.

    Raises
    ------
    RuntimeError
        If the test set is empty.
    LabelFractionError
        If too few labels of a set succeeded.
    """
    if counts[TEST_SET]["n_requested"] == 0:
        raise RuntimeError(
            "the fixed test set is empty: the criterion rejects every candidate held out; hold "
            "out more (n_test), or relax the filters of the criterion"
        )
    for what, count in counts.items():
        if count["n_requested"]:  # a committee with references of its own may bring no crystals
            maker.check_label_policy(count, what)


def why_nothing(selection: SelectionDoc) -> str:
    """Say why an iteration selected nothing, and what to do."""
    if selection.n_screened == 0:
        return (
            f"no candidate was left to screen in iteration {selection.iteration}: the space is "
            "used up by the test set and the iterations before. Give more elements or prototypes "
            "(propose.n_atoms, n_elements, ternary_weight), or screen fewer candidates an "
            "iteration, in a new campaign"
        )
    spreads = ", ".join(
        f"{name}: largest {quantiles.get('max', float('nan')):.4g}, threshold "
        f"{selection.thresholds.get(name, float('nan')):g}"
        for name, quantiles in selection.spread_quantiles.items()
    )
    return (
        f"none of {selection.n_screened} candidates was selected (verdicts {selection.verdicts}; "
        f"{spreads}). Lower the thresholds, relax the filters, or screen more candidates"
    )
