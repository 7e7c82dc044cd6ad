"""Workflows in the queue of a jobflow-remote project.

Stores and their credentials are in the project's file; job documents have none.

A flow is added in three writes, as on FireWorks: jobs that wait, so that no runner takes them; the
flow, whose key is unique in the queue's index; then its first jobs become ready.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pymongo
from jobflow import Flow, JobStore
from jobflow.core.flow import get_flow
from jobflow_remote.config.base import ConfigError, Project
from jobflow_remote.config.manager import ConfigManager, ProjectData
from jobflow_remote.jobs.data import FlowDoc, get_initial_flow_doc_dict, get_initial_job_doc_dict
from jobflow_remote.jobs.jobcontroller import JobController
from jobflow_remote.jobs.state import JobState
from pymongo.errors import BulkWriteError, DuplicateKeyError

from atomate2_alpot.campaign.engines.base import KEY, EngineError, WorkflowState
from atomate2_alpot.campaign.engines.settings import EngineSettings
from atomate2_alpot.campaign.engines.stores import TIMEOUT, check_job_store
from atomate2_alpot.campaign.engines.workflow import (
    JobKind,
    check_routed_engine,
    workflow_metadata,
    workflow_state,
)
from atomate2_alpot.flows.routing import Routing

KINDS: dict[str, JobKind] = {
    "WAITING": JobKind.WAITS,
    "READY": JobKind.READY,
    "COMPLETED": JobKind.DONE,
    "FAILED": JobKind.BROKEN,
    "REMOTE_ERROR": JobKind.BROKEN,
    "PAUSED": JobKind.PAUSED,
    "STOPPED": JobKind.TAKEN_OUT,
    "USER_STOPPED": JobKind.TAKEN_OUT,
}
"""All other states are those of a job on its way through its worker."""

BROKEN: tuple[str, ...] = ("FAILED", "REMOTE_ERROR")
PATIENCE = 60
"""Seconds to wait for a job that the runner has locked."""

DUPLICATE = 11000
"""MongoDB's code of a key that is there already."""


class JobflowRemoteEngine:
    """An :class:`~atomate2_alpot.campaign.engines.base.Engine` on a project of jobflow-remote.

    Parameters
    ----------
    settings : EngineSettings
        ``project`` and ``worker`` are read.
    """

    name = "jobflow-remote"

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings

    def check(self) -> None:
        """Raise ``EngineError`` if the project, its worker, queue or job store cannot be used."""
        self._known("engine.worker", self._worker, self._project.workers)
        name = self._project.name
        try:
            with pymongo.timeout(TIMEOUT):
                begun = self._queue.auxiliary.find_one({"next_id": {"$exists": True}})
        except EngineError:
            raise
        except Exception as error:
            raise EngineError(
                f"the queue of project {name!r} does not answer ({type(error).__name__}): is the "
                "server running, and are host, port, user and password right? `jf project check` "
                "tells more"
            ) from None
        if begun is None:
            raise EngineError(f"the queue of project {name!r} is not set up: run `jf admin reset`")
        check_job_store(self._queue.jobstore, f"jobstore of project {name!r}")

    def check_routing(self, routing: Routing) -> None:
        """Raise ``EngineError`` if a route names what the project does not have."""
        check_routed_engine(routing, self.name)
        for kind, route in routing.routes().items():
            for field, known in (
                ("worker", self._project.workers),
                ("exec_config", self._project.exec_config),
            ):
                self._known(f"routing.{kind}.{field}", getattr(route, field), known)

    def files(self) -> list[Path]:
        """Return the project's file."""
        return [Path(self._project_data.filepath)]

    def job_store(self) -> JobStore:
        """Return the project's job store, connected."""
        return self._queue.jobstore

    def submit(self, flow: Flow, key: str) -> str:
        """Add a flow, or find the one with this key; see the contract.

        Returns
        -------
        str
            The flow's uuid, as ``jf flow info`` takes it.
        """
        found = self._find(key) or self._link(*self._hidden_jobs(flow, key), key)
        return self._release(found, key)

    def states(self, keys: Collection[str]) -> dict[str, WorkflowState]:
        """Return the state of each workflow that exists; see the contract."""
        wanted = {f"metadata.{KEY}": {"$in": list(keys)}}
        flows = list(self._flows.find(wanted, {"metadata": 1, "jobs": 1, "state": 1}))
        uuids = [uuid for f in flows if f["state"] != "COMPLETED" for uuid in f["jobs"]]
        state_of: dict[str, str] = {}  # of the highest index, which stands for the others
        for row in self._queue.jobs.find({"uuid": {"$in": uuids}}, ["uuid", "state"]).sort("index"):
            state_of[row["uuid"]] = row["state"]
        return {
            f["metadata"][KEY]: workflow_state(
                (KINDS.get(state_of[u], JobKind.ACTIVE) for u in f["jobs"] if u in state_of),
                f["state"] == "COMPLETED",
            )
            for f in flows
        }

    def rerun(self, key: str) -> None:
        """Let the failed jobs of a workflow run again, with those after them.

        A failed job that the workflow went on without, into jobs that it has made since, stays
        failed: these jobs would be made a second time.
        """
        flow = FlowDoc.model_validate(self._required(key))
        for job in list(self._jobs(key, BROKEN)):
            after = [uuid for uuid, _ in flow.descendants(job["uuid"])]
            # made by a runner, by whose clock the failure was noted too; not by who submitted
            grown = [{f"job.metadata.{KEY}": {"$exists": False}}, {"index": {"$gt": 1}}]
            since = {"created_on": {"$gt": job["updated_on"]}}
            newer = {"uuid": {"$in": after}, **since, "$or": grown}
            if self._queue.jobs.find_one(newer, ["_id"]) is not None:
                continue
            try:
                self._queue.rerun_job(db_id=job["db_id"], force=True, wait=PATIENCE)
            except ValueError:  # it waits already, for one that was rerun before it
                continue

    def cancel(self, key: str) -> None:
        """Stop what has not started; what runs is left to end."""
        for job in list(self._jobs(key, ("WAITING", "READY", "PAUSED"))):
            db_id = job["db_id"]
            if job["state"] != "PAUSED":
                try:
                    self._queue.pause_job(job_id=job["uuid"], wait=PATIENCE)
                except ValueError:  # it has started since
                    continue
            self._queue.set_job_state(JobState.USER_STOPPED, db_id=db_id, wait=PATIENCE)

    @property
    def _project(self) -> Project:
        return self._project_data.project

    @cached_property
    def _project_data(self) -> ProjectData:
        manager = ConfigManager()
        try:
            return manager.get_project_data(self._settings.project)
        except ConfigError as error:
            known = sorted(manager.projects) or "none"
            raise EngineError(
                f"engine.project: {error} (folder {manager.projects_folder}, projects: {known}). "
                "`jf project generate NAME` writes one, `jf project check --errors` says what is "
                "wrong with it"
            ) from None

    @property
    def _worker(self) -> str:
        if not self._project.workers:
            raise EngineError(f"project {self._project.name!r} has no worker; give it one")
        return self._settings.worker or next(iter(self._project.workers))

    def _known(self, field: str, value: Any, known: Collection[str]) -> None:
        if isinstance(value, str) and value not in known:
            raise EngineError(
                f"{field}: project {self._project.name!r} has no {value!r}; it has {sorted(known)}"
            )

    @cached_property
    def _queue(self) -> JobController:
        return JobController.from_project(self._project)

    @cached_property
    def _flows(self) -> Any:
        """The collection of flows, with the index that keeps keys unique."""
        self._queue.flows.create_index(f"metadata.{KEY}", unique=True, sparse=True)
        self._queue.jobs.create_index(f"job.metadata.{KEY}", sparse=True)
        return self._queue.flows

    def _find(self, key: str) -> dict[str, Any] | None:
        return self._flows.find_one({f"metadata.{KEY}": key})

    def _required(self, key: str) -> dict[str, Any]:
        found = self._find(key)
        if found is None:
            raise EngineError(f"there is no workflow {key!r} in project {self._project.name!r}")
        return found

    def _jobs(self, key: str, states: Collection[str]) -> Iterator[dict[str, Any]]:
        wanted = {"uuid": {"$in": self._required(key)["jobs"]}, "state": {"$in": list(states)}}
        return self._queue.jobs.find(wanted, ["uuid", "db_id", "state", "updated_on"])

    def _hidden_jobs(self, flow: Flow, key: str) -> tuple[Flow, list[dict[str, Any]]]:
        """Write the jobs of a flow, all of them waiting; those that are there are kept."""
        flow = get_flow(flow)
        jobs = list(flow.iterflow())
        counter = {"next_id": {"$exists": True}}
        found = self._queue.auxiliary.find_one_and_update(counter, {"$inc": {"next_id": len(jobs)}})
        prefix = self._project.queue.db_id_prefix or ""
        documents = []
        for number, (job, parents) in enumerate(jobs, start=found["next_id"]):
            document = get_initial_job_doc_dict(
                job, parents, f"{prefix}{number}", self._worker, None, None, 0
            )
            document["state"] = JobState.WAITING.value
            document["job"]["metadata"][KEY] = key
            documents.append(document)
        try:
            self._queue.jobs.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            if any(e["code"] != DUPLICATE for e in error.details["writeErrors"]):
                raise
        uuids = [d["uuid"] for d in documents]
        there = {d["uuid"]: d for d in self._queue.jobs.find({"uuid": {"$in": uuids}, "index": 1})}
        other = {d["job"]["metadata"].get(KEY) for d in there.values()} - {key}
        if other:
            raise EngineError(
                f"jobs of workflow {key!r} were submitted before, as {sorted(map(str, other))}"
            )
        # one that is gone was cleared away by who has added the key since, which `_link` will find
        return flow, [there.get(d["uuid"], d) for d in documents]

    def _link(self, flow: Flow, jobs: list[dict[str, Any]], key: str) -> dict[str, Any]:
        """Write the flow of jobs that are there; return it, or another with the key."""
        document = get_initial_flow_doc_dict(flow, jobs)
        document["metadata"] = workflow_metadata(flow, key)
        try:
            self._flows.insert_one(document)
        except DuplicateKeyError:
            return self._required(key)
        return document

    def _release(self, flow: dict[str, Any], key: str) -> str:
        """Make the first jobs ready, and clear away those of a submission that was cut."""
        first = {"uuid": {"$in": flow["jobs"]}, "parents": [], "state": "WAITING"}
        ready = {"$set": {"state": "READY", "updated_on": datetime.now(UTC)}}
        self._queue.jobs.update_many(first, ready)
        self._queue.jobs.delete_many(
            {f"job.metadata.{KEY}": key, "uuid": {"$nin": flow["jobs"]}, "state": "WAITING"}
        )
        return str(flow["uuid"])
