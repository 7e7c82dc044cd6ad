"""motep's compiled engine, on neighbour lists of our own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from motep.potentials.mtp.cext.engine import CExtMTPEngine
from motep.potentials.mtp.data import MTPData
from numpy.typing import NDArray

from atomate2_alpot.potentials.neighbours import neighbour_pairs
from atomate2_alpot.schemas import Frames


@dataclass(frozen=True)
class Surroundings:
    """A frame and the neighbours of its atoms, k at most.

    Parameters
    ----------
    atoms : Atoms
    neighbours : array of int32, shape (N, k)
        Where an atom has less than k, itself, beyond the cutoff.
    vectors : array, shape (N, k, 3)
        From each atom to its neighbours, Å.
    """

    atoms: Atoms
    neighbours: NDArray[np.int32]
    vectors: NDArray[np.float64]

    @property
    def nearest(self) -> float:
        """Smallest distance of two atoms in Å, if that is below the cutoff."""
        return float(np.linalg.norm(self.vectors, axis=-1).min())


def surroundings(frames: Frames, cutoff: float) -> Iterator[Surroundings]:
    """Yield every frame with its neighbours.

    motep's own lists come from ``ase.neighborlist.PrimitiveNeighborList``, which is slow, reaches
    0.6 Å too far, and leaves places without a neighbour at −1, which the compiled training
    function reads and writes as an index.
    """
    for s, atoms in enumerate(frames.iter_ase()):
        n, (i, j, _, vectors) = len(atoms), neighbour_pairs(frames[s], cutoff)
        counts = np.bincount(i, minlength=n)
        place = np.arange(len(i)) - np.repeat(np.cumsum(counts) - counts, counts)
        most = max(1, int(counts.max()))
        js = np.repeat(np.arange(n, dtype=np.int32)[:, None], most, axis=1)
        rs = np.full((n, most, 3), cutoff)
        js[i, place], rs[i, place] = j, vectors
        yield Surroundings(atoms, js, rs)


def evaluate(data: MTPData, frame: Surroundings, mode: str) -> CExtMTPEngine:
    """Evaluate a frame.

    Parameters
    ----------
    data : MTPData
        Its species are atomic numbers.
    frame : Surroundings
    mode : str
        ``run``, or ``train`` for derivatives by the parameters too.

    Returns
    -------
    engine
        With ``results``, and with ``jac_energy`` and its like.
    """
    engine = _Engine(data, mode=mode)
    engine.surround(frame)
    engine.calculate(frame.atoms)
    return engine


class _Engine(CExtMTPEngine):
    """motep's engine for one frame whose neighbours are given."""

    def surround(self, frame: Surroundings) -> None:
        self._neighbors = frame.neighbours
        self._interatomic_vectors = frame.vectors

    def update_neighbor_list(self, atoms: Any) -> bool:  # noqa: ARG002 - motep's signature
        return True  # the basis data are new

    def _get_interatomic_vectors(self, atoms: Any) -> NDArray[np.float64]:  # noqa: ARG002
        return self._interatomic_vectors
