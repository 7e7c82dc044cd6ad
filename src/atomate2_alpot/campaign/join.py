"""Joining the labels of batches that were workflows of their own."""

from __future__ import annotations

from collections.abc import Sequence

from atomate2_alpot.label.gather import LabelTask, join_batches, join_rows
from atomate2_alpot.label.limits import LabelLimits
from atomate2_alpot.schemas import Frames, LabelBatchDoc

HEADER: tuple[str, ...] = ("functional", "surrogate", "iteration", "campaign_id")


def join_labels(batches: Sequence[LabelBatchDoc], limits: LabelLimits) -> LabelBatchDoc:
    """Join batches of one method and iteration, without frames whose energies stand out.

    Parameters
    ----------
    batches : sequence of LabelBatchDoc
        At least one.
    limits : LabelLimits
        Of these, the one that judges labels against each other.
    """
    header = {name: getattr(batches[0], name) for name in HEADER}
    return join_batches(batches, [[_asked(b)] for b in batches], limits, header)


def failed_batch(frames: Frames, uuid: str, header: dict[str, object]) -> LabelBatchDoc:
    """Return what stands for a workflow that never came back: a failure for each of its frames.

    Parameters
    ----------
    frames : Frames
        That it was to label.
    uuid : str
        Of its gather.
    header : dict
        functional, surrogate, iteration, campaign_id.
    """
    formulas = [s.composition.reduced_formula for s in frames.to_structures()]
    return join_rows([LabelTask(uuid, frames.frame_id, formulas)], [None], header)


def _asked(batch: LabelBatchDoc) -> LabelTask:
    """Return the frames asked of a batch: each has a calculation, or a failure without one."""
    ids = [*batch.calculations.column("frame_id"), *(f.frame_id for f in batch.failures)]
    unique = list(dict.fromkeys(map(str, ids)))
    return LabelTask("", unique, [""] * len(unique))
