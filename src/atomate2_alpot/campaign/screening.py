"""The stages that screen candidates, range by range, and choose what is labelled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from jobflow import Flow, Job

from atomate2_alpot.campaign.context import Context, Step, carried
from atomate2_alpot.campaign.documents import BatchDoc
from atomate2_alpot.campaign.jobs import conclude
from atomate2_alpot.campaign.stages import (
    SELECTED,
    OneWorkflow,
    Payload,
    outputs_of,
    pointers_to,
)
from atomate2_alpot.campaign.state import CampaignError
from atomate2_alpot.flows.state import Pointer
from atomate2_alpot.schemas import Shard
from atomate2_alpot.select.jobs import gather_screens

ACTIVE = "active"
"""Name of the pointer to what candidates are graded by."""


class Reference(OneWorkflow):
    """What candidates are graded by, once an iteration; nothing if they are not graded."""

    name = "reference"

    def plan(self, ctx: Context) -> Iterator[Payload]:
        """Yield the only batch, if the selector asks for one."""
        if self._job(ctx) is not None:
            yield {}

    def make(self, ctx: Context, batch: BatchDoc) -> Flow:
        """Make the workflow."""
        known = carried(training=list(ctx.loop.dataset), committee=ctx.loop.committee)
        last = self._job(ctx, known)
        if last is None:
            raise CampaignError("select: the criterion changed; set it back for this iteration")
        return ctx.workflow([known], last, batch, "select")

    def collect(self, ctx: Context, batch: BatchDoc) -> dict[str, Any]:
        """Count nothing."""
        ctx.require_blobs(str(batch.output))
        return {}

    def finish(self, ctx: Context) -> Step:
        """Screen."""
        found = outputs_of(ctx, self.name)
        pointers = {ACTIVE: Pointer(uuid=str(found[0].output), path=["table"])} if found else {}
        return Step("screen", ctx.doc.iteration, ctx.loop, pointers)

    def _job(self, ctx: Context, known: Job | None = None) -> Job | None:
        n = len(ctx.loop.dataset)
        if known is None:  # to see whether there is one
            return ctx.selector.reference(ctx.loop.committee.reference(), [])
        training = [known.output["training"][i] for i in range(n)]
        return ctx.selector.reference(known.output["committee"], training)


class _Screened:
    """What stages have in common whose workflows end with joined screens."""

    def collect(self, ctx: Context, batch: BatchDoc) -> dict[str, Any]:
        """Count the candidates."""
        ctx.require_blobs(str(batch.output))
        return ctx.read_fields(str(batch.output), ["n_screened"])

    def give_up(self, ctx: Context, batch: BatchDoc) -> str | None:  # noqa: ARG002
        """Leave its candidates out."""
        return None


class Screen(_Screened):
    """Ranges of candidates."""

    name: ClassVar[str] = "screen"
    leased: ClassVar[bool] = True

    def plan(self, ctx: Context) -> Iterator[Payload]:
        """Yield ranges; the candidates in them are nowhere yet."""
        loop, size = ctx.loop, ctx.selector.chunk_size * ctx.policy.screen_chunks
        shards = ctx.proposer.shards(loop.pool.reference(), loop.iteration)
        for number, shard in enumerate(shards):
            for start in range(shard["start"], shard["stop"], size):
                yield {"shard": number, "start": start, "stop": min(start + size, shard["stop"])}

    def make(self, ctx: Context, batch: BatchDoc) -> Flow:
        """Make the workflow of a range: some screening jobs, and one that joins them."""
        loop, payload = ctx.loop, batch.payload
        active = ctx.doc.pointers.get(ACTIVE)
        inputs = carried(pool=loop.pool, committee=loop.committee, active=active)
        whole = ctx.proposer.shards(inputs.output["pool"], loop.iteration)[payload["shard"]]
        part = Shard(source=whole["source"], start=payload["start"], stop=payload["stop"])
        graded_by = None if active is None else inputs.output["active"]
        jobs = ctx.selector.screen(part, inputs.output["committee"], loop.iteration, graded_by)
        last = gather_screens([job.output for job in jobs])
        return ctx.workflow([inputs, *jobs], last, batch, "select")

    def finish(self, ctx: Context) -> Step:
        """Join them in levels, or choose at once."""
        return Step("merge", ctx.doc.iteration, ctx.doc.loop)


class Merge(_Screened):
    """Joins screened ranges in groups, where there are more than one job should hold."""

    name: ClassVar[str] = "merge"
    leased: ClassVar[bool] = False

    def plan(self, ctx: Context) -> Iterator[Payload]:
        """Yield groups of batches of the stage before."""
        found, size = outputs_of(ctx, "screen"), ctx.policy.gather_size
        for start in range(0, len(found) if len(found) > size else 0, size):
            group = found[start : start + size]
            yield {"first": group[0].batch, "last": group[-1].batch + 1}

    def make(self, ctx: Context, batch: BatchDoc) -> Flow:
        """Make the workflow of a group."""
        members = outputs_of(ctx, "screen", batch.payload["first"], batch.payload["last"])
        inputs = carried(screens=pointers_to(members))
        join = gather_screens([inputs.output["screens"][i] for i in range(len(members))])
        return ctx.workflow([inputs], join, batch, "select")

    def finish(self, ctx: Context) -> Step:
        """Choose."""
        return Step("select", ctx.doc.iteration, ctx.doc.loop)


class Select(OneWorkflow):
    """Chooses what is labelled."""

    name = "select"

    def make(self, ctx: Context, batch: BatchDoc) -> Flow:
        """Make the workflow."""
        loop = ctx.loop
        members = outputs_of(ctx, "merge") or outputs_of(ctx, "screen")
        inputs = carried(screens=pointers_to(members))
        known = carried(training=list(loop.dataset), test=loop.test, committee=loop.committee)
        pick = ctx.selector.choose(
            [inputs.output["screens"][i] for i in range(len(members))],
            known.output["committee"],
            [known.output["training"][i] for i in range(len(loop.dataset))],
            [known.output["test"]],
            loop.iteration,
            ctx.maker.loop.budget(loop.n_labels),
        )
        last = conclude({"selection": Pointer.of(pick.output)}, {"n": pick.output.n_selected})
        return ctx.workflow([inputs, known, pick], last, batch, "select")

    def finish(self, ctx: Context) -> Step:
        """Label what was chosen; if nothing was, the campaign ends."""
        pointers, values, _ = self.conclusion(ctx)
        if values["n"] == 0:
            return Step("record", ctx.doc.iteration, ctx.loop, pointers)
        whole = pointers["selection"]
        pointers[SELECTED] = Pointer(uuid=whole.uuid, path=[*whole.path, "frames"])
        loop = ctx.loop.advanced(n_labels=ctx.loop.n_labels + values["n"])
        return Step("label", ctx.doc.iteration, loop, pointers)
