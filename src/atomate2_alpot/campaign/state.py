"""A campaign's state in MongoDB; every change is one atomic write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from pymongo import ReturnDocument
from pymongo.database import Database
from pymongo.errors import BulkWriteError, DuplicateKeyError

from atomate2_alpot.campaign.documents import (
    BATCH_STATES,
    PAUSED,
    PLANNED,
    RUNNING,
    SUBMITTED,
    BatchDoc,
    CampaignDoc,
)

CAMPAIGNS, BATCHES = "campaigns", "batches"
"""Names of the collections."""

BLOCK: int = 50
"""Batches inserted at once; a planning that is killed is taken up behind the last ones."""

DUPLICATE_KEY: int = 11000
"""MongoDB's code for an ``_id`` that is there already."""


class CampaignError(ValueError):
    """A campaign cannot do what is asked of it; the message says what to do."""


class CampaignState:
    """Reads and writes the documents of one campaign.

    Parameters
    ----------
    database : pymongo.database.Database
    campaign_id : str
    """

    def __init__(self, database: Database, campaign_id: str) -> None:
        aware = database.codec_options.with_options(tz_aware=True)
        self.database, self.campaign_id = database.with_options(aware), campaign_id
        self.campaigns, self.batches = self.database[CAMPAIGNS], self.database[BATCHES]

    def now(self) -> datetime:
        """Return the time of the server: workers and machines with cron may disagree."""
        return _aware(self.database.command("hello")["localTime"])

    # --- the campaign ------------------------------------------------------------------------

    def create(self, doc: CampaignDoc) -> None:
        """Write a new campaign.

        Raises
        ------
        CampaignError
            If there is one of this name.
        """
        self.batches.create_index([("stage_id", 1), ("state", 1), ("batch", 1)])
        self.batches.create_index([("stage_id", 1), ("batch", 1)])
        try:
            self.campaigns.insert_one({"_id": doc.campaign_id, **doc.model_dump()})
        except DuplicateKeyError:
            raise CampaignError(
                f"campaign {doc.campaign_id!r} exists in this database: `alpot campaign advance` "
                "continues it; give another campaign_id to start a new one"
            ) from None

    def load(self) -> CampaignDoc:
        """Return the campaign.

        Raises
        ------
        CampaignError
            If there is none of this name.
        """
        found = self.campaigns.find_one({"_id": self.campaign_id})
        if found is None:
            names = [d["_id"] for d in self.campaigns.find({}, {"_id": 1}).limit(20)]
            raise CampaignError(
                f"there is no campaign {self.campaign_id!r} in this database (it has {names}); "
                "start it with `alpot campaign init`, or mend campaign_id or store.database"
            )
        del found["_id"]
        return CampaignDoc.model_validate(found)

    def is_running(self) -> bool:
        """Tell whether nobody paused the campaign."""
        found = self.campaigns.find_one({"_id": self.campaign_id}, {"status": 1})
        return found is not None and found["status"] == RUNNING

    def set_status(self, old: Sequence[str], new: str, message: str = "") -> bool:
        """Change the status if it is one of ``old``; tell whether it was."""
        criteria = {"_id": self.campaign_id, "status": {"$in": list(old)}}
        changed = self.campaigns.update_one(criteria, {"$set": {"status": new, "message": message}})
        return changed.matched_count == 1

    def pause(self) -> None:
        """Let nothing more be submitted; what the engine has, it runs, and that is collected.

        Raises
        ------
        CampaignError
            If the campaign is not running.
        """
        self._turn(RUNNING, PAUSED, "paused")

    def resume(self) -> None:
        """Let a paused campaign go on.

        Raises
        ------
        CampaignError
            If it is not paused.
        """
        self._turn(PAUSED, RUNNING, "")

    def _turn(self, old: str, new: str, message: str) -> None:
        doc = self.load()
        if not self.set_status([old], new, message):
            raise CampaignError(f"campaign {doc.campaign_id} is {doc.status}, not {old}")

    def set_config(self, config: Mapping[str, Any]) -> None:
        """Replace the config that is kept."""
        self.campaigns.update_one({"_id": self.campaign_id}, {"$set": {"config": dict(config)}})

    def move(self, doc: CampaignDoc, changes: Mapping[str, Any]) -> bool:
        """Go from the stage of ``doc`` to another; of several who try, one does.

        Returns
        -------
        bool
            False if somebody else did, or the campaign is not running any more.
        """
        criteria = {
            "_id": doc.campaign_id,
            "iteration": doc.iteration,
            "stage": doc.stage,
            "planned": doc.planned,
            "status": RUNNING,
        }
        found = self.campaigns.find_one_and_update(
            criteria, {"$set": dict(changes)}, return_document=ReturnDocument.AFTER
        )
        return found is not None

    # --- its batches -------------------------------------------------------------------------

    def plan(self, batches: Iterable[BatchDoc]) -> int:
        """Insert batches; those that are there stay as they are. Return how many were given."""
        remaining, n = iter(batches), 0
        while block := list(islice(remaining, BLOCK)):
            n += len(block)
            documents = [{"_id": b.key, **b.model_dump(exclude={"key"})} for b in block]
            try:
                self.batches.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                errors = (error.details or {}).get("writeErrors", [])
                if any(e["code"] != DUPLICATE_KEY for e in errors):
                    raise
        return n

    def known(self, stage_id: str) -> set[int]:
        """Return the numbers of the batches that are planned."""
        return {d["batch"] for d in self.batches.find({"stage_id": stage_id}, {"batch": 1})}

    def find(self, stage_id: str, states: Sequence[str], limit: int = 0) -> list[BatchDoc]:
        """Return batches in some states, in order where there is no limit."""
        criteria = {"stage_id": stage_id, "state": {"$in": list(states)}}
        if len(states) == 1:
            criteria = {"stage_id": stage_id, "state": states[0]}
        # not sorted: an index in this order is read up to the limit, and no further
        found = [_batch(d) for d in self.batches.find(criteria).limit(limit)]
        return sorted(found, key=lambda b: b.batch)

    def outputs(self, stage_id: str, first: int = 0, last: int | None = None) -> list[BatchDoc]:
        """Return the batches of a stage from ``first`` up to ``last`` that have an output."""
        numbers = {"$gte": first, **({"$lt": last} if last is not None else {})}
        criteria = {"stage_id": stage_id, "batch": numbers, "output": {"$ne": None}}
        return [_batch(d) for d in self.batches.find(criteria).sort("batch", 1)]

    def any_in(self, stage_id: str, states: Sequence[str]) -> bool:
        """Tell whether a batch of a stage is in one of some states."""
        return any(
            self.batches.find_one({"stage_id": stage_id, "state": state}, {"_id": 1})
            for state in states
        )

    def count(self, stage_id: str, state: str) -> int:
        """Count the batches of a stage in a state."""
        return self.batches.count_documents({"stage_id": stage_id, "state": state})

    def counts(self, stage_id: str) -> dict[str, int]:
        """Count the batches of a stage by state."""
        return {state: self.count(stage_id, state) for state in BATCH_STATES}

    def label_counts(self, stage_id: str) -> dict[str, int]:
        """Sum the labels asked for and there, over the batches of a stage."""
        names = {"requested": "n_requested", "labelled": "n_labelled"}
        sums = {name: {"$sum": f"$counts.{field}"} for name, field in names.items()}
        pipeline: list[dict[str, Any]] = [
            {"$match": {"stage_id": stage_id}},
            {"$group": {"_id": None, **sums}},
        ]
        found: dict[str, Any] = next(iter(self.batches.aggregate(pipeline)), {})
        return {name: found.get(name, 0) for name in names}

    def claim(self, batch: BatchDoc, lease: timedelta | None) -> BatchDoc | None:
        """Mark a planned batch as submitted; of several who try, one gets it."""
        now = self.now()
        changes = {
            "state": SUBMITTED,
            "submitted_at": now,
            "deadline": None if lease is None else now + lease,
            "message": "",
        }
        changed = self.change(batch, changes)
        return batch.model_copy(update=changes) if changed else None

    def change(self, batch: BatchDoc, changes: Mapping[str, Any]) -> bool:
        """Change a batch unless somebody else did; tell whether it was."""
        held = {name: getattr(batch, name) for name in ("state", "attempt", "reruns")}
        criteria = {"_id": batch.key, **held}
        return self.batches.update_one(criteria, {"$set": dict(changes)}).modified_count == 1

    def again(self, batch: BatchDoc, message: str, afresh: bool = False) -> bool:
        """Plan the next attempt at a batch; ``afresh``: what earlier ones gave does not count."""
        changes = {
            "state": PLANNED,
            "attempt": batch.attempt + 1,
            "reruns": 0,
            "first_attempt": batch.attempt + 1 if afresh else batch.first_attempt,
            "output": None,
            "deadline": None,
            "message": message,
        }
        return self.change(batch, changes)


def _batch(document: dict[str, Any]) -> BatchDoc:
    return BatchDoc.model_validate({"key": document.pop("_id"), **document})


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
