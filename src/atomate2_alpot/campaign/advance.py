"""`Campaign`: many independent workflows on an engine, one state document.

``advance`` runs nothing itself. It may be killed at any point and run by several at the same time:
each step is one atomic write that only one of them gets to do, or a write that comes out the same
whoever does it; what a step needs is written before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from atomate2_alpot.campaign.collect import Progress, Worker
from atomate2_alpot.campaign.context import Context, MissingOutputError, Step
from atomate2_alpot.campaign.documents import (
    BROKEN,
    COLLECTED,
    FAILED,
    FINISHED,
    PLANNED,
    RUNNING,
    SUBMITTED,
    CampaignDoc,
    IterationSummary,
    batch_doc,
)
from atomate2_alpot.campaign.engines import Engine
from atomate2_alpot.campaign.labels import Gather, Join, Label
from atomate2_alpot.campaign.policy import CampaignPolicy
from atomate2_alpot.campaign.screening import Merge, Reference, Screen, Select
from atomate2_alpot.campaign.stages import END, Prepare, Record, Stage, Train
from atomate2_alpot.campaign.state import CampaignError, CampaignState
from atomate2_alpot.dataset.stores import Stores
from atomate2_alpot.flows import ActiveLearningMaker

STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Prepare(),
        Reference(),
        Screen(),
        Merge(),
        Select(),
        Label(),
        Gather(),
        Join(),
        Train(),
        Record(),
    )
}
"""Name -> stage; an iteration goes through reference … train, iteration 0 prepare, label … join."""


@dataclass
class Campaign:
    """A campaign, as one process sees it.

    Parameters
    ----------
    maker : ActiveLearningMaker
        The loop; its labeller a LabelMaker, its selector a RangeSelector.
    stores : Stores
        Connected; the engine's workers write to the same.
    engine : Engine
    state : CampaignState
    policy : CampaignPolicy
    """

    maker: ActiveLearningMaker
    stores: Stores
    engine: Engine
    state: CampaignState
    policy: CampaignPolicy = field(default_factory=CampaignPolicy)

    def init(self, config: Mapping[str, Any] | None = None) -> CampaignDoc:
        """Write the campaign; nothing is submitted yet.

        Raises
        ------
        CampaignError
            If there is one of this name, or a step cannot be cut into workflows.
        ValueError
            If a step is missing.
        EngineError
            If the engine cannot be used.
        """
        self.maker.check()
        self.engine.check()
        now = self.state.now()
        doc = CampaignDoc(
            campaign_id=self.state.campaign_id,
            engine=self.engine.name,
            stage=Prepare.name,
            stage_since=now,
            created_at=now,
            config=dict(config or {}),
        )
        ctx = self._context(doc)
        _ = ctx.selector, ctx.labeller  # raise where they do not fit
        self.state.create(doc)
        return doc

    def advance(self, note: Callable[[Progress], object] | None = None) -> Progress:
        """Collect what is finished, submit what is missing, go on where the policy allows.

        Parameters
        ----------
        note : callable, optional
            Told of every workflow and stage, as it happens.

        Returns
        -------
        Progress
            What this call did; nothing if there is nothing to do yet.
        """
        progress = Progress(note=note)
        while True:
            ctx = self._context(self._load())
            if ctx.doc.stage == END:
                return progress
            if not self._plan(ctx):
                continue  # now it is planned, by this process or another
            worker = Worker(ctx, STAGES[ctx.doc.stage], self.engine, progress)
            worker.collect()
            if ctx.doc.status != RUNNING:
                return progress
            worker.submit()
            if not self._finish(worker):
                return progress

    def collect(self) -> Progress:
        """Collect what is finished, and nothing else."""
        ctx, progress = self._context(self._load()), Progress()
        if ctx.doc.stage != END:
            Worker(ctx, STAGES[ctx.doc.stage], self.engine, progress).collect()
        return progress

    def retry(self, failed_labels: bool = False) -> list[str]:
        """Let failed workflows of the present stage run again, and a failed campaign go on.

        Parameters
        ----------
        failed_labels : bool
            Label batches again in which frames failed, as far as they were collected: their
            labels that succeeded stay.

        Returns
        -------
        list of str
            Keys of the batches.
        """
        ctx = self._context(self._load())
        if ctx.doc.stage == END:
            raise CampaignError(f"campaign {ctx.doc.campaign_id} has ended: {ctx.doc.message}")
        worker = Worker(ctx, STAGES[ctx.doc.stage], self.engine, Progress())
        again = [b for b in self.state.find(ctx.doc.stage_id, [BROKEN]) if worker.retry(b)]
        if failed_labels:
            again += [
                b
                for b in self.state.find(ctx.doc.stage_id, [COLLECTED])
                if b.counts.get("n_labelled", 0) < b.counts.get("n_requested", 0)
                and self.state.again(b, "failed labels", afresh=True)
            ]
        self.state.set_status([FAILED], RUNNING)
        return [b.key for b in again]

    # --- internals ----------------------------------------------------------------------------

    def _load(self) -> CampaignDoc:
        doc = self.state.load()
        if doc.engine != self.engine.name:
            raise CampaignError(
                f"campaign {doc.campaign_id} was started on {doc.engine}, not on "
                f"{self.engine.name}: its workflows are there"
            )
        return doc

    def _context(self, doc: CampaignDoc) -> Context:
        return Context(self.maker, self.stores, self.state, self.policy, doc)

    def _plan(self, ctx: Context) -> bool:
        """Write the batches of the stage; tell whether `ctx` is up to date after it."""
        doc = ctx.doc
        if doc.planned or doc.status != RUNNING:
            return True
        payloads = STAGES[doc.stage].plan(ctx)
        batches = (batch_doc(doc.stage_id, n, payload) for n, payload in enumerate(payloads))
        n = self.state.plan(batches)
        self.state.move(doc, {"planned": True, "n_batches": n})
        return False

    def _finish(self, worker: Worker) -> bool:
        """Go on to the next stage where the policy allows; tell whether somebody did."""
        ctx = worker.ctx
        if not self._may_go_on(worker):
            return False
        try:
            step = worker.stage.finish(ctx)
        except (RuntimeError, ValueError) as error:
            if isinstance(error, MissingOutputError):
                error = MissingOutputError(f"stage {ctx.doc.stage_id}: {error}")
            self.state.set_status([RUNNING], FAILED, str(error))
            return False
        if self.state.move(ctx.doc, self._changes(ctx.doc, step)):
            worker.progress.add("stages", ctx.doc.stage_id)
        return True

    def _may_go_on(self, worker: Worker) -> bool:
        """Judge whether the stage has what it needs; give up the rest if it has."""
        ctx, state, policy = worker.ctx, self.state, self.policy
        stage_id = ctx.doc.stage_id
        if not state.any_in(stage_id, [PLANNED, SUBMITTED, BROKEN]):
            return True
        running = state.any_in(stage_id, [PLANNED, SUBMITTED])
        late = policy.max_wait is not None and (
            state.now() - ctx.doc.stage_since >= timedelta(hours=policy.max_wait)
        )
        if running and not late:
            return False
        n_done = state.count(stage_id, COLLECTED)
        if n_done and n_done >= policy.min_finished_fraction * ctx.doc.n_batches:
            worker.give_up()
            return not state.any_in(stage_id, [PLANNED, SUBMITTED, BROKEN])
        if not running:
            broken = state.find(stage_id, [BROKEN], limit=1)
            n_broken = state.count(stage_id, BROKEN)
            message = (
                f"{n_broken} of {ctx.doc.n_batches} workflows of {stage_id} failed, and "
                f"campaign.min_finished_fraction is {policy.min_finished_fraction:g}. Mend the "
                f"cause, then `alpot campaign retry`. One of them: {broken[0].message}"
            )
            state.set_status([RUNNING], FAILED, message)
        return False

    def _changes(self, doc: CampaignDoc, step: Step) -> dict[str, Any]:
        """Return what changes in the campaign with a step."""
        now = self.state.now()
        changes: dict[str, Any] = {
            "stage": step.stage,
            "iteration": step.iteration,
            "planned": False,
            "n_batches": 0,
            "stage_since": now,
            "loop": None if step.loop is None else step.loop.model_dump(),
            "pointers": {name: p.model_dump() for name, p in step.pointers.items()},
        }
        if step.ended is not None:
            ended = IterationSummary(
                iteration=doc.iteration,
                status=step.ended,
                n_labels=step.loop.n_labels if step.loop else 0,
                ended_at=now,
            )
            changes["history"] = [h.model_dump() for h in (*doc.history, ended)]
        if step.stage == END:
            words = f"{step.ended}: {step.message}" if step.message else str(step.ended)
            changes |= {"status": FINISHED, "message": words, "planned": True}
        return changes
