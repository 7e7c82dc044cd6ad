"""Where stages meet: the active-learning loop and one preset per published recipe."""

from __future__ import annotations

from atomate2_alpot.flows.loop import ActiveLearningMaker
from atomate2_alpot.flows.mp_aloe import MPAloeMaker
from atomate2_alpot.flows.routing import JobRoute, Routing
from atomate2_alpot.flows.stopping import LoopSettings

__all__ = ["ActiveLearningMaker", "JobRoute", "LoopSettings", "MPAloeMaker", "Routing"]
