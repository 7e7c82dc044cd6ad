"""Workflow engines behind one contract."""

from __future__ import annotations

from atomate2_alpot.campaign.engines.base import KEY, Engine, EngineError, WorkflowState
from atomate2_alpot.campaign.engines.registry import ENGINES, make_engine
from atomate2_alpot.campaign.engines.settings import EngineSettings

__all__ = [
    "ENGINES",
    "KEY",
    "Engine",
    "EngineError",
    "EngineSettings",
    "WorkflowState",
    "make_engine",
]
