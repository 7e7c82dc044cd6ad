"""Checks of foreign data at the gate: each error names the frame, the value, the remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from atomate2_alpot.schemas.frame_arrays import Labels

MAX_ATOMIC_NUMBER: int = 118


def as_rows(name: str, values: ArrayLike, row: tuple[int, ...]) -> NDArray[np.float64]:
    """Return values as floats of shape (n, *row), without ever reordering them.

    ``reshape`` alone would turn a transposed array into other numbers.

    Parameters
    ----------
    name : str
        For the message.
    values : array, shape (..., *row), or with each row flattened, or flat
    row : tuple of int
        Shape of one row.

    Raises
    ------
    ValueError
        If the trailing axes are others.
    """
    array = np.asarray(values, dtype=np.float64)
    width = int(np.prod(row))
    fits = array.shape[-len(row) :] == row or array.shape[-1:] == (width,)
    if not fits and (array.ndim != 1 or array.size % width):
        voigt = "; expand Voigt vectors to 3×3 first" if array.shape[-1:] == (6,) else ""
        wanted = ", ".join(map(str, row))
        raise ValueError(f"{name} has shape {array.shape}, not (n, {wanted}){voigt}")
    return array.reshape(-1, *row)


def whole(name: str, values: ArrayLike) -> NDArray[np.int64]:
    """Return values as flat integers, or raise ``ValueError`` for one that is not whole."""
    array = np.asarray(values).reshape(-1)
    integers = np.zeros(0, np.int64) if not array.size else array.astype(np.int64)
    if (integers != array).any():
        raise ValueError(f"{name} holds {array[integers != array][0]}: whole numbers are needed")
    return integers


def check_frames(
    numbers: NDArray[np.int64],
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    n_atoms: NDArray[np.int64],
    pbc: NDArray[np.bool_],
) -> None:
    """Raise ``ValueError`` if flat arrays do not describe a batch of frames.

    Parameters
    ----------
    numbers : array of int, shape (ΣN,)
    positions : array, shape (ΣN, 3), Å
    cell : array, shape (S, 3, 3), Å
    n_atoms : array of int, shape (S,)
    pbc : array of bool, shape (S, 3)
    """
    total = int(n_atoms.sum())
    if not (len(numbers) == len(positions) == total and len(cell) == len(n_atoms) == len(pbc)):
        raise ValueError(
            f"shapes disagree: {len(numbers)} species, {len(positions)} positions, "
            f"n_atoms sums to {total}; {len(cell)} cells, {len(n_atoms)} counts, {len(pbc)} pbc"
        )
    if (n_atoms < 1).any():
        raise ValueError(f"frame {int(np.argmax(n_atoms < 1))} has no atoms; remove it")
    bad = (numbers < 1) | (numbers > MAX_ATOMIC_NUMBER)
    owner = np.repeat(np.arange(len(n_atoms)), n_atoms)
    if bad.any():
        atom = int(np.argmax(bad))
        raise ValueError(
            f"frame {owner[atom]}: atom {atom} has atomic number {numbers[atom]}: not an element "
            "(1-118)"
        )
    require_finite("positions", positions, owner)
    require_finite("cell", cell.reshape(-1, 9), np.arange(len(cell)))


def require_finite(name: str, rows: NDArray[np.float64], owner: NDArray[np.int64]) -> None:
    """Raise ``ValueError`` naming the first frame that owns a row with NaN or infinity."""
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"{name} of frame {int(owner[row])} is not finite ({rows[row].tolist()}); "
            "remove the frame or its label"
        )


def check_origin(
    origin: Mapping[str, Sequence[Any]], n_frames: int, known: tuple[str, ...]
) -> None:
    """Raise ``ValueError`` for an unknown origin column or one of the wrong length."""
    for name, values in origin.items():
        if name not in known:
            raise ValueError(f"not an origin column: {name!r}; use {known}")
        if len(values) != n_frames:
            raise ValueError(f"origin column {name!r} has {len(values)} values, not {n_frames}")


def check_labels(
    labels: Labels, offsets: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Return labels as float arrays, or raise ``ValueError`` naming what is wrong.

    A frame without an energy must have no forces or stress, and a row must be wholly finite or
    wholly NaN: half a label is a broken calculation, not a missing one.
    """
    energy = np.asarray(labels.energy, dtype=np.float64).reshape(-1)
    n_frames, n_atoms = len(offsets) - 1, int(offsets[-1])
    if len(energy) != n_frames:
        raise ValueError(f"{len(energy)} energies for {n_frames} frames")
    if np.isinf(energy).any():
        raise ValueError(f"energy of frame {int(np.argmax(np.isinf(energy)))} is infinite")
    has = np.isfinite(energy)
    counts = np.diff(offsets)
    forces = stress = None
    if labels.forces is not None:
        forces = as_rows("forces", labels.forces, (3,))
        _check_rows("forces", forces, np.repeat(np.arange(n_frames), counts), has, n_atoms)
    if labels.stress is not None:
        stress = as_rows("stress", labels.stress, (3, 3))
        _check_rows("stress", stress.reshape(-1, 9), np.arange(n_frames), has, n_frames)
    return energy, forces, stress


def _check_rows(
    name: str,
    rows: NDArray[np.float64],
    owner: NDArray[np.int64],
    has_energy: NDArray[np.bool_],
    expected: int,
) -> None:
    if len(rows) != expected:
        raise ValueError(f"{name}: {len(rows)} rows, expected {expected}")
    missing = np.isnan(rows).all(axis=1)
    # one NaN atom in a frame whose other atoms have forces is a broken label, not a missing one
    frame_has = np.zeros(len(has_energy), bool)
    frame_has[owner[~missing]] = True
    keep = frame_has[owner]
    require_finite(name, rows[keep], owner[keep])
    orphan = frame_has & ~has_energy
    if orphan.any():
        raise ValueError(f"frame {int(np.argmax(orphan))} has {name} but no energy")
