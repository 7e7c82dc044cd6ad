"""The two documents of campaign mode: one per campaign, one per batch."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from atomate2_alpot.flows.state import LoopState, Pointer
from atomate2_alpot.schemas import Document

RUNNING, PAUSED, FAILED, FINISHED = "running", "paused", "failed", "finished"
"""States of a campaign."""

PLANNED, SUBMITTED, COLLECTED, BROKEN, LOST = (
    "planned",
    "submitted",
    "collected",
    "failed",
    "lost",
)
"""States of a batch; lost: the stage went on without it."""

BATCH_STATES: tuple[str, ...] = (PLANNED, SUBMITTED, COLLECTED, BROKEN, LOST)


class IterationSummary(Document):
    """What one iteration came to."""

    iteration: int
    status: str
    n_labels: int = Field(description="Labels asked for so far.")
    ended_at: datetime


class CampaignDoc(Document):
    """State of a campaign; its size does not depend on the number of labels or workflows."""

    campaign_id: str
    engine: str = Field(description="Name of the engine that its workflows are submitted to.")
    status: str = Field(RUNNING, description="running, paused, failed or finished.")
    message: str = Field("", description="Why it failed, or how it ended.")
    iteration: int = Field(0, description="0: what is labelled before the loop.")
    stage: str
    planned: bool = Field(False, description="Whether all batches of the stage are there.")
    n_batches: int = Field(0, description="Workflows of the stage, once it is planned.")
    stage_since: datetime = Field(description="When the stage began, by the server's clock.")
    created_at: datetime
    loop: LoopState | None = Field(None, description="Where the data of the loop are.")
    pointers: dict[str, Pointer] = Field(
        default_factory=dict, description="Outputs of earlier stages of this iteration."
    )
    history: list[IterationSummary] = Field(default_factory=list)
    config: dict[str, Any] = Field(default_factory=dict, description="Without secrets.")

    @property
    def stage_id(self) -> str:
        """Name of the stage that runs now."""
        return stage_id(self.campaign_id, self.iteration, self.stage)


class BatchDoc(Document):
    """One workflow of a campaign."""

    key: str = Field(description="campaign/iteration/stage/batch: `_id` in the database.")
    stage_id: str
    batch: int
    state: str = PLANNED
    attempt: int = Field(1, description="The attempt that runs, or the one that was collected.")
    first_attempt: int = Field(1, description="The first whose output would be collected.")
    reruns: int = Field(0, description="Times that jobs of this attempt which died ran again.")
    payload: dict[str, Any] = Field(description="What it is about; small, never structures.")
    counts: dict[str, Any] = Field(default_factory=dict, description="What came of it.")
    submitted_at: datetime | None = None
    deadline: datetime | None = Field(None, description="When its lease ends.")
    output: str | None = Field(None, description="Uuid of the output that was collected.")
    message: str = ""


def stage_id(campaign_id: str, iteration: int, stage: str) -> str:
    """Return the name of a stage of an iteration."""
    return f"{campaign_id}/{iteration:03d}/{stage}"


def batch_doc(stage: str, batch: int, payload: dict[str, Any]) -> BatchDoc:
    """Return a planned batch; ``stage`` is a ``stage_id``."""
    return BatchDoc(key=f"{stage}/{batch:06d}", stage_id=stage, batch=batch, payload=payload)
