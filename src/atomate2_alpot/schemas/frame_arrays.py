"""Between flat numpy arrays and the Arrow columns of `Frames`: labels, lists, ids."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

POSITION_QUANTUM: float = 1e-8
"""Å. Positions and cells are hashed in these steps: the precision of extended XYZ, so that
``frame_id`` survives a trip through text, and far above the noise of a change of basis."""


ORIGIN_COLUMNS: tuple[str, ...] = (
    "functional",
    "prototype",
    "candidate",
    "parent",
    "step",
    "task_uuid",
    "iteration",
)
"""Where a frame comes from: reference method of its labels, prototype and index in the
candidate space, ``frame_id`` of the frame it was derived from, ionic or MD step, uuid of the
calculation, AL iteration that proposed it."""


@dataclass(frozen=True)
class Labels:
    """Reference values of a batch of S frames with ΣN atoms; NaN rows mean "no label".

    Parameters
    ----------
    energy : array, shape (S,)
        Total energies in eV.
    forces : array, shape (ΣN, 3), optional
        Forces in eV/Å.
    stress : array, shape (S, 3, 3), optional
        Stresses in eV/Å³, positive under tension.
    """

    energy: ArrayLike
    forces: ArrayLike | None = None
    stress: ArrayLike | None = None


def ragged(
    values: NDArray[Any], offsets: NDArray[np.int64], width: int, valid: NDArray[Any] | None = None
) -> pa.ListArray:
    """Wrap flat values as an Arrow list column; rows where ``valid`` is False are null."""
    flat = np.ascontiguousarray(values).reshape(-1)
    mask = None if valid is None else pa.array(~valid)
    return pa.ListArray.from_arrays(
        pa.array((offsets * width).astype(np.int32)), pa.array(flat), mask=mask
    )


def label_columns(labels: Labels, offsets: NDArray[np.int64]) -> dict[str, Any]:
    """Return labels as Arrow columns, null where there is none (checked first)."""
    from atomate2_alpot.schemas.validation import check_labels

    energy, forces, stress = check_labels(labels, offsets)
    has = np.asarray(np.isfinite(energy))
    columns: dict[str, Any] = {"energy": pa.array(energy, mask=~has)}
    if forces is not None:
        valid = np.asarray(np.isfinite(forces[offsets[:-1]]).all(axis=1))
        columns["forces"] = ragged(forces, offsets, 3, valid)
    if stress is not None:
        valid = np.asarray(np.isfinite(stress).all(axis=(1, 2)))
        columns["stress"] = ragged(stress, np.arange(len(stress) + 1), 9, valid)
    return columns


def hash_frames(
    numbers: NDArray[np.int64],
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    pbc: NDArray[np.bool_],
    offsets: NDArray[np.int64],
) -> list[str]:
    """Hash each frame over exact integers, so that the id is the same in every process.

    Atoms are put in a canonical order first: codes that sort sites by species (VASP input sets
    do) must not turn a frame into a new one.
    """
    steps = np.rint(positions / POSITION_QUANTUM).astype("<i8")
    cells = np.rint(cell / POSITION_QUANTUM).astype("<i8")
    owner = np.repeat(np.arange(len(cell)), np.diff(offsets))
    order = np.lexsort((steps[:, 2], steps[:, 1], steps[:, 0], numbers, owner))
    species, steps = numbers.astype("u1")[order], steps[order]
    ids = []
    for s in range(len(cell)):
        atoms = slice(offsets[s], offsets[s + 1])
        digest = hashlib.sha256(species[atoms].tobytes())
        digest.update(cells[s].tobytes())
        digest.update(pbc[s].tobytes())
        digest.update(steps[atoms].tobytes())
        ids.append(digest.hexdigest()[:32])
    return ids


def count_elements(
    numbers: NDArray[np.int64], owner: NDArray[np.int64], n_frames: int, symbols: list[str]
) -> NDArray[np.float64]:
    """Count the atoms of each element in each frame, shape (S, len(symbols))."""
    from ase.data import atomic_numbers

    column = np.zeros(119, np.int64)
    column[[atomic_numbers[s] for s in symbols]] = np.arange(len(symbols))
    counts = np.zeros((n_frames, len(symbols)))
    np.add.at(counts, (owner, column[numbers]), 1.0)
    return counts
