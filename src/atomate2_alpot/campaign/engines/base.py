"""What campaign mode and ``alpot submit`` ask of a workflow engine."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from jobflow import Flow, JobStore

from atomate2_alpot.flows.routing import Routing

KEY = "alpot_key"
"""Key of a workflow's metadata that names it: made of campaign, iteration, stage and batch."""


class EngineError(RuntimeError):
    """An engine cannot be used as asked; the message says what to do."""


class WorkflowState(StrEnum):
    """State of a workflow, whatever its engine calls it."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    PAUSED = "paused"


class Engine(Protocol):
    """Takes workflows; its own workers run them."""

    name: str

    def check(self) -> None:
        """Raise ``EngineError`` if the engine or its database cannot be used."""
        ...

    def files(self) -> list[Path]:
        """Return the files that hold the engine's credentials."""
        ...

    def job_store(self) -> JobStore:
        """Return the store that jobs write to, connected."""
        ...

    def check_routing(self, routing: Routing) -> None:
        """Raise ``EngineError`` if jobs are sent where the engine has nothing."""
        ...

    def submit(self, flow: Flow, key: str) -> str:
        """Add a flow as a workflow of its own and return its id.

        If there is a workflow with this key, nothing is added and its id is returned.
        """
        ...

    def states(self, keys: Collection[str]) -> dict[str, WorkflowState]:
        """Return the state of each workflow that exists; by key, in one query."""
        ...

    def rerun(self, key: str) -> None:
        """Let the failed jobs of a workflow run again."""
        ...

    def cancel(self, key: str) -> None:
        """Take a workflow out: what has not started never will."""
        ...
