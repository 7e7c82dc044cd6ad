"""Screening ranges of candidates and choosing from what passed."""

from __future__ import annotations

import dataclasses
import logging
from time import perf_counter
from typing import Any

import numpy as np
from pydantic import Field

from atomate2_alpot.potentials import Committee
from atomate2_alpot.potentials.references import survey_crystals
from atomate2_alpot.schemas import (
    COMPARED,
    CandidateSource,
    CommitteeDoc,
    Document,
    Frames,
    MapTable,
    ScoreTable,
    ScreenDoc,
    SelectionDoc,
)
from atomate2_alpot.select.active import ActiveSetsDoc
from atomate2_alpot.select.criterion import QUANTITIES, Criterion, add_gaps, count_gaps
from atomate2_alpot.select.known import NOTHING_KNOWN, Known
from atomate2_alpot.select.samplers import Sample, Sampler

logger = logging.getLogger(__name__)

QUANTILES: tuple[float, ...] = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


class CommitteePreparation(Document):
    """A committee made ready to compare, and the crystals that its references come from."""

    committee: CommitteeDoc
    crystals: Frames = Field(description="Per element, the crystal the committee finds lowest.")


class ScreenedRange(ScreenDoc):
    """One screened range of candidates, and what each member could not evaluate in it."""

    gaps: dict[str, dict[str, int]] = Field(
        default_factory=dict,
        description="Member -> candidates with NaN or infinity in energy, forces, stress, any.",
    )


def prepare(committee: CommitteeDoc, elements: list[str]) -> CommitteePreparation:
    """Check that members know the elements, and give each its elemental references.

    Parameters
    ----------
    committee : CommitteeDoc
        References that it holds are kept.
    elements : list of str

    Raises
    ------
    PotentialError
        If a member cannot be loaded or does not know an element.
    """
    members = Committee(committee.members)
    members.check_elements(elements)
    survey = survey_crystals(members, elements)
    if committee.references is None:
        update = {"references": survey.references, "reference_source": "crystals"}
        committee = committee.model_copy(update=update)
    return CommitteePreparation(committee=committee, crystals=survey.ground_states)


def refer(criterion: Criterion, known: Known) -> ActiveSetsDoc:
    """Make the active sets that a criterion of extrapolation grades by.

    Raises
    ------
    ValueError
        If there are no training frames, or none can be described.
    """
    begin = perf_counter()
    table = criterion.used(known.committee).reference(known)
    seconds = perf_counter() - begin
    return ActiveSetsDoc(table=table, n_frames=len(known.training), seconds=seconds)


def screen_range(
    source: CandidateSource,
    start: int,
    stop: int,
    iteration: int,
    criterion: Criterion,
    known: Known,
) -> ScreenedRange:
    """Build a range of candidates, judge them, keep those that pass.

    Candidates that a member cannot evaluate are counted; whether they are too many is judged on
    all ranges together, in :func:`choose_frames`.

    Parameters
    ----------
    source : CandidateSource
    start, stop : int
        Range of its order; clipped at its end.
    iteration : int
    criterion : Criterion
    known : Known
        With the committee, and the active sets where the criterion grades.

    Raises
    ------
    ValueError
        If the committee or the active sets lack what the criterion needs.
    """
    begin = perf_counter()
    if known.committee is None:
        raise ValueError("screening needs `known.committee`")
    criterion = criterion.used(known.committee)
    frames = source.propose(start, stop, iteration)
    prediction = Committee.from_doc(known.committee).predict(frames, allow_nonfinite=True)
    scores = criterion.score(frames, prediction, known)
    passed = frames[scores.column("verdict") == "selected"]
    seconds = perf_counter() - begin
    logger.info(
        "screened %d candidates in %.1f s (%.0f/s), %d passed",
        len(frames),
        seconds,
        len(frames) / max(seconds, 1e-9),
        len(passed),
    )
    return ScreenedRange(
        n_screened=len(frames),
        scores=scores,
        passed=passed,
        seconds=seconds,
        gaps=count_gaps(prediction),
    )


def join_screens(screens: list[ScreenedRange]) -> ScreenedRange:
    """Join screened ranges into one document."""
    return ScreenedRange(
        n_screened=sum(s.n_screened for s in screens),
        scores=ScoreTable.concat([s.scores for s in screens]),
        passed=Frames.concat([s.passed for s in screens]),
        seconds=sum(s.seconds for s in screens),
        gaps=add_gaps(s.gaps for s in screens),
    )


def choose_frames(
    screens: list[ScreenedRange],
    criterion: Criterion,
    sampler: Sampler,
    exclude: list[Frames],
    choice: dict[str, int],
    known: Known = NOTHING_KNOWN,
) -> SelectionDoc:
    """Choose what to label from everything that passed.

    Parameters
    ----------
    screens : list of ScreenedRange
    criterion : Criterion
        Judges the members, and goes into the document.
    sampler : Sampler
    exclude : list of Frames
        Frames that must not be chosen, besides the training frames: the test set.
    choice : dict
        ``iteration``, ``budget`` and ``seed``.
    known : Known
        The committee that screened and the frames labelled so far.

    Returns
    -------
    SelectionDoc
        With ``n_selected`` 0 when nothing passed.

    Raises
    ------
    ValueError
        If a member could not evaluate too many of all candidates, or the sampler lacks what it
        needs.
    """
    begin = perf_counter()
    screened = join_screens(screens)
    used = criterion.used(known.committee)
    used.check_members(screened.gaps, screened.n_screened)
    passed = _new(screened.passed, [*exclude, known.training])
    known = dataclasses.replace(known, scores=_scores(screened.scores))
    if len(passed):
        sample = sampler.sample(passed, choice["budget"], choice["seed"], known)
    else:
        sample = Sample(np.zeros(0, int), np.zeros((0, 2)), np.zeros(0, int), {})
        logger.warning("no candidate of %d passed the criterion", screened.n_screened)
    selected = passed[sample.indices]
    return SelectionDoc(
        iteration=choice["iteration"],
        n_screened=screened.n_screened,
        n_passed=len(passed),
        n_selected=len(selected),
        verdicts=_counts(screened.scores),
        thresholds=used.thresholds,
        spread_quantiles=_quantiles(screened.scores, used),
        criterion=_describe_criterion(criterion, used, known, screened.scores),
        sampler=sample.info,
        seed=choice["seed"],
        frames=selected,
        scores=screened.scores,
        map=_map(passed, sample),
        seconds={"screen": screened.seconds, "select": perf_counter() - begin},
    )


def _scores(table: ScoreTable) -> dict[str, float]:
    """Return the score of each candidate that passed, by id."""
    table = table[table.column("verdict") == "selected"]
    pairs = (table.column(name) for name in ("frame_id", "score"))
    return dict(zip(*pairs, strict=True))


def _new(passed: Frames, known: list[Frames]) -> Frames:
    """Return each frame once, without those that are known."""
    ids = {i for frames in known for i in frames.frame_id}
    passed = passed.unique()
    return passed[np.array([i not in ids for i in passed.frame_id], dtype=bool)]


def _describe_criterion(
    asked: Criterion, used: Criterion, known: Known, scores: ScoreTable
) -> dict[str, Any]:
    """Say what judged the candidates, and how many by a fallback or for an unseen element."""
    calibrations = known.committee.calibrations if known.committee is not None else None
    return {
        **used.model_dump(mode="json"),
        "calibrations": calibrations or {},
        "n_by_fallback": 0 if used is asked else len(scores),
        "n_with_unseen_element": int(np.isposinf(scores.column("grade")).sum()),
    }


def _counts(scores: ScoreTable) -> dict[str, int]:
    names, counts = np.unique(scores.column("verdict").astype(str), return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def _quantiles(scores: ScoreTable, criterion: Criterion) -> dict[str, dict[str, float]]:
    """Summarise what was compared over the candidates it was compared for."""
    result = {}
    for name in [n for n in criterion.thresholds if n in COMPARED] or QUANTITIES:
        values = scores.column(COMPARED[name])
        values = values[np.isfinite(values)]
        if len(values):
            quantiles = np.quantile(values, QUANTILES).tolist()
            names = [f"q{100 * q:02.0f}" if q < 1 else "max" for q in QUANTILES]
            result[name] = dict(zip(names, quantiles, strict=True))
    return result


def _map(passed: Frames, sample: Sample) -> MapTable:
    """Map the frames that could be described."""
    kind = np.full(len(passed), "pool", dtype=object)
    kind[sample.indices] = "selected"
    described = np.isfinite(sample.coordinates).all(axis=1)
    passed, kind = passed[described], kind[described]
    coordinates, labels = sample.coordinates[described], sample.labels[described]
    return MapTable.from_columns(
        frame_id=passed.frame_id,
        kind=kind.tolist(),
        pc1=coordinates[:, 0],
        pc2=coordinates[:, 1],
        cluster=labels.astype(np.int32),
    )
