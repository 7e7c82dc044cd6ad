"""Jobs of the label stage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobflow import CURRENT_JOB, JobConfig, OnMissing, Response, job

from atomate2_alpot.label.gather import LabelTask, join_batches, join_rows
from atomate2_alpot.label.limits import LabelLimits
from atomate2_alpot.label.row import label_row
from atomate2_alpot.schemas import BLOBS, Frames, LabelBatchDoc, LabelRowDoc

if TYPE_CHECKING:
    from atomate2_alpot.label.makers import LabelMaker

TOLERANT = JobConfig(on_missing_references=OnMissing.NONE)


# no output_schema: jobflow applies it to the job that stores the flow's output *reference*
@job(data=BLOBS, config=JobConfig(pass_manager_config=False))
def expand_labels(maker: LabelMaker, frames: Frames, iteration: int) -> Response:
    """Replace this job by label jobs and the gathers (frames are known only now)."""
    return Response(replace=maker.label_flow(frames, iteration))


@job(data=[*BLOBS, "document"], output_schema=LabelRowDoc)
def label(maker: LabelMaker, frames: Frames, iteration: int) -> LabelRowDoc:
    """Label frames in a row; every task document goes to the additional store by itself."""
    return label_row(maker.plan(iteration), frames, CURRENT_JOB.job.uuid, Path.cwd())


@job(data=BLOBS, output_schema=LabelBatchDoc, config=TOLERANT)
def collect_batch(
    tasks: list[dict[str, Any]], rows: list[Any], method: dict[str, Any], iteration: int
) -> LabelBatchDoc:
    """Gather label jobs; one that failed arrives as None and costs its frames."""
    header = {**method, "iteration": iteration, "campaign_id": _campaign()}
    return join_rows([LabelTask(**t) for t in tasks], rows, header)


@job(data=BLOBS, output_schema=LabelBatchDoc, config=TOLERANT)
def gather_labels(
    batches: list[LabelBatchDoc | None],
    tasks: list[list[dict[str, Any]]],
    limits: LabelLimits,
    method: dict[str, Any],
    iteration: int,
) -> LabelBatchDoc:
    """Join batches, judge energies against each other, and name what is missing."""
    header = {**method, "iteration": iteration, "campaign_id": _campaign()}
    return join_batches(batches, [[LabelTask(**t) for t in b] for b in tasks], limits, header)


def _campaign() -> str | None:
    return CURRENT_JOB.job.metadata.get("campaign_id")
