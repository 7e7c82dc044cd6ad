"""Taking in what workflows left in the store, and what became of those that left nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from atomate2_alpot.campaign.context import Context, MissingOutputError
from atomate2_alpot.campaign.documents import BROKEN, COLLECTED, LOST, PLANNED, SUBMITTED, BatchDoc
from atomate2_alpot.campaign.engines import Engine, WorkflowState
from atomate2_alpot.campaign.identity import identified, output_uuid, workflow_key
from atomate2_alpot.campaign.stages import UNREPORTED, Stage
from atomate2_alpot.flows.routing import apply_routing

logger = logging.getLogger(__name__)


ACTIONS: tuple[str, ...] = ("collected", "submitted", "resubmitted", "failed")


@dataclass
class Progress:
    """What one pass did.

    Parameters
    ----------
    submitted, collected, failed, resubmitted : list of str
        Keys of batches.
    stages : list of str
        Stages that were left.
    note : callable, optional
        Called with this object whenever a list of it has grown.
    """

    submitted: list[str] = field(default_factory=list)
    collected: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    resubmitted: list[str] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    note: Callable[[Progress], object] | None = field(default=None, repr=False)

    def add(self, what: str, key: str) -> None:
        """Add to one of the lists."""
        getattr(self, what).append(key)
        if self.note is not None:
            self.note(self)

    def __str__(self) -> str:
        counts = ((name, len(getattr(self, name))) for name in ACTIONS)
        return ", ".join(f"{n} {name}" for name, n in counts if n) or "nothing to do yet"


@dataclass
class Worker:
    """One pass over the batches of one stage.

    Parameters
    ----------
    ctx : Context
    stage : Stage
    engine : Engine
    progress : Progress
        Written to.
    lacking : dict
        Key of a batch -> what is missing of its output.
    died : set of str
        Keys of batches some of whose jobs ended without an output, and are to run again.
    """

    ctx: Context
    stage: Stage
    engine: Engine
    progress: Progress
    lacking: dict[str, str] = field(default_factory=dict)
    died: set[str] = field(default_factory=set)

    # --- what came back -----------------------------------------------------------------------

    def collect(self) -> None:
        """Collect every batch whose output is in the store; see what became of the others."""
        batches = self.ctx.state.find(self.ctx.doc.stage_id, [SUBMITTED, BROKEN])
        missing = self._take(batches)
        waiting = [b for b in missing if b.state == SUBMITTED]
        if not waiting:
            return
        keys = {workflow_key(b): b for b in waiting}
        states = self.engine.states(list(keys))
        ended = {WorkflowState.COMPLETED, WorkflowState.FAILED}
        # its output may have come between the two queries
        still = {b.key for b in self._take([b for k, b in keys.items() if states.get(k) in ended])}
        now = self.ctx.state.now()
        for key, batch in keys.items():
            state = states.get(key)
            if state in ended and batch.key in still:
                if batch.key in self.died:
                    self._run_again(batch, now)
                else:
                    self._fail(batch, state)
            elif state is None:
                self._hand_over_again(batch, now)
            elif state not in ended and batch.deadline is not None and batch.deadline < now:
                self._end_lease(batch)

    def _take(self, batches: list[BatchDoc]) -> list[BatchDoc]:
        """Collect batches that have an output; return the others."""
        uuids = {output_uuid(workflow_key(b, a)): (b, a) for b in batches for a in _attempts(b)}
        criteria = {"uuid": {"$in": list(uuids)}}
        found = self.ctx.stores.jobs.query(criteria, ["uuid"], load=False) if uuids else ()
        arrived: dict[str, list[int]] = {}
        for batch, attempt in (uuids[d["uuid"]] for d in found):
            arrived.setdefault(batch.key, []).append(attempt)
        # the first attempt counts, unless a blob of it is lost
        return [
            b
            for b in batches
            if not any(self._take_one(b, a) for a in sorted(arrived.get(b.key, [])))
        ]

    def _take_one(self, batch: BatchDoc, attempt: int) -> bool:
        """Collect an attempt at a batch; what it writes is written before it counts."""
        output = output_uuid(workflow_key(batch, attempt))
        try:
            counts = self.stage.collect(self.ctx, batch.model_copy(update={"output": output}))
        except MissingOutputError as error:
            self.lacking[batch.key] = str(error)
            return False
        if counts.get(UNREPORTED) and batch.reruns < self.ctx.policy.max_attempts - 1:
            self.died.add(batch.key)
            return False
        changes = {"state": COLLECTED, "output": output, "counts": counts, "message": ""}
        if self.ctx.state.change(batch, changes):
            self.progress.add("collected", batch.key)
            if attempt != batch.attempt:
                self._cancel(workflow_key(batch))
        return True

    def _fail(self, batch: BatchDoc, state: WorkflowState | None) -> None:
        what = f"workflow {workflow_key(batch)} failed; see the log of {self.engine.name}"
        if batch.key in self.lacking:
            what = f"workflow {workflow_key(batch)} is complete, but {self.lacking[batch.key]}"
        elif state == WorkflowState.COMPLETED:
            what = (
                f"workflow {workflow_key(batch)} is complete, but its output is not in "
                f"{self.ctx.stores.where}: do the workers of {self.engine.name} write to the "
                "store of this campaign (jobflow.yaml)?"
            )
        if self.ctx.state.change(batch, {"state": BROKEN, "message": what}):
            self.progress.add("failed", batch.key)

    def _run_again(self, batch: BatchDoc, now: datetime) -> None:
        """Let jobs that ended without an output run again; what others computed stays."""
        key, lease = workflow_key(batch), timedelta(hours=self.ctx.policy.lease)
        changes = {"reruns": batch.reruns + 1, "submitted_at": now, "deadline": now + lease}
        if self.ctx.state.change(batch, changes):
            self.engine.rerun(key)
            self.progress.add("resubmitted", batch.key)

    def _hand_over_again(self, batch: BatchDoc, now: datetime) -> None:
        """Submit a workflow that the engine does not know: whoever was to submit it died."""
        grace = timedelta(seconds=self.ctx.policy.grace)
        if batch.submitted_at is None or now - batch.submitted_at >= grace:
            self._submit(batch)
            self.progress.add("resubmitted", batch.key)

    def _end_lease(self, batch: BatchDoc) -> None:
        key, policy = workflow_key(batch), self.ctx.policy
        words = f"{key} did not return within {policy.lease:g} h"
        if batch.attempt < policy.max_attempts:
            action, changed = "resubmitted", self.ctx.state.again(batch, words)
        else:
            words += f"; that was attempt {batch.attempt} of {policy.max_attempts}"
            changes = {"state": BROKEN, "message": words}
            action, changed = "failed", self.ctx.state.change(batch, changes)
        if changed:
            self.progress.add(action, batch.key)
            self._cancel(key)

    # --- what goes out ------------------------------------------------------------------------

    def submit(self) -> None:
        """Submit planned batches, as many as may be in flight."""
        state, policy = self.ctx.state, self.ctx.policy
        room = policy.max_in_flight - state.count(self.ctx.doc.stage_id, SUBMITTED)
        if room <= 0:
            return
        lease = timedelta(hours=policy.lease) if self.stage.leased else None
        for batch in state.find(self.ctx.doc.stage_id, [PLANNED], limit=room):
            if not state.is_running():  # somebody paused it meanwhile
                return
            claimed = state.claim(batch, lease)
            if claimed is None:  # somebody else has it
                continue
            try:
                self._submit(claimed)
            except Exception:
                state.change(claimed, {"state": PLANNED, "submitted_at": None, "deadline": None})
                raise
            self.progress.add("submitted", batch.key)

    def _submit(self, batch: BatchDoc) -> None:
        key = workflow_key(batch)
        flow = self.stage.make(self.ctx, batch)
        apply_routing(flow, self.ctx.maker.routing)
        self.engine.submit(identified(flow, key), key)

    # --- what is given up ---------------------------------------------------------------------

    def give_up(self) -> None:
        """Go on without the batches that have not come back."""
        for batch in self.ctx.state.find(self.ctx.doc.stage_id, [PLANNED, SUBMITTED, BROKEN]):
            output = self.stage.give_up(self.ctx, batch)
            changes: dict[str, object] = {"state": LOST, "output": output}
            if output is not None:
                found = batch.model_copy(update={"output": output})
                changes["counts"] = self.stage.collect(self.ctx, found)
            if self.ctx.state.change(batch, changes) and batch.state == SUBMITTED:
                self._cancel(workflow_key(batch))

    def retry(self, batch: BatchDoc) -> bool:
        """Let a failed batch run again: its workflow if there is one, else a new one."""
        key, words = workflow_key(batch), "retried"
        if self.engine.states([key]).get(key) == WorkflowState.FAILED:
            self.engine.rerun(key)
            lease = timedelta(hours=self.ctx.policy.lease) if self.stage.leased else None
            now = self.ctx.state.now()
            changes = {"state": SUBMITTED, "submitted_at": now, "message": words}
            return self.ctx.state.change(
                batch, {**changes, "deadline": None if lease is None else now + lease}
            )
        return self.ctx.state.again(batch, words)

    def _cancel(self, key: str) -> None:
        """Take a workflow out; if that fails, its late output is ignored."""
        try:
            self.engine.cancel(key)
        except Exception as error:
            logger.warning("workflow %s could not be cancelled: %s", key, type(error).__name__)


def _attempts(batch: BatchDoc) -> range:
    """Return the attempts whose output may come, late ones included."""
    return range(batch.first_attempt, batch.attempt + 1)
