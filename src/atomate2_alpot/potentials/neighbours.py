"""Pairs of atoms within a cutoff, over all frames of a batch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ase.geometry import complete_cell
from numpy.typing import NDArray

from atomate2_alpot.schemas import Frames


class Pairs(NamedTuple):
    """Pairs of atoms, periodic images included, each from both sides.

    Parameters
    ----------
    i, j : array of int, shape (p,)
        Atoms, counted over all frames; i ascending.
    r : array, shape (p,)
        Distances in Å.
    vectors : array, shape (p, 3)
        From i to j, Å.
    """

    i: NDArray[np.int64]
    j: NDArray[np.int64]
    r: NDArray[np.float64]
    vectors: NDArray[np.float64]


def neighbour_pairs(frames: Frames, cutoff: float) -> Pairs:
    """Return all pairs closer than a cutoff (Å) in each frame."""
    from matscipy.neighbours import neighbour_list

    none = np.zeros(0, dtype=np.int64)
    parts = [(none, none, np.zeros(0), np.zeros((0, 3)))]
    for s, start in enumerate(frames.offsets[:-1]):
        i, j, r, vectors = neighbour_list(
            "ijdD",
            positions=frames.positions[start : frames.offsets[s + 1]],
            cell=complete_cell(frames.cell[s]),  # a direction without periodicity may have none
            pbc=frames.pbc[s],
            cutoff=cutoff,
        )
        parts.append((i.astype(np.int64) + start, j.astype(np.int64) + start, r, vectors))
    return Pairs(*(np.concatenate(column) for column in zip(*parts, strict=True)))
