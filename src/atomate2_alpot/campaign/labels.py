"""The stages that label: batches of frames, and the gathers that join them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from jobflow import Flow

from atomate2_alpot.campaign.context import Context, MissingOutputError, Step, carried
from atomate2_alpot.campaign.documents import BatchDoc
from atomate2_alpot.campaign.identity import part_uuid, workflow_key
from atomate2_alpot.campaign.jobs import join_batches
from atomate2_alpot.campaign.join import failed_batch
from atomate2_alpot.campaign.stages import (
    SELECTED,
    UNREPORTED,
    Payload,
    outputs_of,
    pointers_to,
)
from atomate2_alpot.dataset.labels import GATHER, label_documents, write_labels
from atomate2_alpot.dataset.outputs import write_output
from atomate2_alpot.flows.jobs import TEST_SET, begin_loop, check_first_labels
from atomate2_alpot.flows.loop import ATOMS, CRYSTALS, KNOWN_ATOMS
from atomate2_alpot.flows.state import LoopState, Pointer
from atomate2_alpot.label import LabelMaker
from atomate2_alpot.label.limits import LabelLimits
from atomate2_alpot.schemas import Frames, LabelBatchDoc

SETS: tuple[str, ...] = (TEST_SET, CRYSTALS, ATOMS, SELECTED)
"""Sets of frames that are labelled; the first three before the loop."""

ANCHORS: tuple[str, ...] = (CRYSTALS, KNOWN_ATOMS, ATOMS)
"""What is labelled before the loop and joins the training set, in this order."""

COUNTS: tuple[str, ...] = ("n_requested", "n_labelled", "failures")


class Label:
    """Frames, some in each workflow."""

    name: ClassVar[str] = "label"
    leased: ClassVar[bool] = True

    def plan(self, ctx: Context) -> Iterator[Payload]:
        """Yield batches of frames, each stored by itself: no workflow reads the others' frames."""
        known, number = ctx.state.known(ctx.doc.stage_id), 0
        for name in sets_of(ctx):
            frames: Frames = ctx.read(ctx.doc.pointers[name])
            for start in range(0, len(frames), ctx.policy.batch_size):
                part = frames[start : start + ctx.policy.batch_size]
                payload = {"set": name, "start": start, "n_frames": len(part)}
                if number not in known:
                    _store(ctx, _shard_uuid(ctx, name, start), "frames to label", {"frames": part})
                yield payload
                number += 1

    def make(self, ctx: Context, batch: BatchDoc) -> Flow:
        """Make the workflow of a batch: its rows, and one gather."""
        flow = labeller_of(ctx, batch.payload["set"]).batch_flow(
            frames_of(ctx, batch), ctx.doc.iteration
        )
        return ctx.tagged(flow, batch, _stage_of(batch.payload["set"]))

    def collect(self, ctx: Context, batch: BatchDoc) -> dict[str, Any]:
        """Write the label documents, unless they are to be judged against each other first."""
        found: LabelBatchDoc = ctx.read(Pointer(uuid=str(batch.output)))
        if _limits(ctx, batch.payload["set"]).max_energy_deviation is None:
            _write(ctx, found, batch.key, batch.payload["set"])
        return _counts(found)

    def give_up(self, ctx: Context, batch: BatchDoc) -> str | None:
        """Store a failure for each frame, in the place of what the workflow would have stored."""
        key = workflow_key(batch)
        uuid, labeller = part_uuid(key, "given up"), labeller_of(ctx, batch.payload["set"])
        header = {
            **labeller.method,
            "iteration": ctx.doc.iteration,
            "campaign_id": ctx.doc.campaign_id,
        }
        _store(ctx, uuid, "label batch", failed_batch(frames_of(ctx, batch), uuid, header))
        return uuid

    def finish(self, ctx: Context) -> Step:
        """Judge how many labels succeeded, before anything is joined."""
        counts = {
            name: {"n_requested": 0, "n_labelled": 0, "failures": []} for name in sets_of(ctx)
        }
        for batch in outputs_of(ctx, self.name):
            total: dict[str, Any] = counts[batch.payload["set"]]
            total["n_requested"] += batch.counts["n_requested"]
            total["n_labelled"] += batch.counts["n_labelled"]
            for reason, n in batch.counts["reasons"].items():
                total["failures"] += [{"reason": reason}] * n
        if ctx.doc.iteration == 0:
            check_first_labels(ctx.maker, counts)
        else:
            ctx.maker.check_label_policy(counts[SELECTED])
        return Step("gather", ctx.doc.iteration, ctx.doc.loop, ctx.doc.pointers)


class Gather:
    """Joins labels in groups, where there are more batches than one job should hold."""

    name: ClassVar[str] = "gather"
    leased: ClassVar[bool] = False

    def plan(self, ctx: Context) -> Iterator[Payload]:
        """Yield groups of batches of one set."""
        size = ctx.policy.gather_size
        for name in sets_of(ctx):
            found = _of_set(outputs_of(ctx, "label"), name)
            for start in range(0, len(found) if len(found) > size else 0, size):
                group = found[start : start + size]
                yield {"set": name, "first": group[0].batch, "last": group[-1].batch + 1}

    def make(self, ctx: Context, batch: BatchDoc) -> Flow:
        """Make the workflow of a group."""
        payload = batch.payload
        members = outputs_of(ctx, "label", payload["first"], payload["last"])
        return joining(ctx, batch, _of_set(members, payload["set"]), LabelLimits())

    def collect(self, ctx: Context, batch: BatchDoc) -> dict[str, Any]:
        """Count the labels."""
        ctx.require_blobs(str(batch.output))
        return ctx.read_fields(str(batch.output), ["n_requested", "n_labelled"])

    def give_up(self, ctx: Context, batch: BatchDoc) -> str | None:  # noqa: ARG002
        """Nothing stands for it."""
        return None

    def finish(self, ctx: Context) -> Step:
        """Join the groups."""
        return Step("join", ctx.doc.iteration, ctx.doc.loop, ctx.doc.pointers)


class Join(Gather):
    """Joins all labels of a set: one document, as an embedded run has it."""

    name: ClassVar[str] = "join"

    def plan(self, ctx: Context) -> Iterator[Payload]:
        """Yield the sets that have frames."""
        found = {batch.payload["set"] for batch in outputs_of(ctx, "label")}
        for name in sets_of(ctx):
            if name in found:
                yield {"set": name}

    def make(self, ctx: Context, batch: BatchDoc) -> Flow:
        """Make the workflow of a set."""
        name = batch.payload["set"]
        members = _of_set(outputs_of(ctx, "gather"), name) or _of_set(
            outputs_of(ctx, "label"), name
        )
        return joining(ctx, batch, members, _limits(ctx, name), GATHER)

    def collect(self, ctx: Context, batch: BatchDoc) -> dict[str, Any]:
        """Write the label documents that were to be judged against each other."""
        name = batch.payload["set"]
        if _limits(ctx, name).max_energy_deviation is not None:
            _write(ctx, ctx.read(Pointer(uuid=str(batch.output))), batch.key, name)
        ctx.require_blobs(str(batch.output))
        return ctx.read_fields(str(batch.output), ["n_requested", "n_labelled"])

    def finish(self, ctx: Context) -> Step:
        """Begin the loop with what was labelled before it, or train."""
        joined = {b.payload["set"]: Pointer(uuid=str(b.output)) for b in outputs_of(ctx, "join")}
        if ctx.doc.iteration:
            ctx.maker.check_label_policy(ctx.read_fields(joined[SELECTED].uuid, COUNTS))
            pointers = {**ctx.doc.pointers, "labels": joined[SELECTED]}
            return Step("train", ctx.doc.iteration, ctx.loop, pointers)
        if KNOWN_ATOMS in ctx.doc.pointers:
            joined[KNOWN_ATOMS] = ctx.doc.pointers[KNOWN_ATOMS]
            _write(ctx, ctx.read(joined[KNOWN_ATOMS]), f"{ctx.doc.stage_id}/known", KNOWN_ATOMS)
        order = [name for name in (TEST_SET, *ANCHORS) if name in joined]
        counts = {name: ctx.read_fields(joined[name].uuid, COUNTS) for name in order}
        loop = LoopState(
            campaign_id=ctx.doc.campaign_id,
            iteration=1,
            pool=ctx.doc.pointers["pool"],
            committee=ctx.doc.pointers["committee"],
            committee_names=ctx.maker.committee_names,
            test=_frames(joined[TEST_SET]),
            dataset=[_frames(joined[name]) for name in order[1:]],
        )
        return Step("reference", 1, begin_loop(ctx.maker, loop, counts))


def sets_of(ctx: Context) -> list[str]:
    """Return the sets that this iteration labels."""
    return [name for name in SETS if name in ctx.doc.pointers]


def labeller_of(ctx: Context, name: str) -> LabelMaker:
    """Return what labels a set."""
    return ctx.maker.atoms_to_label()[0] if name == ATOMS else ctx.labeller


def frames_of(ctx: Context, batch: BatchDoc) -> Frames:
    """Return the frames of a batch; cut out of its set again if their blob is lost."""
    name, start = batch.payload["set"], batch.payload["start"]
    uuid = _shard_uuid(ctx, name, start)
    try:
        return ctx.read(Pointer(uuid=uuid, path=["frames"]))
    except MissingOutputError:
        whole: Frames = ctx.read(ctx.doc.pointers[name])
        part = whole[start : start + batch.payload["n_frames"]]
        _store(ctx, uuid, "frames to label", {"frames": part})
        return part


def joining(
    ctx: Context,
    batch: BatchDoc,
    members: list[BatchDoc],
    limits: LabelLimits,
    job_name: str = "join labels",
) -> Flow:
    """Make the workflow that joins the labels of batches of one set."""
    inputs = carried(batches=pointers_to(members))
    join = join_batches([inputs.output["batches"][i] for i in range(len(members))], limits)
    join.name = job_name
    return ctx.workflow([inputs], join, batch, _stage_of(batch.payload["set"]))


def _of_set(batches: list[BatchDoc], name: str) -> list[BatchDoc]:
    return [batch for batch in batches if batch.payload["set"] == name]


def _frames(batch: Pointer) -> Pointer:
    return Pointer(uuid=batch.uuid, path=[*batch.path, "frames"])


def _stage_of(name: str) -> str:
    """Return what the label documents of a set say of it."""
    return {SELECTED: "label", TEST_SET: "test"}.get(name, "prepare")


def _limits(ctx: Context, name: str) -> LabelLimits:
    return labeller_of(ctx, name).limits


def _counts(found: LabelBatchDoc) -> dict[str, Any]:
    known = set(map(str, found.calculations.column("frame_id")))
    return {
        # no label failed: the job that was to compute it left nothing
        UNREPORTED: sum(f.frame_id not in known for f in found.failures),
        "n_requested": found.n_requested,
        "n_labelled": found.n_labelled,
        "reasons": found.failure_counts,
    }


def _write(ctx: Context, found: LabelBatchDoc, gather: str, name: str) -> None:
    documents = list(label_documents(found, ctx.doc.campaign_id))
    write_labels(ctx.stores.labels, documents, gather, _stage_of(name))


def _shard_uuid(ctx: Context, name: str, start: int) -> str:
    return part_uuid(ctx.doc.stage_id, f"{name}/{start}")


def _store(ctx: Context, uuid: str, name: str, output: Any) -> None:
    """Write an output as a job would."""
    metadata = {"campaign_id": ctx.doc.campaign_id, "iteration": ctx.doc.iteration}
    write_output(ctx.stores.jobs, uuid, name, output, metadata)
