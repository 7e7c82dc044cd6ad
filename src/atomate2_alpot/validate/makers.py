"""`TestSetAssessor`: errors on the fixed test set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from jobflow import Job, Maker

from atomate2_alpot.validate.jobs import assess


@dataclass
class TestSetAssessor(Maker):
    """Measure a committee on frames that never enter training.

    Parameters
    ----------
    name : str
        Name of the job.
    """

    __test__: ClassVar[bool] = False  # pytest: not a test class

    name: str = "assess"

    def make(self, committee: Any, test_frames: Any, iteration: int) -> Job:
        """Make the job; its output is an ``AssessmentDoc``.

        Parameters
        ----------
        committee : CommitteeDoc or reference
        test_frames : Frames or reference
            Labelled.
        iteration : int
        """
        job = assess(committee, test_frames, iteration)
        job.name = self.name
        return job
