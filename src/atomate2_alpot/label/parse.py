"""From the task document of an engine to one label in our units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure

from atomate2_alpot.label.limits import LabelLimits
from atomate2_alpot.schemas import Frames, LabelFailure, Labels
from atomate2_alpot.units import vasp_stress_to_ase


@dataclass(frozen=True)
class LabelTask:
    """One label asked for: the frame's id and origin, and the job that computes it.

    Parameters
    ----------
    frame_id : str
        Id of the frame.
    formula : str
        For messages.
    origin : dict
        Origin columns of the frame (see ``Frames``).
    task_uuid : str
        Job whose output is the task document.
    """

    frame_id: str
    formula: str
    origin: dict[str, Any]
    task_uuid: str


class LabelParseError(ValueError):
    """A task document that holds no usable label; ``args[0]`` is the short reason."""


def parse_task_document(document: Any) -> tuple[Structure, Labels]:
    """Read structure and labels from an atomate2 task document.

    Serves emmet's VASP ``TaskDoc`` and atomate2's ASE and force-field documents alike: all three
    keep ``output.energy`` (eV), ``output.forces`` (eV/Å) and ``output.stress`` (kBar with
    VASP's sign) beside ``structure``.

    Parameters
    ----------
    document : pydantic model
        Output of a static or relax Maker.

    Returns
    -------
    structure : Structure
        Final structure; site order is that of the forces.
    labels : Labels
        One energy, forces (N, 3), stress (1, 3, 3) in eV/Å³, tension positive; NaN without one.

    Raises
    ------
    LabelParseError
        If the document is of another kind, unconverged, or its numbers are not finite.
    """
    output = getattr(document, "output", None)
    structure = getattr(document, "structure", None)
    if output is None or structure is None:
        raise LabelParseError(
            "unknown task document",
            f"{type(document).__name__} has no `output` and `structure`; label with an "
            "atomate2 static or relax Maker",
        )
    state = getattr(getattr(document, "state", None), "value", getattr(document, "state", None))
    if state not in (None, "successful"):
        raise LabelParseError("not converged", f"task document state is {state!r}")
    if output.energy is None or output.forces is None:
        raise LabelParseError("no energy or forces", "the task document lacks them")
    forces = np.asarray(output.forces, dtype=np.float64)
    stress = _stress(output.stress)
    if not (np.isfinite(output.energy) and np.isfinite(forces).all()):
        raise LabelParseError("not finite", f"energy {output.energy}, forces with NaN or infinity")
    return structure, Labels([output.energy], forces, stress[None])


def collect_labels(
    tasks: list[LabelTask], documents: list[Any], limits: LabelLimits, functional: str
) -> tuple[Frames, list[LabelFailure]]:
    """Turn the outputs of label jobs into labelled frames and records of failure.

    Parameters
    ----------
    tasks : list of LabelTask
    documents : list
        One task document per task; None where the job failed.
    limits : LabelLimits
    functional : str
        Reference method, stored with every frame.

    Returns
    -------
    frames : Frames
        In the order of ``tasks``. A frame whose engine moved the atoms (relaxation) has its own
        ``frame_id`` and the requested one as ``parent``.
    failures : list of LabelFailure
    """
    frames: list[Frames] = []
    failures: list[LabelFailure] = []
    for task, document in zip(tasks, documents, strict=True):
        try:
            if document is None:
                raise LabelParseError(
                    "no task document", f"job {task.task_uuid} failed; see the engine's log"
                )
            frames.append(_label_one(task, document, limits, functional))
        except LabelParseError as error:
            failures.append(
                LabelFailure(
                    frame_id=task.frame_id,
                    formula=task.formula,
                    reason=error.args[0],
                    detail=error.args[1],
                    task_uuid=task.task_uuid,
                )
            )
    return Frames.concat(frames), failures


def _label_one(task: LabelTask, document: Any, limits: LabelLimits, functional: str) -> Frames:
    structure, labels = parse_task_document(document)
    frame = Frames.from_structures(structure).with_labels(labels)
    broken = limits.violation(
        float(frame.energy[0]) / len(structure), frame.forces, frame.stress[0]
    )
    if broken is not None:
        raise LabelParseError(f"beyond limit {broken.split(':')[0]}", broken)
    origin = {**task.origin, "functional": functional, "task_uuid": task.task_uuid}
    if frame.frame_id[0] != task.frame_id:
        origin["parent"] = task.frame_id
    return frame.with_origin(**origin)


def _stress(stress_kbar: Any) -> NDArray[np.float64]:
    if stress_kbar is None:
        return np.full((3, 3), np.nan)
    return vasp_stress_to_ase(np.asarray(stress_kbar, dtype=np.float64))
