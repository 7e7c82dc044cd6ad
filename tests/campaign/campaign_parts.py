"""A small campaign on the fake engine, and the embedded run it must equal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
from pymongo import MongoClient, monitoring

sys.path.insert(0, str(Path(__file__).parents[1] / "flows"))

from fake_engine import FakeEngine
from fakes import small_loop

from atomate2_alpot.campaign.advance import Campaign
from atomate2_alpot.campaign.documents import CampaignDoc
from atomate2_alpot.campaign.policy import CampaignPolicy
from atomate2_alpot.campaign.stages import SELECTED
from atomate2_alpot.campaign.state import CampaignState
from atomate2_alpot.dataset.stores import Stores, mongo_stores
from atomate2_alpot.flows import ActiveLearningMaker
from atomate2_alpot.flows.state import LoopState, Pointer
from atomate2_alpot.schemas import BLOBS, Frames

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


# --- a campaign that is about to label: where most faults are tried ---------------------------

N_LABELS = 12


def labelling_loop(**changes) -> ActiveLearningMaker:
    """One iteration of twelve labels: four batches, two groups."""
    return small_loop(labels_per_iteration=N_LABELS, max_iterations=1, **changes)


def until_labels(setup: Setup) -> None:
    """Advance and work until iteration 1 labels; nothing of that is planned yet."""
    move = setup.campaign.state.move

    def stop(doc, changes):
        moved = move(doc, changes)
        if moved and (changes.get("iteration"), changes.get("stage")) == (1, "label"):
            raise StoppedError
        return moved

    setup.campaign.state.move = stop
    try:
        setup.run()
    except StoppedError:
        setup.campaign.state.move = move


class StoppedError(Exception): ...


def clone(source: Setup, uri: str, maker: ActiveLearningMaker | None = None, **policy) -> Setup:
    """Copy a campaign, with what its engine has, to a database of its own."""
    name = f"test-{uuid4().hex[:8]}"
    old = source.client[source.database]
    with MongoClient(uri) as client:
        for collection in old.list_collection_names():
            documents = list(old[collection].find())
            if documents:
                client[name][collection].insert_many(documents)
    return open_campaign(uri, name, maker or labelling_loop(), **policy)


NOWHERE = Pointer(uuid="0" * 32)


def many_frames(n: int) -> Frames:
    rng = np.random.default_rng(0)
    return Frames.from_arrays(
        np.tile([13, 28], n),
        rng.uniform(0, 4, (2 * n, 3)),
        np.tile(4.0 * np.eye(3), (n, 1, 1)).reshape(-1, 3, 3),
        [2] * n,
    )


def at_stage(uri: str, stage: str, frames: Frames | None = None, maker=None, **policy):
    """Open a campaign that has just come to a stage of iteration 1."""
    setup = open_campaign(uri, f"test-{uuid4().hex[:8]}", maker or labelling_loop(), **policy)
    pointers = {}
    if frames is not None:
        selection = {"uuid": "selection", "index": 1, "output": {"frames": frames}}
        setup.stores.jobs.update(selection, key=["uuid", "index"], save={"data": BLOBS})
        pointers[SELECTED] = Pointer(uuid="selection", path=["frames"])
        pointers["selection"] = NOWHERE
    now = setup.campaign.state.now()
    loop = LoopState(
        campaign_id="test-campaign",
        iteration=1,
        pool=NOWHERE,
        committee=NOWHERE,
        committee_names=["a", "b"],
        test=NOWHERE,
    )
    setup.campaign.state.create(
        CampaignDoc(
            campaign_id="test-campaign",
            engine="fake",
            iteration=1,
            stage=stage,
            stage_since=now,
            created_at=now,
            loop=loop,
            pointers=pointers,
        )
    )
    return setup


class Killed(BaseException):
    """What a process does not survive: no handler of errors catches it."""


class Killer(monitoring.CommandListener):
    """Ends whoever asks the server for its n-th write, before it is made; or does something else.

    Attributes
    ----------
    left : int, optional
        Writes until then.
    act : callable, optional
        What to do instead, while the write waits.
    """

    WRITES = ("insert", "update", "findAndModify", "delete")

    def __init__(self) -> None:
        self.left: int | None = None
        self.act: Callable[[], None] | None = None

    def started(self, event) -> None:
        if self.left is None or event.command_name not in self.WRITES:
            return
        self.left -= 1
        if self.left == 0:
            self.left = None
            if self.act is None:
                raise Killed(event.command_name)
            self.act()

    def succeeded(self, event) -> None: ...

    def failed(self, event) -> None: ...


KILLER = Killer()
monitoring.register(KILLER)


def advance_in_a_process(uri: str, database: str, rounds: int) -> None:
    """What each of two processes does at the same time."""
    setup = open_campaign(uri, database, labelling_loop(), grace=60.0)
    for _ in range(rounds):
        setup.campaign.advance()
        time.sleep(0.05)
