"""Workflow engines behind one contract."""

from __future__ import annotations

from atomate2_alpot.campaign.engines.base import KEY, Engine, EngineError, WorkflowState

__all__ = ["KEY", "Engine", "EngineError", "WorkflowState"]
