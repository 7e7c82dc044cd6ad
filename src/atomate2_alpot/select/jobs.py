"""Jobs of the select stage."""

from __future__ import annotations

from typing import Any

from jobflow import job

from atomate2_alpot.schemas import (
    BLOBS,
    ActiveSetTable,
    CandidateSource,
    CommitteeDoc,
    Frames,
    SelectionDoc,
)
from atomate2_alpot.select.active import ActiveSetsDoc
from atomate2_alpot.select.criterion import Criterion
from atomate2_alpot.select.known import Known
from atomate2_alpot.select.screening import (
    CommitteePreparation,
    ScreenedRange,
    choose_frames,
    join_screens,
    prepare,
    refer,
    screen_range,
)


@job(data=BLOBS, output_schema=CommitteePreparation)
def prepare_committee(committee: CommitteeDoc, elements: list[str]) -> CommitteePreparation:
    """Give a committee its elemental references; see :func:`prepare`."""
    return prepare(committee, elements)


@job(data=BLOBS, output_schema=ActiveSetsDoc)
def active_sets(
    criterion: Criterion, committee: CommitteeDoc, training: list[Frames]
) -> ActiveSetsDoc:
    """Choose active sets of the training frames; see :func:`refer`."""
    return refer(criterion, Known(training=Frames.concat(training), committee=committee))


@job(data=BLOBS, output_schema=ScreenedRange)
def screen(
    source: CandidateSource,
    start: int,
    stop: int,
    iteration: int,
    criterion: Criterion,
    committee: CommitteeDoc,
    active: ActiveSetTable | None = None,
) -> ScreenedRange:
    """Screen one range of candidates; see :func:`screen_range`."""
    known = Known(committee=committee, active=active)
    return screen_range(source, start, stop, iteration, criterion, known)


@job(data=BLOBS, output_schema=ScreenedRange)
def gather_screens(screens: list[ScreenedRange]) -> ScreenedRange:
    """Join some screened ranges, so that no job holds a reference to each."""
    return join_screens(screens)


@job(data=BLOBS, output_schema=SelectionDoc)
def select(
    screens: list[ScreenedRange],
    criterion: Criterion,
    sampler: Any,
    committee: CommitteeDoc,
    training: list[Frames],
    exclude: list[Frames],
    choice: dict[str, int],
) -> SelectionDoc:
    """Choose what to label; see :func:`choose_frames`."""
    known = Known(training=Frames.concat(training), committee=committee)
    return choose_frames(screens, criterion, sampler, exclude, choice, known)
