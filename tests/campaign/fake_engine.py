"""An engine that keeps its workflows in the test server and runs them in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path

from jobflow import Flow, JobStore, run_locally
from monty.json import MontyDecoder, MontyEncoder
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from atomate2_alpot.campaign.engines import WorkflowState
from atomate2_alpot.dataset.stores import Stores


class FakeEngine:
    """Workflows in a collection; ``work`` is its worker.

    Parameters
    ----------
    database : Database
    stores : Stores
        What its jobs write to.
    """

    name = "fake"

    def __init__(self, database: Database, stores: Stores) -> None:
        self.workflows = database["fake_workflows"]
        self.submissions = database["fake_submissions"]
        self.stores = stores

    def check(self) -> None: ...

    def check_routing(self, routing) -> None: ...

    def files(self) -> list[Path]:
        return []

    def job_store(self) -> JobStore:
        return self.stores.jobs

    def submit(self, flow: Flow, key: str) -> str:
        self.submissions.insert_one({"key": key})
        text = json.dumps(flow, cls=MontyEncoder)
        try:
            self.workflows.insert_one({"_id": key, "flow": text, "state": "waiting"})
        except DuplicateKeyError:
            kept = json.loads(self.workflows.find_one({"_id": key})["flow"], cls=MontyDecoder)
            assert kept.all_uuids == flow.all_uuids, "two workflows would have one key"
        return key

    def states(self, keys: Collection[str]) -> dict[str, WorkflowState]:
        found = self.workflows.find({"_id": {"$in": list(keys)}}, {"state": 1})
        return {d["_id"]: WorkflowState(d["state"]) for d in found if d["state"] != "cancelled"}

    def rerun(self, key: str) -> None:
        self.workflows.update_one({"_id": key}, {"$set": {"state": "waiting"}})

    def cancel(self, key: str) -> None:
        self.workflows.update_one(
            {"_id": key, "state": "waiting"}, {"$set": {"state": "cancelled"}}
        )

    # --- its worker -------------------------------------------------------------------------

    def waiting(self) -> list[str]:
        return sorted(d["_id"] for d in self.workflows.find({"state": "waiting"}, {"_id": 1}))

    def run(self, key: str) -> bool:
        """Run one workflow, whatever its state."""
        flow = json.loads(self.workflows.find_one({"_id": key})["flow"], cls=MontyDecoder)
        folder = Path.cwd() / "work"
        folder.mkdir(exist_ok=True)
        # documents of flows that run in flows tell where they ran: one folder for all
        done = run_locally(flow, store=self.stores.jobs, log=False, root_dir=folder)
        ok = flow.output.uuid in done
        self.set_state(key, "completed" if ok else "failed")
        return ok

    def set_state(self, key: str, state: str) -> None:
        self.workflows.update_one({"_id": key}, {"$set": {"state": state}})

    def work(self, only: Callable[[str], bool] = lambda key: True) -> list[str]:
        """Run every workflow that waits, those for which ``only`` holds."""
        keys = [key for key in self.waiting() if only(key)]
        for key in keys:
            self.run(key)
        return keys

    def all_keys(self) -> list[str]:
        return sorted(d["_id"] for d in self.workflows.find({}, {"_id": 1}))
