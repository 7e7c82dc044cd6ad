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

SELECTED = "selected"
"""Name of the set of frames that an iteration labels."""

UNREPORTED = "n_unreported"
"""Count of frames whose label job ended without an output: it was killed, or its disk was full."""

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
        return Step("reference", following, loop, {}, status)


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
