"""How a campaign is cut into workflows, and when a stage goes on without some of them."""

from __future__ import annotations

from pydantic import Field

from atomate2_alpot.schemas import Settings


class CampaignPolicy(Settings):
    """Sizes, limits and patience of campaign mode."""

    batch_size: int = Field(
        100, gt=0, description="Frames that one workflow labels, in rows of label.batch_size."
    )
    screen_chunks: int = Field(
        10, gt=0, description="Ranges of select.chunk_size candidates that one workflow screens."
    )
    gather_size: int = Field(
        100, gt=1, description="Workflows whose outputs one job joins; more are joined in levels."
    )
    max_in_flight: int = Field(
        100,
        gt=0,
        description="Workflows handed to the engine and not back yet. Two `advance` at once may "
        "each count before the other submits.",
    )
    min_finished_fraction: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Fraction of a stage's workflows that must have returned before it goes on "
        "without the rest: when none of these runs any more, or after max_wait.",
    )
    max_wait: float | None = Field(
        None,
        gt=0,
        description="Hours after which a stage goes on without workflows that still run, if "
        "min_finished_fraction allows; null = wait for them.",
    )
    lease: float = Field(
        72.0,
        gt=0,
        description="Hours in which a workflow of the stages screen and label must return, time in "
        "the queue included; then it is cancelled and submitted anew.",
    )
    max_attempts: int = Field(
        3, gt=0, description="Times that `advance` submits a workflow that never returns."
    )
    grace: float = Field(
        60.0,
        ge=0,
        description="Seconds after which a workflow that was to be submitted, and that the engine "
        "does not know, is submitted again.",
    )
