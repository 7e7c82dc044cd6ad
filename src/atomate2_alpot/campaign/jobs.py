"""Jobs that campaign mode adds: they join batches, and say where the results are."""

from __future__ import annotations

from typing import Any

from jobflow import job

from atomate2_alpot.campaign.join import join_labels
from atomate2_alpot.flows.state import LoopState, Pointer
from atomate2_alpot.label.limits import LabelLimits
from atomate2_alpot.schemas import BLOBS, Frames, LabelBatchDoc


@job
def conclude(
    pointers: dict[str, Pointer], values: dict[str, Any], loop: LoopState | None = None
) -> dict[str, Any]:
    """End a workflow with a small output: where its results are, and what decides what follows."""
    return {"pointers": pointers, "values": values, "loop": loop}


@job(data=BLOBS)
def keep_frames(frames: Frames) -> dict[str, Any]:
    """Store frames."""
    return {"frames": frames, "n_frames": len(frames)}


@job(data=BLOBS, output_schema=LabelBatchDoc)
def join_batches(batches: list[LabelBatchDoc], limits: LabelLimits) -> LabelBatchDoc:
    """Join the labels of some workflows; see :func:`join_labels`."""
    return join_labels(batches, limits)
