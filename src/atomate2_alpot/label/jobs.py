"""Jobs of the label stage."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from jobflow import CURRENT_JOB, JobConfig, OnMissing, Response, job

from atomate2_alpot.label.limits import LabelLimits
from atomate2_alpot.label.parse import LabelTask, collect_labels
from atomate2_alpot.schemas import BLOBS, Frames, LabelBatchDoc

if TYPE_CHECKING:
    from atomate2_alpot.label.makers import LabelMaker


# no output_schema: jobflow applies it to the job that stores the flow's output *reference*
@job(data=BLOBS, config=JobConfig(pass_manager_config=False))
def expand_labels(maker: LabelMaker, frames: Frames, iteration: int) -> Response:
    """Replace this job by one label job per frame and the gathers (frames known only now)."""
    return Response(replace=maker.label_flow(frames, iteration))


@job(
    data=BLOBS,
    output_schema=LabelBatchDoc,
    config=JobConfig(on_missing_references=OnMissing.NONE),
)
def collect_batch(
    tasks: list[dict[str, Any]],
    documents: list[Any],
    limits: LabelLimits,
    method: dict[str, Any],
    iteration: int,
) -> LabelBatchDoc:
    """Gather one batch of task documents; a failed job arrives as None and costs one label."""
    start = perf_counter()
    frames, failures = collect_labels(
        [LabelTask(**t) for t in tasks],
        documents or [None] * len(tasks),
        limits,
        method["functional"],
    )
    return LabelBatchDoc(
        n_requested=len(tasks),
        n_labelled=len(frames),
        **method,
        iteration=iteration,
        campaign_id=CURRENT_JOB.job.metadata.get("campaign_id"),
        frames=frames,
        failures=failures,
        seconds=perf_counter() - start,
    )


@job(
    data=BLOBS,
    output_schema=LabelBatchDoc,
    config=JobConfig(on_missing_references=OnMissing.NONE),
)
def gather_labels(
    batches: list[LabelBatchDoc | None], n_requested: int, method: dict[str, Any], iteration: int
) -> LabelBatchDoc:
    """Join batches, and name what is missing when a whole batch did not arrive."""
    present = [b for b in batches or [] if b is not None]
    return LabelBatchDoc(
        n_requested=n_requested,
        n_labelled=sum(b.n_labelled for b in present),
        **method,
        iteration=iteration,
        campaign_id=CURRENT_JOB.job.metadata.get("campaign_id"),
        frames=Frames.concat([b.frames for b in present]),
        failures=[f for b in present for f in b.failures],
        seconds=sum(b.seconds for b in present),
    )
