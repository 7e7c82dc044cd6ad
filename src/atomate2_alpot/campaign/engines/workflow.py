"""What workflows of both engines have in common: their metadata and how their state is told."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from typing import Any

from jobflow import Flow

from atomate2_alpot.campaign.engines.base import KEY, EngineError, WorkflowState
from atomate2_alpot.flows.routing import Routing
from atomate2_alpot.flows.tags import TAGGED, tags_of


class JobKind(Enum):
    """What the state of one job means for its workflow."""

    WAITS = auto()
    READY = auto()
    ACTIVE = auto()
    DONE = auto()
    BROKEN = auto()
    PAUSED = auto()
    TAKEN_OUT = auto()


def workflow_state(kinds: Iterable[JobKind], completed: bool) -> WorkflowState:
    """Return the state of a workflow.

    A failed job does not fail its workflow while others run: what follows may do without it.

    Parameters
    ----------
    kinds : iterable of JobKind
        Of its jobs.
    completed : bool
        Whether the engine calls the workflow completed: its last jobs are, whatever failed before.
    """
    found = set(kinds)
    begun = bool(found & {JobKind.DONE, JobKind.BROKEN})
    if completed:
        return WorkflowState.COMPLETED
    if JobKind.ACTIVE in found or (JobKind.READY in found and begun):
        return WorkflowState.RUNNING
    if JobKind.READY in found:
        return WorkflowState.WAITING
    if JobKind.PAUSED in found:
        return WorkflowState.PAUSED
    if found & {JobKind.BROKEN, JobKind.TAKEN_OUT}:
        return WorkflowState.FAILED
    return WorkflowState.WAITING


def workflow_metadata(flow: Flow, key: str) -> dict[str, Any]:
    """Return the metadata of a flow's workflow: its own or what its jobs agree on, tags, key."""
    jobs = [job.metadata for job, _ in flow.iterflow()]
    shared = {
        name: jobs[0][name]
        for name in TAGGED
        if all(name in m and m[name] == jobs[0][name] for m in jobs)
    }
    metadata = {**(flow.metadata or shared), KEY: key}
    tags = [*metadata.get("tags", []), *tags_of(metadata)]
    return {**metadata, "tags": list(dict.fromkeys(tags))}


def check_routed_engine(routing: Routing, name: str) -> None:
    """Raise ``EngineError`` if routes are those of another engine than the one of this name."""
    told = routing.told_engine()
    if told not in (None, name):
        raise EngineError(
            f"routing is that of {told}, and the engine is {name}: give the routes {name}'s "
            "fields, and routing.engine if it is set"
        )
