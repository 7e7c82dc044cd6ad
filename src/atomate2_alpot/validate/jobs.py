"""Jobs of the assess stage."""

from __future__ import annotations

from jobflow import job

from atomate2_alpot.schemas import BLOBS, AssessmentDoc, CommitteeDoc, Frames
from atomate2_alpot.validate.assess import assess_committee


@job(data=BLOBS, output_schema=AssessmentDoc)
def assess(committee: CommitteeDoc, test_frames: Frames, iteration: int) -> AssessmentDoc:
    """Measure a committee on the fixed test set; see :func:`assess_committee`."""
    return assess_committee(committee, test_frames, iteration)
