"""Which settings of a campaign may change while it runs."""

from __future__ import annotations

from collections.abc import Iterator

from atomate2_alpot.campaign.documents import CampaignDoc
from atomate2_alpot.campaign.loop import SELECTING
from atomate2_alpot.campaign.state import CampaignState
from atomate2_alpot.cli.config import RunConfig
from atomate2_alpot.cli.loading import ConfigError
from atomate2_alpot.cli.resume import Change, changes_between

SELECTION: tuple[str, ...] = ("reference", "screen", "merge", "select")
"""Stages in which candidates are judged: all of an iteration alike."""

SIZES: tuple[str, ...] = (
    "campaign.batch_size",
    "campaign.screen_chunks",
    "campaign.gather_size",
    "select.chunk_size",
)
"""Settings that a stage is cut into workflows by."""


def accept_config(state: CampaignState, doc: CampaignDoc, config: RunConfig) -> list[str]:
    """Keep the config of today, or refuse it; return what is to be told.

    Parameters
    ----------
    state : CampaignState
    doc : CampaignDoc
        Of the campaign as it stands.
    config : RunConfig

    Raises
    ------
    ConfigError
        Naming every key that cannot change, and why.
    """
    today = config.without_secrets()
    changes = changes_between(doc.config, today)
    if not changes:
        return []
    half_planned = not doc.planned and bool(state.known(doc.stage_id))
    refused = [line for c in changes for line in _objections(c, doc, half_planned)]
    if refused:
        raise ConfigError(
            f"campaign {doc.campaign_id} was started with another config. These keys cannot "
            "change:\n" + "\n".join(refused) + "\nSet them back, or give a new campaign_id"
        )
    state.set_config(today)
    return [f"setting changed: {change}" for change in changes]


def _objections(change: Change, doc: CampaignDoc, half_planned: bool) -> Iterator[str]:
    if change.key == "engine.name":
        if change.new not in (None, doc.engine):
            yield f"  {change}: the workflows are on {doc.engine}"
    elif change.objection:
        yield f"  {change}: {change.objection}"
    elif half_planned and change.key in SIZES:
        yield f"  {change}: {doc.stage_id} is being cut by it; wait until it is planned"
    elif doc.stage in SELECTION and change.key.startswith(SELECTING):
        yield f"  {change}: a selection with it has begun; wait until it is labelled"
