"""What `alpot campaign status` shows."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from atomate2_alpot.campaign.documents import (
    BROKEN,
    COLLECTED,
    LOST,
    PLANNED,
    SUBMITTED,
    IterationSummary,
)
from atomate2_alpot.campaign.state import CampaignState
from atomate2_alpot.schemas import Document

MESSAGES: int = 3
"""Failed workflows whose messages are shown."""


class Overview(Document):
    """A campaign at a glance."""

    campaign_id: str
    engine: str
    status: str = Field(description="running, paused, failed or finished.")
    message: str
    iteration: int
    stage: str
    workflows: dict[str, int] = Field(
        description="Of this stage, by state: planned, submitted (in flight), collected, failed, "
        "lost (given up)."
    )
    n_workflows: int = Field(description="Of this stage; 0 before it is planned.")
    labels: dict[str, int] = Field(description="Of collected workflows: requested, labelled.")
    seconds: float = Field(description="Since the stage began, by the server's clock.")
    seconds_left: float | None = Field(None, description="At the rate so far; None if unknown.")
    failures: list[str] = Field(description="Messages of some failed workflows.")
    history: list[IterationSummary]
    asked_at: datetime


def describe(state: CampaignState) -> Overview:
    """Return how a campaign stands.

    Raises
    ------
    CampaignError
        If there is no such campaign.
    """
    doc, now = state.load(), state.now()
    counts, labels = state.counts(doc.stage_id), state.label_counts(doc.stage_id)
    seconds = (now - doc.stage_since).total_seconds()
    n_done = counts[COLLECTED] + counts[LOST]
    left = counts[PLANNED] + counts[SUBMITTED]
    return Overview(
        campaign_id=doc.campaign_id,
        engine=doc.engine,
        status=doc.status,
        message=doc.message,
        iteration=doc.iteration,
        stage=doc.stage,
        workflows=counts,
        n_workflows=doc.n_batches,
        labels=labels,
        seconds=seconds,
        seconds_left=left * seconds / n_done if n_done else None,
        failures=[b.message for b in state.find(doc.stage_id, [BROKEN], limit=MESSAGES)],
        history=doc.history,
        asked_at=now,
    )
