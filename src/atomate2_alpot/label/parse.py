"""From the task document of an engine to labelled frames in our units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from atomate2_alpot.label.limits import LabelLimits
from atomate2_alpot.schemas import Frames, Labels
from atomate2_alpot.schemas.frame_arrays import ORIGIN_COLUMNS
from atomate2_alpot.taskdocs import LabelParseError, Step, is_vasp, read_steps

Which = Literal["last", "all"]

SAME_POSITION: float = 1e-3
"""Å. Engines write positions with 8 decimals of a cell vector, VASP's sets sort sites."""


@dataclass(frozen=True)
class Parsed:
    """Frames of one calculation.

    Parameters
    ----------
    frames : Frames
        Labelled.
    n_steps : int
        Ionic steps that were computed.
    """

    frames: Frames
    n_steps: int


def parse_label(
    document: Any, frame: Frames, which: Which, limits: LabelLimits, origin: Mapping[str, Any]
) -> Parsed:
    """Turn a task document into labelled frames.

    Parameters
    ----------
    document : pydantic model
        Of a static or relax Maker.
    frame : Frames
        The one frame that was asked for. A step with its geometry keeps its positions to the
        last digit and so its ``frame_id``; others have it as ``parent``.
    which : str
        "last" ionic step, or "all" of them.
    limits : LabelLimits
    origin : mapping
        Origin columns to set (functional, task uuid, iteration).

    Raises
    ------
    LabelParseError
        If no step is converged and within the limits; the reason is the first step's.
    """
    steps = read_steps(document)
    if which == "all" and not is_vasp(document):
        raise LabelParseError(
            "unknown task document",
            f"ionic steps are read from VASP's documents only, this is {type(document).__name__}; "
            'set which="last"',
        )
    kept: list[Frames] = []
    reasons = []
    for step in steps if which == "all" else steps[-1:]:
        try:
            found = _frame_of(step, frame, limits, origin)
        except LabelParseError as error:
            reasons.append(error)
            continue
        if not any(found.frame_id == other.frame_id for other in kept):  # it did not move at all
            kept.append(found)
    if not kept:
        raise reasons[0]
    return Parsed(Frames.concat(kept), len(steps))


def _frame_of(step: Step, frame: Frames, limits: LabelLimits, origin: Mapping[str, Any]) -> Frames:
    if not step.converged:
        raise LabelParseError(*step.why)
    broken = limits.violation(
        step.energy / len(step.structure), step.forces, step.stress
    ) or limits.too_close(step.structure)
    if broken is not None:
        raise LabelParseError(f"beyond limit {broken.split(':')[0]}", broken)
    numbers = np.array([site.specie.Z for site in step.structure])
    cell, positions, forces = step.structure.lattice.matrix, step.structure.cart_coords, step.forces
    if np.linalg.det(cell) * np.linalg.det(frame.cell[0]) < 0:
        # pymatgen writes a left-handed cell as its inversion image
        cell, positions, forces = -cell, -positions, -forces
    order = match_sites(frame, numbers, cell, positions) if step.number == 0 else None
    if order is not None:
        labels = Labels([step.energy], forces[order], step.stress[None])
        return frame.with_labels(labels).with_origin(step=step.number, **origin)
    moved = Frames.from_arrays(
        numbers,
        positions,
        [cell],
        [len(numbers)],
        pbc=frame.pbc,
        labels=Labels([step.energy], forces, step.stress[None]),
    )
    inherited = frame.table.select(list(ORIGIN_COLUMNS)).to_pylist()[0]
    own = {"parent": frame.frame_id[0], "step": step.number}
    return moved.with_origin(**{**inherited, **origin, **own})


def match_sites(
    frame: Frames,
    numbers: NDArray[np.int64],
    cell: NDArray[np.float64],
    positions: NDArray[np.float64],
) -> NDArray[np.int64] | None:
    """Return for each atom of a frame the site with its species and position, shape (N,).

    None if cell or positions differ by more than ``SAME_POSITION`` modulo lattice vectors.

    Parameters
    ----------
    frame : Frames
        One frame.
    numbers : array, shape (N,)
        Atomic numbers of the sites.
    cell : array, shape (3, 3)
        Å.
    positions : array, shape (N, 3)
        Å.
    """
    if sorted(numbers) != sorted(frame.numbers):
        return None
    if np.abs(cell - frame.cell[0]).max() > SAME_POSITION:
        return None
    steps = (frame.positions[:, None] - positions[None]) @ np.linalg.inv(frame.cell[0])
    distances = np.linalg.norm((steps - np.rint(steps)) @ frame.cell[0], axis=2)
    distances[frame.numbers[:, None] != numbers[None]] = np.inf
    order = distances.argmin(axis=1)
    if distances.min(axis=1).max() > SAME_POSITION or len(set(order)) < len(order):
        return None
    return order
