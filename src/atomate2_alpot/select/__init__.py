"""Stage 2, select: what passes a criterion, then a sample of it."""

from __future__ import annotations

from atomate2_alpot.select.compose import SAMPLERS, AnySampler, ChainSampler, SplitSampler
from atomate2_alpot.select.criteria import CalibratedQuery, QueryByCommittee
from atomate2_alpot.select.criterion import AllPhysical
from atomate2_alpot.select.direct import DirectSample, direct_sample
from atomate2_alpot.select.grade import CRITERIA, AnyCriterion, ExtrapolationGrade
from atomate2_alpot.select.known import Known
from atomate2_alpot.select.samplers import DirectSampler, RandomSampler, TopSampler
from atomate2_alpot.select.sequential import SequentialSampler

__all__ = [
    "CRITERIA",
    "SAMPLERS",
    "AllPhysical",
    "AnyCriterion",
    "AnySampler",
    "CalibratedQuery",
    "ChainSampler",
    "DirectSample",
    "DirectSampler",
    "ExtrapolationGrade",
    "Known",
    "QueryByCommittee",
    "RandomSampler",
    "SequentialSampler",
    "SplitSampler",
    "TopSampler",
    "direct_sample",
]
