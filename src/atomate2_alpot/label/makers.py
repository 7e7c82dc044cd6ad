"""`LabelMaker`: any atomate2 static or relax Maker as a source of labels."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass, field
from typing import Any

from jobflow import Flow, Job, Maker, OutputReference

from atomate2_alpot.label.jobs import collect_batch, expand_labels, gather_labels
from atomate2_alpot.label.limits import LabelLimits
from atomate2_alpot.label.parse import LabelTask
from atomate2_alpot.schemas import Frames
from atomate2_alpot.schemas.frame_arrays import ORIGIN_COLUMNS

logger = logging.getLogger(__name__)

MAX_FLOW_JOBS: int = 500
"""Engines slow down with the number of jobs in one workflow (docs/design.md, "Scale")."""


@dataclass
class LabelMaker(Maker):
    """Label frames with an atomate2 Maker, one job per frame, and gather what succeeds.

    Parameters
    ----------
    name : str
        Name of the flow.
    maker : Maker
        An atomate2 static or relax Maker (VASP, force field, ASE); its ``make`` takes a
        structure and returns a job or flow whose output is a task document.
    functional : str
        Reference method of the labels, for example "r2SCAN"; stored with every frame.
    surrogate : str or None
        Name of the model, when a force field stands in for DFT. It is shown wherever the labels
        are: documents, logs, report, exports.
    limits : LabelLimits
        Labels beyond these are recorded as failed.
    min_label_fraction : float
        An iteration stops when fewer labels than this fraction succeed.
    batch_size : int
        Labels per gather: the top gather joins batches, never single labels.
    """

    name: str = "label"
    maker: Maker | None = None
    functional: str = "unknown"
    surrogate: str | None = None
    limits: LabelLimits = field(default_factory=LabelLimits)
    min_label_fraction: float = 0.5
    batch_size: int = 100

    def __post_init__(self) -> None:
        if self.maker is None:
            raise ValueError(
                "LabelMaker.maker is not set: give an atomate2 static Maker, or take one of "
                "atomate2_alpot.label.presets"
            )
        if not 0 <= self.min_label_fraction <= 1:
            raise ValueError(
                f"LabelMaker.min_label_fraction={self.min_label_fraction}: give a fraction, 0 to 1"
            )
        if self.batch_size < 1:
            raise ValueError(f"LabelMaker.batch_size={self.batch_size}: give at least 1")

    @property
    def method(self) -> dict[str, Any]:
        """What the labels are: functional and surrogate, as stored in every document."""
        return {"functional": self.functional, "surrogate": self.surrogate}

    def make(self, frames: Frames | OutputReference, iteration: int = 0) -> Flow:
        """Make the flow that labels frames; its output is a ``LabelBatchDoc``.

        Parameters
        ----------
        frames : Frames, or a reference to some
            A reference is expanded when it is known, with ``Response(replace=…)``.
        iteration : int
            AL iteration, stored with every frame; 0 is what is labelled before the loop.
        """
        if isinstance(frames, Frames):
            return self.label_flow(frames, iteration)
        expand = expand_labels(self, frames, iteration)
        expand.name = "label"
        return Flow([expand], output=expand.output, name=self.name)

    def label_flow(self, frames: Frames, iteration: int) -> Flow:
        """Build the flow for frames that are known: label jobs, batch gathers, one gather."""
        if len(frames) > MAX_FLOW_JOBS:
            logger.warning(
                "labelling %d frames in one flow; engines slow down above ~%d jobs per workflow",
                len(frames),
                MAX_FLOW_JOBS,
            )
        jobs: list[Job | Flow] = []
        batches = []
        for start in range(0, len(frames), self.batch_size):
            batch_jobs, gather = self._batch(frames[start : start + self.batch_size], iteration)
            jobs += [*batch_jobs, gather]
            batches.append(gather.output)
        top = gather_labels(batches, len(frames), self.method, iteration)
        top.name = "gather labels"
        return Flow([*jobs, top], output=top.output, name=self.name)

    def _batch(self, frames: Frames, iteration: int) -> tuple[list[Job | Flow], Job]:
        origins = frames.table.select(list(ORIGIN_COLUMNS)).to_pylist()
        jobs, tasks = [], []
        for frame_id, origin, structure in zip(
            frames.frame_id, origins, frames.to_structures(), strict=True
        ):
            calculation = self.maker.make(structure)  # type: ignore[union-attr]
            calculation.update_metadata({"frame_id": frame_id})
            origin["iteration"] = iteration
            task = LabelTask(frame_id, structure.formula, origin, calculation.output.uuid)
            jobs.append(calculation)
            tasks.append(dataclasses.asdict(task))
        gather = collect_batch(tasks, [j.output for j in jobs], self.limits, self.method, iteration)
        gather.name = "label batch"
        return jobs, gather
