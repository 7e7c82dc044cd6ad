"""Join the outputs of label jobs, whatever of them arrived."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atomate2_alpot.label.limits import LabelLimits
from atomate2_alpot.schemas import (
    CalculationTable,
    Frames,
    LabelBatchDoc,
    LabelFailure,
    LabelRowDoc,
)


@dataclass(frozen=True)
class LabelTask:
    """One label job: its uuid and the frames asked of it.

    Parameters
    ----------
    uuid : str
    frame_ids, formulas : list of str
    """

    uuid: str
    frame_ids: list[str]
    formulas: list[str]


def join_rows(
    tasks: Sequence[LabelTask], rows: Sequence[LabelRowDoc | None] | None, header: Mapping[str, Any]
) -> LabelBatchDoc:
    """Join label jobs into one document.

    Parameters
    ----------
    tasks : sequence of LabelTask
    rows : sequence of LabelRowDoc or None
        Output of each; None where the whole job failed.
    header : mapping
        functional, surrogate, iteration, campaign_id.
    """
    rows = rows or [None] * len(tasks)
    failures = []
    for task, row in zip(tasks, rows, strict=True):
        if row is None:
            failures += _lost(task)
            continue
        failures += [
            LabelFailure(
                frame_id=c.frame_id,
                formula=c.formula,
                reason=str(c.reason),
                detail=c.detail,
                task_uuid=task.uuid,
            )
            for c in row.calculations
            if c.state == "failed"
        ]
    present = [row for row in rows if row is not None]
    n_requested = sum(len(task.frame_ids) for task in tasks)
    return LabelBatchDoc(
        n_requested=n_requested,
        n_labelled=n_requested - len(failures),
        **header,
        frames=Frames.concat([row.frames for row in present]),
        failures=failures,
        calculations=CalculationTable.concat([row.table for row in present]),
        seconds=sum(c.seconds for row in present for c in row.calculations),
    )


def join_batches(
    batches: Sequence[LabelBatchDoc | None] | None,
    tasks: Sequence[Sequence[LabelTask]],
    limits: LabelLimits,
    header: Mapping[str, Any],
) -> LabelBatchDoc:
    """Join batches into one document, without frames whose energies stand out.

    Parameters
    ----------
    batches : sequence of LabelBatchDoc or None
        None where a gather failed.
    tasks : sequence of sequence of LabelTask
        What each batch was to gather.
    limits : LabelLimits
    header : mapping
        functional, surrogate, iteration, campaign_id.
    """
    batches = batches or [None] * len(tasks)
    present = [b for b in batches if b is not None]
    frames = Frames.concat([b.frames for b in present])
    failures = [f for b in present for f in b.failures]
    for batch, asked in zip(batches, tasks, strict=True):
        if batch is None:
            failures += [lost for task in asked for lost in _lost(task)]
    outliers = limits.energy_outliers(frames)
    requested = {i for asked in tasks for task in asked for i in task.frame_ids}
    failures += _outlier_failures(frames, outliers, requested)
    kept = np.setdiff1d(np.arange(len(frames)), list(outliers))
    n_requested = sum(len(task.frame_ids) for asked in tasks for task in asked)
    return LabelBatchDoc(
        n_requested=n_requested,
        n_labelled=n_requested - len(failures),
        **header,
        frames=frames.take(kept),
        failures=failures,
        calculations=CalculationTable.concat([b.calculations for b in present]),
        seconds=sum(b.seconds for b in present),
    )


def _lost(task: LabelTask) -> list[LabelFailure]:
    return [
        LabelFailure(
            frame_id=frame_id,
            formula=formula,
            reason="no task document",
            detail=f"job {task.uuid} failed; see the engine's log",
            task_uuid=task.uuid,
        )
        for frame_id, formula in zip(task.frame_ids, task.formulas, strict=True)
    ]


def _outlier_failures(
    frames: Frames, outliers: Mapping[int, str], requested: set[str]
) -> list[LabelFailure]:
    """Return a failure for every frame asked for that keeps no step of its own."""
    parents = frames.column("parent")
    asked = [i if i in requested else p for i, p in zip(frames.frame_id, parents, strict=True)]
    kept = {a for row, a in enumerate(asked) if row not in outliers}
    lost = {asked[row]: (row, words) for row, words in outliers.items() if asked[row] not in kept}
    return [
        LabelFailure(
            frame_id=frame_id,
            formula=frames[row].to_structures()[0].composition.reduced_formula,
            reason="beyond limit max_energy_deviation",
            detail=words,
            task_uuid=frames.column("task_uuid")[row],
        )
        for frame_id, (row, words) in lost.items()
    ]
