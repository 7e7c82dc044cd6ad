"""Workflows on FireWorks' LaunchPad.

No store is put into a Firework: workers use their own ``JOB_STORE`` (jobflow's config file), so
that no URI and no password is in a job document.

A workflow is added in three writes, in an order that can be cut anywhere and made by several
processes at once: Fireworks that wait, so that nobody runs them; the workflow, whose key is
unique in the LaunchPad's index; then its first Fireworks become ready. Who finds the key taken
takes back its own Fireworks; who finds a workflow makes sure that the last write was made.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pymongo
from fireworks import Firework, LaunchPad, Workflow
from jobflow import SETTINGS, Flow, JobStore
from jobflow.core.flow import get_flow
from jobflow.managers.fireworks import job_to_firework
from pymongo.errors import DuplicateKeyError, PyMongoError

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
    "RESERVED": JobKind.READY,
    "RUNNING": JobKind.ACTIVE,
    "COMPLETED": JobKind.DONE,
    "FIZZLED": JobKind.BROKEN,
    "PAUSED": JobKind.PAUSED,
    "DEFUSED": JobKind.TAKEN_OUT,
    "ARCHIVED": JobKind.TAKEN_OUT,
}
NOT_STARTED: tuple[str, ...] = ("WAITING", "READY", "RESERVED", "PAUSED")


class FireWorksEngine:
    """An :class:`~atomate2_alpot.campaign.engines.base.Engine` on a LaunchPad.

    Parameters
    ----------
    settings : EngineSettings
        ``launchpad`` is read.
    """

    name = "fireworks"

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings

    def check(self) -> None:
        """Raise ``EngineError`` if the LaunchPad or the workers' job store cannot be used."""
        try:
            with pymongo.timeout(TIMEOUT):
                begun = self._pad.fw_id_assigner.find_one({}) is not None
        except PyMongoError as error:
            raise EngineError(
                f"the database of LaunchPad {self._file} does not answer ({type(error).__name__}): "
                "is the server running, and are host, port, user and password right?"
            ) from None
        if not begun:
            raise EngineError(
                f"the database of LaunchPad {self._file} is not set up: run `lpad -l {self._file} "
                "reset` once"
            )
        if self._settings.worker is not None:
            raise EngineError(
                f"engine.worker: {self._settings.worker!r} is for jobflow-remote; on FireWorks "
                "give routing.default.fworker, or a category"
            )
        where = f"JOB_STORE in {SETTINGS.CONFIG_FILE} (jobflow's config, of workers too)"
        check_job_store(SETTINGS.JOB_STORE, where)

    def check_routing(self, routing: Routing) -> None:
        """Raise ``EngineError`` if routes are another engine's."""
        check_routed_engine(routing, self.name)

    def files(self) -> list[Path]:
        """Return the LaunchPad file and jobflow's config."""
        return [self._file, Path(SETTINGS.CONFIG_FILE).expanduser()]

    def job_store(self) -> JobStore:
        """Return jobflow's ``JOB_STORE``, connected."""
        SETTINGS.JOB_STORE.connect()
        return SETTINGS.JOB_STORE

    def submit(self, flow: Flow, key: str) -> str:
        """Add a flow as a workflow, or find the one with this key; see the contract.

        Returns
        -------
        str
            Id of its first Firework, as ``lpad get_wflows -i`` takes it.
        """
        found = self._find(key)
        if found is None:
            fireworks = self._hidden_fireworks(flow, key)
            workflow = Workflow(fireworks, name=flow.name, metadata=workflow_metadata(flow, key))
            found = self._link(workflow, key)
        return self._release(found, key)

    def states(self, keys: Collection[str]) -> dict[str, WorkflowState]:
        """Return the state of each workflow that exists; see the contract."""
        wanted = {f"metadata.{KEY}": {"$in": list(keys)}}
        found = self._workflows.find(wanted, {"metadata": 1, "fw_states": 1, "state": 1})
        return {
            w["metadata"][KEY]: workflow_state(
                (KINDS[s] for s in w["fw_states"].values()), w["state"] == "COMPLETED"
            )
            for w in found
        }

    def rerun(self, key: str) -> None:
        """Let the failed jobs of a workflow run again, with those after them.

        A failed job that the workflow went on without, into jobs that it has made since, stays
        failed: these jobs would be made a second time.
        """
        found = self._required(key)
        for fw_id in sorted(int(i) for i, s in found["fw_states"].items() if s == "FIZZLED"):
            if not self._has_grown(_after(fw_id, found["links"])):
                self._pad.rerun_fw(fw_id)

    def cancel(self, key: str) -> None:
        """Defuse what has not started; what runs is left to end."""
        for fw_id in self._required(key)["nodes"]:
            state = self._pad.fireworks.find_one({"fw_id": fw_id}, {"state": 1})["state"]
            if state in NOT_STARTED and (state == "PAUSED" or self._pad.pause_fw(fw_id)):
                self._pad.defuse_fw(fw_id)  # of a paused one only: it would rerun a running one

    @cached_property
    def _file(self) -> Path:
        from fireworks.fw_config import LAUNCHPAD_LOC

        path = self._settings.launchpad or LAUNCHPAD_LOC
        remedy = "`lpad init` writes one; name it in engine.launchpad"
        if path is None:
            raise EngineError(f"no LaunchPad file was found (my_launchpad.yaml): {remedy}")
        if not Path(path).expanduser().is_file():
            raise EngineError(f"engine.launchpad: no file {path}; {remedy}")
        return Path(path).expanduser()

    @cached_property
    def _pad(self) -> LaunchPad:
        from monty.serialization import loadfn

        try:
            description = loadfn(self._file)
            pad = LaunchPad.from_dict({"strm_lvl": "ERROR", **description})
        except Exception as error:  # what it says may quote the password
            raise EngineError(
                f"LaunchPad file {self._file} cannot be used ({type(error).__name__}): compare it "
                "with what `lpad init` writes"
            ) from None
        pad.m_logger.setLevel("ERROR")
        return pad

    @cached_property
    def _workflows(self) -> Any:
        """The collection of workflows, with the index that keeps keys unique."""
        self._pad.workflows.create_index(f"metadata.{KEY}", unique=True, sparse=True)
        self._pad.fireworks.create_index(f"spec.{KEY}", sparse=True)
        return self._pad.workflows

    def _find(self, key: str) -> dict[str, Any] | None:
        return self._workflows.find_one({f"metadata.{KEY}": key})

    def _required(self, key: str) -> dict[str, Any]:
        found = self._find(key)
        if found is None:
            raise EngineError(f"there is no workflow {key!r} on the LaunchPad {self._file}")
        return found

    def _hidden_fireworks(self, flow: Flow, key: str) -> list[Firework]:
        """Write the Fireworks of a flow, all of them waiting."""
        jobs = list(get_flow(flow).iterflow())
        first = self._pad.get_new_fw_id(quantity=len(jobs))
        made: dict[str, Firework] = {}
        for number, (job, parents) in enumerate(jobs, start=first):
            firework = job_to_firework(job, parents=parents, parent_mapping=made, fw_id=number)
            firework.spec[KEY] = key
        self._pad.fireworks.insert_many([f.to_db_dict() for f in made.values()])
        return list(made.values())

    def _link(self, workflow: Workflow, key: str) -> dict[str, Any]:
        """Write the workflow of Fireworks that are there; return it, or another with the key."""
        for fw_id in workflow.root_fw_ids:
            workflow.id_fw[fw_id].state = workflow.fw_states[fw_id] = "READY"
        document = workflow.to_db_dict()
        try:
            self._workflows.insert_one(document)
        except DuplicateKeyError:
            self._pad.fireworks.delete_many({"fw_id": {"$in": list(workflow.id_fw)}})
            return self._required(key)
        return document

    def _release(self, workflow: dict[str, Any], key: str) -> str:
        """Make the first Fireworks ready, and clear away those of a submission that was cut."""
        nodes: list[int] = workflow["nodes"]
        roots = [n for n in nodes if not workflow["parent_links"].get(str(n))]
        ready = {"$set": {"state": "READY", "updated_on": datetime.now(UTC)}}
        self._pad.fireworks.update_many({"fw_id": {"$in": roots}, "state": "WAITING"}, ready)
        self._pad.fireworks.delete_many({f"spec.{KEY}": key, "fw_id": {"$nin": nodes}})
        return str(min(nodes))

    def _has_grown(self, fw_ids: set[int]) -> bool:
        """Tell whether Fireworks have made new ones."""
        made = [{f"action.{kind}.0": {"$exists": True}} for kind in ("detours", "additions")]
        wanted = {"fw_id": {"$in": sorted(fw_ids)}, "$or": made}
        return self._pad.launches.find_one(wanted, {"_id": 1}) is not None


def _after(fw_id: int, links: dict[str, list[int]]) -> set[int]:
    """Return the Fireworks that come after one."""
    found: set[int] = set()
    waiting = [fw_id]
    while waiting:
        new = set(links.get(str(waiting.pop()), ())) - found
        found |= new
        waiting += new
    return found
