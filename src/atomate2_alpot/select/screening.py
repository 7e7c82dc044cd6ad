"""Screening ranges of candidates and choosing from what passed."""

from __future__ import annotations

import logging
from time import perf_counter

import numpy as np
from pydantic import Field

from atomate2_alpot.potentials import Committee
from atomate2_alpot.potentials.references import survey_crystals
from atomate2_alpot.schemas import (
    CandidateSource,
    CommitteeDoc,
    Document,
    Frames,
    MapTable,
    ScoreTable,
    ScreenDoc,
    SelectionDoc,
)
from atomate2_alpot.select.criteria import QueryByCommittee, add_gaps, count_gaps
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
        committee = CommitteeDoc(
            members=committee.members, references=survey.references, reference_source="crystals"
        )
    return CommitteePreparation(committee=committee, crystals=survey.ground_states)


def screen_range(
    source: CandidateSource,
    start: int,
    stop: int,
    iteration: int,
    committee: CommitteeDoc,
    criterion: QueryByCommittee,
) -> ScreenedRange:
    """Build a range of candidates, let the committee judge them, keep what it disagrees on.

    Candidates that a member cannot evaluate are counted; whether they are too many is judged on
    all ranges together, in :func:`choose_frames`.

    Parameters
    ----------
    source : CandidateSource
    start, stop : int
        Range of its order; clipped at its end.
    iteration : int
    committee : CommitteeDoc
    criterion : QueryByCommittee
    """
    begin = perf_counter()
    frames = source.propose(start, stop, iteration)
    prediction = Committee.from_doc(committee).predict(frames, allow_nonfinite=True)
    scores = criterion.score(frames, prediction)
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
    criterion: QueryByCommittee,
    sampler: Sampler,
    exclude: list[Frames],
    choice: dict[str, int],
) -> SelectionDoc:
    """Choose what to label from everything that passed.

    Parameters
    ----------
    screens : list of ScreenedRange
    criterion : QueryByCommittee
        Judges the members, and goes into the document.
    sampler : Sampler
    exclude : list of Frames
        Frames that must not be chosen: labelled before, or held out.
    choice : dict
        ``iteration``, ``budget`` and ``seed``.

    Returns
    -------
    SelectionDoc
        With ``n_selected`` 0 when nothing passed.

    Raises
    ------
    ValueError
        If a member could not evaluate too many of all candidates.
    """
    begin = perf_counter()
    screened = join_screens(screens)
    criterion.check_members(screened.gaps, screened.n_screened)
    known = {i for frames in exclude for i in frames.frame_id}
    passed = screened.passed.unique()
    passed = passed[np.array([i not in known for i in passed.frame_id], dtype=bool)]
    if len(passed):
        sample = sampler.sample(passed, choice["budget"], choice["seed"])
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
        thresholds=criterion.thresholds,
        spread_quantiles=_quantiles(screened.scores),
        sampler=sample.info,
        seed=choice["seed"],
        frames=selected,
        scores=screened.scores,
        map=_map(passed, sample),
        seconds={"screen": screened.seconds, "select": perf_counter() - begin},
    )


def _counts(scores: ScoreTable) -> dict[str, int]:
    names, counts = np.unique(scores.column("verdict").astype(str), return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def _quantiles(scores: ScoreTable) -> dict[str, dict[str, float]]:
    """Summarise each criterion over the candidates it judged, in units of its threshold's."""
    result = {}
    for name in ("energy", "forces", "stress"):
        values = scores.column(f"{name}_spread")
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
