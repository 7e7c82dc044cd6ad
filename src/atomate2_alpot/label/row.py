"""Label frames one after the other, each in its own subfolder; a failure costs one frame."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobflow import Maker
from monty.io import zopen
from monty.serialization import dumpfn, loadfn

from atomate2_alpot.label.engine import Calculation, changed, run_calculation
from atomate2_alpot.label.limits import LabelLimits
from atomate2_alpot.label.parse import Which, parse_label
from atomate2_alpot.label.reasons import reason_of
from atomate2_alpot.label.retry import FIRST, Retry
from atomate2_alpot.schemas import CalculationDoc, CalculationTable, Frames, LabelRowDoc
from atomate2_alpot.taskdocs import LabelParseError, describe_calculation

logger = logging.getLogger(__name__)

WALLTIME_VARIABLE = "CUSTODIAN_WALLTIME_START"
WALLTIME_START = os.environ.get(WALLTIME_VARIABLE)
"""When the batch job began, if its script says so."""


@dataclass(frozen=True)
class RowPlan:
    """How the frames of a row are labelled.

    Parameters
    ----------
    maker : Maker
    result : str or None
        Entry of the flow's output that is the task document, where it returns several.
    which : str
        "last" ionic step or "all".
    limits : LabelLimits
    retries : sequence of Retry
    remove : sequence of str
        Patterns of files to delete once a frame is done.
    origin : dict
        Origin columns of the labelled frames.
    """

    maker: Maker
    result: str | None
    which: Which
    limits: LabelLimits
    retries: Sequence[Retry] = ()
    remove: Sequence[str] = ()
    origin: dict[str, Any] = field(default_factory=dict)


@dataclass
class Outcome:
    """What came of one frame.

    Parameters
    ----------
    document : CalculationDoc
    frames : Frames
        Labelled; empty if it failed.
    row : dict
        Row of the CalculationTable.
    """

    document: CalculationDoc
    frames: Frames
    row: dict[str, Any]


def label_row(plan: RowPlan, frames: Frames, task_uuid: str, folder: Path) -> LabelRowDoc:
    """Label frames in a row.

    Parameters
    ----------
    plan : RowPlan
    frames : Frames
    task_uuid : str
        Job that does it.
    folder : Path
        Where the subfolders are made. A frame that is done leaves a record in its own: when a
        killed job runs again in the same folder, it goes on behind the last one.

    Returns
    -------
    LabelRowDoc
    """
    _reset_walltime()
    plan = dataclasses.replace(plan, origin={**plan.origin, "task_uuid": task_uuid})
    outcomes = []
    for index in range(len(frames)):
        own = folder / f"{task_uuid[:8]}-{index:03d}"
        outcome = _recorded(own, frames[index])
        if outcome is None:
            outcome = _label_safely(plan, frames[index], own)
            _record(own, outcome)
        said = outcome.document.reason or "labelled"
        level = logging.INFO if len(frames) > 1 else logging.DEBUG  # one a job: the job says it
        logger.log(level, "%s (%d/%d): %s", outcome.document.formula, index + 1, len(frames), said)
        outcomes.append(outcome)
    rows = [{**o.row, "task_uuid": task_uuid, "task_index": i} for i, o in enumerate(outcomes)]
    return LabelRowDoc(
        frames=Frames.concat([o.frames for o in outcomes]),
        calculations=[o.document for o in outcomes],
        table=CalculationTable.from_columns(
            **{name: [r.get(name) for r in rows] for name in CalculationTable.SCHEMA.names}
        ),
    )


def _label_safely(plan: RowPlan, frame: Frames, folder: Path) -> Outcome:
    """Label one frame; whatever goes wrong with it must not cost the rest of the row."""
    try:
        return _label(plan, frame, folder)
    except Exception as error:
        logger.exception("labelling %s", frame.frame_id[0])
        broken = Calculation(folder=str(folder), failed=plan.maker.name, error=error)
        return _outcome(plan, frame, broken, FIRST)


def _reset_walltime() -> None:
    """Let custodian count the walltime from this job, not from the first one of the process."""
    if WALLTIME_START is None:
        os.environ.pop(WALLTIME_VARIABLE, None)
    else:
        os.environ[WALLTIME_VARIABLE] = WALLTIME_START


def _label(plan: RowPlan, frame: Frames, folder: Path) -> Outcome:
    """Label one frame, with retries."""
    structure = frame.to_structures()[0]
    close = plan.limits.too_close(structure)
    if close is not None:
        refused = Calculation(folder="", error=LabelParseError("beyond limit min_distance", close))
        return _outcome(plan, frame, refused, FIRST)
    outcome, maker = None, plan.maker
    for attempt in (None, *plan.retries):
        if outcome is not None and attempt is not None:
            if not attempt.applies_to(str(outcome.document.reason)):
                continue
            maker = changed(plan.maker, attempt)
        name = attempt.name if attempt else FIRST
        calculation = run_calculation(maker, structure, folder / name.replace(" ", "-"))
        calculation.seconds += outcome.document.seconds if outcome else 0.0
        outcome = _outcome(plan, frame, calculation, name)
        _clean(folder, plan.remove)
        if outcome.document.state == "successful":
            break
    assert outcome is not None
    return outcome


def _outcome(plan: RowPlan, frame: Frames, calculation: Calculation, attempt: str) -> Outcome:
    """Judge a calculation."""
    labelled, n_steps, described = frame[:0], 0, {}
    try:
        document = _task_document(plan, calculation)
        described = describe_calculation(document)
        parsed = parse_label(document, frame, plan.which, plan.limits, plan.origin)
        labelled, n_steps = parsed.frames, parsed.n_steps
        reason, detail = None, ""
    except LabelParseError as error:
        reason, detail = error.args
    document = CalculationDoc(
        frame_id=frame.frame_id[0],
        formula=frame.to_structures()[0].composition.reduced_formula,
        state="failed" if reason else "successful",
        reason=reason,
        detail=detail,
        attempt=attempt,
        folder=calculation.folder or None,
        seconds=calculation.seconds,
        tasks=calculation.tasks,
    )
    row = {
        **described,
        **document.model_dump(include={"frame_id", "attempt", "folder", "seconds"}),
        "n_steps": n_steps,
        "n_kept": len(labelled),
    }
    return Outcome(document, labelled, row)


def _task_document(plan: RowPlan, calculation: Calculation) -> Any:
    """Return the document that holds the label."""
    if isinstance(calculation.error, LabelParseError):  # known before anything ran
        raise calculation.error
    if calculation.error is not None:
        raise LabelParseError(_reason(calculation), calculation.words)
    result = calculation.result
    if plan.result is not None:
        result = result.get(plan.result) if isinstance(result, dict) else None
    if result is None:
        done = [t.name for t in calculation.tasks]
        raise LabelParseError(
            "no task document", f"the flow returned none; its jobs that finished: {done}"
        )
    return result


def _reason(calculation: Calculation) -> str:
    reason = reason_of(calculation.words)
    _, _, folder = calculation.folder.partition(":")
    stages = sorted(Path(folder).glob("job_*"))  # named by the time they began
    if not stages:
        return reason
    # custodian raises for the handler that acted last; WALLTIME's own act comes before
    for log in stages[-1].glob("custodian.json*"):
        with zopen(log, "rt") as stream:
            if "WalltimeHandler" in str(stream.read()):
                return "walltime"
    if reason == "broken output" and not any(stages[-1].glob("vasprun.xml*")):
        return "no output"
    return reason


def _clean(folder: Path, patterns: Sequence[str]) -> None:
    for pattern in patterns:
        for path in folder.rglob(pattern):
            path.unlink()


def _record(folder: Path, outcome: Outcome) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "outcome.json.part"
    content = {"document": outcome.document, "frames": outcome.frames, "row": outcome.row}
    dumpfn(content, partial, fmt="json")
    partial.rename(folder / "outcome.json")


def _recorded(folder: Path, frame: Frames) -> Outcome | None:
    """Return what an earlier attempt of this job recorded for this frame."""
    path = folder / "outcome.json"
    if not path.exists():
        return None
    found = loadfn(path)
    document = CalculationDoc.model_validate(found["document"])
    if document.frame_id != frame.frame_id[0]:
        return None
    return Outcome(document, found["frames"], found["row"])
