"""`LabelMaker`: any atomate2 static or relax Maker as a source of labels."""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jobflow import Flow, Job, Maker, OutputReference

from atomate2_alpot.label.gather import LabelTask
from atomate2_alpot.label.jobs import collect_batch, expand_labels, gather_labels, label
from atomate2_alpot.label.limits import LabelLimits
from atomate2_alpot.label.parse import Which
from atomate2_alpot.label.retry import Retry
from atomate2_alpot.label.row import RowPlan
from atomate2_alpot.schemas import Frames

logger = logging.getLogger(__name__)

VASP_MODULE = "atomate2.vasp.jobs.base"

MAX_FLOW_JOBS: int = 500
"""Engines slow down with the number of jobs in one workflow (docs/design.md, "Scale")."""


@dataclass
class LabelMaker(Maker):
    """Label frames with an atomate2 Maker, and gather what succeeds.

    Parameters
    ----------
    name : str
        Name of the flow.
    maker : Maker
        An atomate2 static or relax Maker (VASP, force field, ASE, …); its ``make`` takes a
        structure and returns a job or flow whose output is a task document.
    functional : str
        Reference method of the labels, for example "r2SCAN"; stored with every frame.
    surrogate : str or None
        Name of the model, when a force field stands in for DFT. It is shown wherever the labels
        are: documents, logs, report, exports.
    result : str or None
        Which entry of the flow's output is the task document, where it returns several.
    which : str
        "last": the last ionic step becomes a frame; "all": every one that converged.
    limits : LabelLimits
        Labels beyond these are recorded as failed.
    retries : list of Retry
        Tried in order on a frame that failed.
    remove : list of str
        Patterns of files to delete when a frame is done, for example "WAVECAR*".
    min_label_fraction : float
        An iteration stops when fewer labels than this fraction succeed.
    batch_size : int
        Frames that one job labels in a row, each in its own subfolder.
    gather_size : int
        Frames per gather: the top gather joins these, never single labels.
    """

    name: str = "label"
    maker: Maker | None = None
    functional: str = "unknown"
    surrogate: str | None = None
    result: str | None = None
    which: Which = "last"
    limits: LabelLimits = field(default_factory=LabelLimits)
    retries: list[Retry] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)
    min_label_fraction: float = 0.5
    batch_size: int = 1
    gather_size: int = 100

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
        for size in ("batch_size", "gather_size"):
            if getattr(self, size) < 1:
                raise ValueError(f"LabelMaker.{size}={getattr(self, size)}: give at least 1")
        self._check_retries()

    def _check_retries(self) -> None:
        names = [retry.name.replace(" ", "-") for retry in self.retries]
        if len(set(names)) < len(names):
            raise ValueError(f"LabelMaker.retries: {names} repeats a name; labels store it")
        if not dataclasses.is_dataclass(self.maker):
            return
        known = {f.name for f in dataclasses.fields(self.maker)}
        for retry in self.retries:
            if unknown := sorted(set(retry.options) - known):
                raise ValueError(
                    f"LabelMaker.retries: {retry.name!r} changes {unknown}, which "
                    f"{type(self.maker).__name__} has not; its fields are {sorted(known)}"
                )

    def check(self, elements: Sequence[str]) -> None:
        """Ask whether this machine has what labels of these elements need.

        Raises
        ------
        LabelSetupError
            If VASP's command or a POTCAR is missing. Other engines are not asked.
        """
        if VASP_MODULE in sys.modules:  # no VASP Maker is made without it, and it takes seconds
            from atomate2_alpot.label.vasp import check_vasp_setup

            check_vasp_setup(self.maker, elements)  # type: ignore[arg-type]

    @property
    def method(self) -> dict[str, Any]:
        """What the labels are: functional and surrogate, as stored in every document."""
        return {"functional": self.functional, "surrogate": self.surrogate}

    def plan(self, iteration: int) -> RowPlan:
        """Return how a label job treats its frames.

        Raises
        ------
        ValueError
            If the Maker came to this worker as a document that cannot be loaded here.
        """
        if isinstance(self.maker, dict):
            raise ValueError(
                f"LabelMaker.maker is {self.maker.get('@module')}.{self.maker.get('@class')}, "
                "which this worker cannot import: install its package here, or put the module on "
                "PYTHONPATH"
            )
        return RowPlan(
            maker=self.maker,  # type: ignore[arg-type]
            result=self.result,
            which=self.which,
            limits=self.limits,
            retries=self.retries,
            remove=self.remove,
            origin={"functional": self.functional, "iteration": iteration},
        )

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
        expand.name = "expand labels"
        return Flow([expand], output=expand.output, name=self.name)

    def label_flow(self, frames: Frames, iteration: int) -> Flow:
        """Build the flow for frames that are known: label jobs, batch gathers, one gather."""
        n_jobs = -(-len(frames) // self.batch_size)
        if n_jobs > MAX_FLOW_JOBS:
            logger.warning(
                "labelling %d frames in %d jobs of one flow; engines slow down above ~%d jobs per "
                "workflow: raise batch_size",
                *(len(frames), n_jobs, MAX_FLOW_JOBS),
            )
        jobs: list[Job | Flow] = []
        batches, asked = [], []
        per_gather = max(1, self.gather_size // self.batch_size) * self.batch_size
        for start in range(0, len(frames), per_gather):
            rows, gather, tasks = self._batch(frames[start : start + per_gather], iteration)
            jobs += [*rows, gather]
            batches.append(gather.output)
            asked.append(tasks)
        top = gather_labels(batches, asked, self.limits, self.method, iteration)
        top.name = "gather labels"
        return Flow([*jobs, top], output=top.output, name=self.name)

    def batch_flow(self, frames: Frames, iteration: int) -> Flow:
        """Build the flow of one batch that is a workflow of its own: label jobs and one gather.

        Limits that judge labels against each other are left to whoever joins the batches.
        """
        rows, gather, _ = self._batch(frames, iteration)
        return Flow([*rows, gather], output=gather.output, name=self.name)

    def _batch(self, frames: Frames, iteration: int) -> tuple[list[Job], Job, list[dict[str, Any]]]:
        rows, tasks = self._rows(frames, iteration)
        gather = collect_batch(tasks, [r.output for r in rows], self.method, iteration)
        gather.name = "label batch"
        return rows, gather, tasks

    def _rows(self, frames: Frames, iteration: int) -> tuple[list[Job], list[dict[str, Any]]]:
        jobs, tasks = [], []
        for start in range(0, len(frames), self.batch_size):
            row = frames[start : start + self.batch_size]
            formulas = [s.composition.reduced_formula for s in row.to_structures()]
            made = label(self, row, iteration)
            made.name = f"label {formulas[0]}" if len(row) == 1 else f"label {len(row)} frames"
            made.update_metadata({"frame_ids": row.frame_id})
            jobs.append(made)
            tasks.append(dataclasses.asdict(LabelTask(made.uuid, row.frame_id, formulas)))
        return jobs, tasks
