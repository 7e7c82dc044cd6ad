"""The stages of an iteration: what their workflows are, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Protocol

from jobflow import Flow, Job, OutputReference

from atomate2_alpot.campaign.context import Context, Step, carried
from atomate2_alpot.campaign.documents import BatchDoc, stage_id
from atomate2_alpot.campaign.jobs import conclude, keep_frames
from atomate2_alpot.dataset.labels import GATHER
from atomate2_alpot.flows import ActiveLearningMaker
from atomate2_alpot.flows.jobs import TEST_SET, hand_on, record_iteration
from atomate2_alpot.flows.loop import ATOMS, CRYSTALS, KNOWN_ATOMS
from atomate2_alpot.flows.state import LoopState, Pointer
from atomate2_alpot.flows.stopping import RUNNING
from atomate2_alpot.schemas import Shard
from atomate2_alpot.select.jobs import gather_screens

SELECTED = "selected"
"""Name of the set of frames that an iteration labels."""

END = "end"
"""Stage of a campaign that has ended."""

Payload = dict[str, Any]


class Stage(Protocol):
    """One stage; its batches are independent workflows."""

    name: ClassVar[str]
    leased: ClassVar[bool]

    def plan(self, ctx: Context) -> Iterator[Payload]:
        """Yield what each batch is about; the same whenever and by whomever it is asked."""
        ...

    def make(self, ctx: Context, batch: BatchDoc) -> Flow:
        """Make the workflow of a batch."""
        ...

    def collect(self, ctx: Context, batch: BatchDoc) -> dict[str, Any]:
        """Take in the output of a batch and return what is counted; may run twice."""
        ...

    def give_up(self, ctx: Context, batch: BatchDoc) -> str | None:
        """Return the uuid of an output that stands for a batch that never came back."""
        ...

    def finish(self, ctx: Context) -> Step:
        """Judge a finished stage and return what follows."""
        ...


class OneWorkflow:
    """A stage that is a single workflow, ended by `conclude`."""

    name: ClassVar[str]
    leased: ClassVar[bool] = False

    def plan(self, ctx: Context) -> Iterator[Payload]:  # noqa: ARG002
        """Yield the only batch."""
        yield {}

    def collect(self, ctx: Context, batch: BatchDoc) -> dict[str, Any]:  # noqa: ARG002
        """Count nothing."""
        return {}

    def give_up(self, ctx: Context, batch: BatchDoc) -> str | None:  # noqa: ARG002
        """Nothing stands for it."""
        return None

    def conclusion(self, ctx: Context) -> tuple[dict[str, Pointer], dict[str, Any], Any]:
        """Return pointers, values and the loop's state that the workflow ended with."""
        (batch,) = ctx.state.outputs(ctx.doc.stage_id)
        output = ctx.read(Pointer(uuid=str(batch.output)))
        return output["pointers"], output["values"], output["loop"]


class Prepare(OneWorkflow):
    """Pool, committee, and the frames that are labelled before the loop."""

    name = "prepare"

    def make(self, ctx: Context, batch: BatchDoc) -> Flow:
        """Make the workflow."""
        maker = ctx.maker
        pool, prepare, test = maker.proposal()
        pointers = {
            "pool": Pointer.of(pool.output),
            "committee": Pointer.of(prepare.output.committee),
            TEST_SET: Pointer.of(test.output.frames),
        }
        if maker.loop.label_crystals:
            pointers[CRYSTALS] = Pointer.of(prepare.output.crystals)
        atoms = _atoms(maker) if maker.loop.label_atoms else {}
        pointers |= {name: Pointer.of(output) for name, (_, output, _) in atoms.items()}
        # what it waits for: the workflow has ended when all of it is there
        made = {"n_test": test.output.n_selected, **{name: n for name, (_, _, n) in atoms.items()}}
        jobs: list[Job | Flow] = [pool, prepare, test, *(job for job, _, _ in atoms.values())]
        return ctx.workflow(jobs, conclude(pointers, made), batch, "prepare")

    def finish(self, ctx: Context) -> Step:
        """Label what the loop begins with."""
        pointers, _, _ = self.conclusion(ctx)
        return Step("label", 0, None, pointers)


class Screen:
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
        inputs = carried(pool=loop.pool, committee=loop.committee)
        whole = ctx.proposer.shards(inputs.output["pool"], loop.iteration)[payload["shard"]]
        part = Shard(source=whole["source"], start=payload["start"], stop=payload["stop"])
        jobs = ctx.selector.screen(part, inputs.output["committee"], loop.iteration)
        last = gather_screens([job.output for job in jobs])
        return ctx.workflow([inputs, *jobs], last, batch, "select")

    def collect(self, ctx: Context, batch: BatchDoc) -> dict[str, Any]:
        """Count the candidates."""
        return ctx.read_fields(str(batch.output), ["n_screened"])

    def give_up(self, ctx: Context, batch: BatchDoc) -> str | None:  # noqa: ARG002
        """Leave the range out."""
        return None

    def finish(self, ctx: Context) -> Step:
        """Join them in levels, or choose at once."""
        return Step("merge", ctx.doc.iteration, ctx.doc.loop)


class Merge:
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

    def collect(self, ctx: Context, batch: BatchDoc) -> dict[str, Any]:
        """Count the candidates."""
        return ctx.read_fields(str(batch.output), ["n_screened"])

    def give_up(self, ctx: Context, batch: BatchDoc) -> str | None:  # noqa: ARG002
        """Leave the group out."""
        return None

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
        known = carried(frames=[*loop.dataset, loop.test])
        pick = ctx.selector.choose(
            [inputs.output["screens"][i] for i in range(len(members))],
            [known.output["frames"][i] for i in range(len(loop.dataset) + 1)],
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


class Train(OneWorkflow):
    """Trains the committee, assesses it, writes the iteration document."""

    name = "train"

    def make(self, ctx: Context, batch: BatchDoc) -> Flow:
        """Make the workflow."""
        seen = ctx.doc.pointers
        lean = ctx.maker.lean(ctx.doc.campaign_id)
        jobs, record, after = lean.training(ctx.loop, seen["selection"], seen["labels"])
        names = "status", "message", "trained"
        last = conclude({}, {name: getattr(record.output, name) for name in names}, after)
        return ctx.workflow(jobs, last, batch, "train")

    def finish(self, ctx: Context) -> Step:
        """Go on to the next iteration, or end."""
        _, values, loop = self.conclusion(ctx)
        status, message = values["status"], values["message"]
        if status != RUNNING:
            return Step(END, ctx.doc.iteration, loop, {}, status, message)
        following = ctx.doc.iteration + 1
        loop = LoopState.model_validate(loop).advanced(
            iteration=following, committee_names=values["trained"]
        )
        return Step("screen", following, loop, {}, status)


class Record(OneWorkflow):
    """Writes the document of an iteration that selected nothing."""

    name = "record"

    def make(self, ctx: Context, batch: BatchDoc) -> Flow:
        """Make the workflow."""
        found = carried(selection=ctx.doc.pointers["selection"])
        lean = ctx.maker.lean(ctx.doc.campaign_id)
        record = record_iteration(lean, ctx.loop, found.output["selection"])
        record.name = "record iteration"
        values = {"status": record.output.status, "message": record.output.message}
        return ctx.workflow([found, record], conclude({}, values), batch, "assess")

    def finish(self, ctx: Context) -> Step:
        """End the campaign."""
        _, values, _ = self.conclusion(ctx)
        return Step(END, ctx.doc.iteration, ctx.loop, {}, values["status"], values["message"])


def _atoms(
    maker: ActiveLearningMaker,
) -> dict[str, tuple[Job, OutputReference, OutputReference]]:
    """Return the jobs that store isolated atoms: the output of each, and a number in it."""
    made = {}
    _, missing = maker.atoms_to_label()
    if maker.known_atoms is not None and len(maker.known_atoms.frames):
        known = hand_on(maker.known_atoms)
        known.name = GATHER
        made[KNOWN_ATOMS] = known, known.output, known.output.n_labelled
    if len(missing):
        kept = keep_frames(missing)
        made[ATOMS] = kept, kept.output["frames"], kept.output["n_frames"]
    return made


def outputs_of(ctx: Context, stage: str, first: int = 0, last: int | None = None) -> list[BatchDoc]:
    """Return the batches of a stage of this iteration that have an output, in order."""
    return ctx.state.outputs(stage_id(ctx.doc.campaign_id, ctx.doc.iteration, stage), first, last)


def pointers_to(batches: list[BatchDoc]) -> list[Pointer]:
    """Return where the outputs of batches are."""
    return [Pointer(uuid=str(batch.output)) for batch in batches]
