"""A small campaign on the fake engine, and the embedded run it must equal."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from pymongo import MongoClient

sys.path.insert(0, str(Path(__file__).parents[1] / "flows"))

from fake_engine import FakeEngine
from fakes import small_loop

from atomate2_alpot.campaign.advance import Campaign
from atomate2_alpot.campaign.policy import CampaignPolicy
from atomate2_alpot.campaign.state import CampaignState
from atomate2_alpot.dataset.stores import Stores, mongo_stores
from atomate2_alpot.flows import ActiveLearningMaker

SMALL = {"batch_size": 3, "screen_chunks": 1, "gather_size": 2, "grace": 0.0}
"""So that a few frames make several batches, and these several groups."""


@dataclass
class Setup:
    """A campaign with its engine, and the names to open it again by."""

    uri: str
    database: str
    client: MongoClient
    stores: Stores
    engine: FakeEngine
    campaign: Campaign

    def run(self, rounds: int = 60) -> None:
        """Advance and work until the campaign ends."""
        for _ in range(rounds):
            self.campaign.advance()
            if not self.engine.work():
                return
        raise AssertionError(f"still running after {rounds} rounds")

    def labels(self, *fields: str) -> list[tuple]:
        """Return what tells label documents from each other, and fields of them, in order."""
        return label_set(self.stores, *fields)


def open_campaign(
    uri: str, database: str, maker: ActiveLearningMaker | None = None, **policy
) -> Setup:
    """Open a campaign on the fake engine, as every process of it does."""
    stores = mongo_stores(uri, database)
    stores.connect()
    client = MongoClient(uri)
    engine = FakeEngine(client[database], stores)
    maker = maker or small_loop()
    campaign = Campaign(
        maker,
        stores,
        engine,
        CampaignState(client[database], str(maker.campaign_id)),
        CampaignPolicy(**{**SMALL, **policy}),
    )
    return Setup(uri, database, client, stores, engine, campaign)


def new_campaign(uri: str, maker: ActiveLearningMaker | None = None, **policy) -> Setup:
    """Start a campaign in a database of its own."""
    setup = open_campaign(uri, f"test-{uuid4().hex[:8]}", maker, **policy)
    setup.campaign.init()
    return setup


def label_set(stores: Stores, *fields: str) -> list[tuple]:
    names = ("frame_id", "functional", "state", "stage", "iteration", *fields)
    found = stores.labels.query({}, list(names))
    return sorted(tuple(d.get(name) for name in names) for d in found)
