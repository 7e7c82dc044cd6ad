"""Stage 6, assess: errors of a committee on frames that never enter training."""

from __future__ import annotations

from atomate2_alpot.validate.assess import assess_committee
from atomate2_alpot.validate.makers import TestSetAssessor

__all__ = ["TestSetAssessor", "assess_committee"]
