"""Jobs of the select stage."""

from __future__ import annotations

from typing import Any

from jobflow import job

from atomate2_alpot.schemas import (
    BLOBS,
    CandidateSource,
    CommitteeDoc,
    Frames,
    SelectionDoc,
)
from atomate2_alpot.select.criteria import QueryByCommittee
from atomate2_alpot.select.screening import (
    CommitteePreparation,
    ScreenedRange,
    choose_frames,
    join_screens,
    prepare,
    screen_range,
)


@job(data=BLOBS, output_schema=CommitteePreparation)
def prepare_committee(committee: CommitteeDoc, elements: list[str]) -> CommitteePreparation:
    """Give a committee its elemental references; see :func:`prepare`."""
    return prepare(committee, elements)


@job(data=BLOBS, output_schema=ScreenedRange)
def screen(
    source: CandidateSource,
    start: int,
    stop: int,
    iteration: int,
    committee: CommitteeDoc,
    criterion: QueryByCommittee,
) -> ScreenedRange:
    """Screen one range of candidates; see :func:`screen_range`."""
    return screen_range(source, start, stop, iteration, committee, criterion)


@job(data=BLOBS, output_schema=ScreenedRange)
def gather_screens(screens: list[ScreenedRange]) -> ScreenedRange:
    """Join some screened ranges, so that no job holds a reference to each."""
    return join_screens(screens)


@job(data=BLOBS, output_schema=SelectionDoc)
def select(
    screens: list[ScreenedRange],
    criterion: QueryByCommittee,
    sampler: Any,
    exclude: list[Frames],
    choice: dict[str, int],
) -> SelectionDoc:
    """Choose what to label; see :func:`choose_frames`."""
    return choose_frames(screens, criterion, sampler, exclude, choice)
