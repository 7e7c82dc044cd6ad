"""Stage 2, select: query by committee, then a diverse subset of what it finds."""

from __future__ import annotations

from atomate2_alpot.select.criteria import QueryByCommittee
from atomate2_alpot.select.direct import DirectSample, direct_sample
from atomate2_alpot.select.samplers import SAMPLERS, DirectSampler, RandomSampler

__all__ = [
    "SAMPLERS",
    "DirectSample",
    "DirectSampler",
    "QueryByCommittee",
    "RandomSampler",
    "direct_sample",
]
