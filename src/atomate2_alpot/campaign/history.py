"""What an unfinished run has done, as a tree, and which of it must be done again."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobflow import Flow, Job, JobStore, OnMissing

from atomate2_alpot.campaign.journal import Entry, Journal, job_folder_name

PASS_ON = "store_inputs"
"""Name of the job by which jobflow gives a replaced job the output of what replaced it."""


@dataclass(eq=False)
class Node:
    """One job of a run.

    Parameters
    ----------
    job : Job
    parents : list of str
        Uuids of the jobs of the same flow that it waits for.
    entry : Entry or None
        What it did; None if it has not run.
    made_by : Node or None
        The job that asked for the flow it belongs to.
    """

    job: Job
    parents: list[str]
    entry: Entry | None
    made_by: Node | None

    @property
    def failed(self) -> bool:
        """Whether it ran and raised."""
        return self.entry is not None and self.entry.state == "failed"

    @property
    def done(self) -> bool:
        """Whether it ran and did not raise."""
        return self.entry is not None and self.entry.state == "done"


class History:
    """The jobs of a run, finished and known to come.

    Parameters
    ----------
    journal : Journal
    store : JobStore
        Connected.
    jobs_dir : Path
        Where the jobs' folders are.
    on_forget : callable, optional
        Called with the uuids of jobs whose outputs are void, before those are removed.
    """

    def __init__(
        self,
        journal: Journal,
        store: JobStore,
        jobs_dir: Path,
        on_forget: Callable[[list[str]], None] | None = None,
    ) -> None:
        self.journal, self.store, self.jobs_dir = journal, store, jobs_dir
        self.on_forget = on_forget

    def nodes(self) -> list[Node]:
        """Return every job, each after its parents and after the job that asked for it."""
        flow = self.journal.load_flow()
        return [] if flow is None else list(self._walk(flow, None))

    def _walk(self, flow: Flow, made_by: Node | None) -> Iterator[Node]:
        for job, parents in flow.iterflow():
            node = Node(job, parents, self.journal.read(job), made_by)
            yield node
            for new in node.entry.new_flows if node.entry else []:
                yield from self._walk(new, node)

    def forget(self, nodes: Iterable[Node]) -> None:
        """Forget what jobs did, what they asked for, and what came of their outputs.

        Their entries and outputs are removed, so they run again; labels that succeeded stay
        recorded in the jobs' folders. Entries go last, parents first: after a kill in between, the
        next start finds the gate that failed, and a job without entry behind it.
        """
        found = [n for n in self._with_consequences(list(nodes)) if n.entry is not None]
        if self.on_forget is not None and found:
            self.on_forget(sorted({n.job.uuid for n in found}))
        for node in found:
            criteria = {"uuid": node.job.uuid, "index": node.job.index}
            if self.store.count(criteria):
                self.store.remove_docs(criteria)
        for node in found:
            self.forget_failed_frames(node.job)
        for node in found:
            self.journal.forget(node.job)

    def restart(self) -> None:
        """Forget everything, the flow itself included."""
        self.forget(self.nodes())
        self.journal.forget_flow()

    def failed_frames(self, nodes: Iterable[Node]) -> list[Node]:
        """Return the label jobs that finished, but without a label for each of their frames."""
        by_key = {(n.job.uuid, n.job.index): n for n in nodes if "frame_ids" in n.job.metadata}
        uuids = sorted({uuid for uuid, _ in by_key})
        found = self.store.query({"uuid": {"$in": uuids}}, ["uuid", "index", "output"])
        keys = [(d["uuid"], d["index"]) for d in found if _has_failed_frame(d["output"])]
        return [by_key[key] for key in keys if key in by_key]

    def forget_failed_frames(self, job: Job) -> None:
        """Remove what a label job recorded of frames that failed (see `label.row`)."""
        for path in self.outcomes(job_folder_name(job)):
            if outcome_state(path) == "failed":
                path.unlink()

    def outcomes(self, job_folder: str = "*") -> Iterator[Path]:
        """Yield the records that label jobs leave of each frame."""
        return self.jobs_dir.glob(f"{job_folder}/*/outcome.json")

    def _with_consequences(self, seeds: list[Node]) -> list[Node]:
        """Return jobs, what they asked for and what waits for them, parents first."""
        forgotten: set[Node] = set()
        uuids: set[str] = set()
        nodes = self.nodes()
        known = {(s.job.uuid, s.job.index) for s in seeds}
        while True:
            more = [
                n
                for n in nodes
                if n not in forgotten
                and (
                    (n.job.uuid, n.job.index) in known
                    or n.made_by in forgotten
                    or uuids.intersection(n.parents)
                )
            ]
            if not more:
                return [n for n in nodes if n in forgotten]
            forgotten.update(more)
            uuids.update(n.job.uuid for n in more)


def retry_failed(history: History, regather: bool = False) -> list[Node]:
    """Forget the failures that stopped a flow, and return the jobs to run again because of them.

    A job that raises stops what depends on it, unless that tolerates missing inputs, as gathers
    of labels do; then the next job that does not (a gate, such as "check labels") judges what is
    there. When a gate has failed, the failed jobs behind it run again, and so do label jobs with
    failed frames, with the gathers in between. Where the gate let the flow go on they are
    settled.

    Parameters
    ----------
    history : History
    regather : bool
        Whether the gathers behind a failed gate run again even if no failed job is behind them.
    """
    nodes = history.nodes()
    behind: dict[Node, None] = {}
    for gate in nodes:
        if gate.failed and not tolerates_missing(gate.job):
            behind.update(dict.fromkeys(inputs_of(gate, nodes)))
    again = [n for n in behind if n.failed or n.entry is None] + history.failed_frames(behind)
    if regather:
        again += [n for n in behind if tolerates_missing(n.job) and n not in again]
    if again:
        history.forget(again)
    return again


def inputs_of(gate: Node, nodes: Iterable[Node]) -> list[Node]:
    """Return the jobs whose outputs a job judges: its parents, and theirs through gathers."""
    by_uuid: dict[str, list[Node]] = defaultdict(list)
    for node in nodes:
        by_uuid[node.job.uuid].append(node)
    found: dict[Node, None] = {}
    waiting = [gate]
    while waiting:
        for uuid in waiting.pop().parents:
            for node in by_uuid[uuid]:
                passes = tolerates_missing(node.job) or node.job.name == PASS_ON
                if passes and node not in found:
                    waiting.append(node)
                found[node] = None
    return list(found)


def tolerates_missing(job: Job) -> bool:
    """Tell whether a job is meant to run without some of its inputs.

    jobflow's own ``store_inputs`` says so too, but it only passes on what a replacing flow
    returns: without that, the job it stands for has failed.
    """
    return job.name != PASS_ON and job.config.on_missing_references != OnMissing.ERROR


def outcome_state(path: Path) -> str | None:
    """Return the state that a label job recorded of one frame."""
    try:
        return json.loads(path.read_bytes())["document"]["state"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _has_failed_frame(output: Any) -> bool:
    calculations = output.get("calculations") if isinstance(output, dict) else None
    if not isinstance(calculations, list):
        return False
    return any(isinstance(c, dict) and c.get("state") == "failed" for c in calculations)
