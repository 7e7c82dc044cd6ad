"""One prototype made ready for bulk decoration."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import comb

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure

from atomate2_alpot.structures.lattice import pair_distances
from atomate2_alpot.structures.permutations import permutation_indices, site_classes
from atomate2_alpot.structures.prototype import Prototype


@dataclass(frozen=True, eq=False)
class DecorationKind:
    """Arrays of one prototype: all that decorating it needs.

    Parameters
    ----------
    name : str
    classes : array of int, shape (N,)
        Kind of each site, 0 to k − 1.
    fractional : array, shape (N, 3)
    cell : array, shape (3, 3)
        Å.
    distances : array, shape (N, N)
        Shortest periodic distances, Å.
    permutations : array of int, shape (P, k)
        Symmetry-distinct assignments.
    weight : float
        Fraction of the decorations that is kept.
    """

    name: str
    classes: NDArray[np.int64]
    fractional: NDArray[np.float64]
    cell: NDArray[np.float64]
    distances: NDArray[np.float64]
    permutations: NDArray[np.int64]
    weight: float

    @classmethod
    def of(
        cls, prototype: Prototype, permutations: list[list[int]] | None = None
    ) -> DecorationKind:
        """Prepare a prototype; permutations are found unless they are known."""
        structure = prototype.structure
        _, classes = site_classes(structure)
        found = _permutations(structure.to_json()) if permutations is None else permutations
        return cls(
            name=prototype.name,
            classes=classes,
            fractional=structure.frac_coords,
            cell=structure.lattice.matrix,
            distances=pair_distances(structure),
            permutations=np.array(found, dtype=np.int64),
            weight=prototype.weight,
        )

    @property
    def n_kinds(self) -> int:
        """k, the number of elements a decoration takes."""
        return self.permutations.shape[1]

    def n_all(self, n_elements: int) -> int:
        """Return the number of decorations with ``n_elements`` to choose from."""
        return comb(n_elements, self.n_kinds) * len(self.permutations)

    def n_kept(self, n_elements: int) -> int:
        """Return the number of decorations that the weight keeps, at least one."""
        total = self.n_all(n_elements)
        return max(min(total, 1), round(self.weight * total))

    def species(
        self, decorations: NDArray[np.int64], numbers: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return the atomic numbers of decorations.

        Parameters
        ----------
        decorations : array of int, shape (B,)
            Each in [0, n_all).
        numbers : array of int, shape (E,)
            Elements to choose from.

        Returns
        -------
        array of int, shape (B, N)
        """
        subset, which = np.divmod(decorations, len(self.permutations))
        chosen = numbers[unrank_subsets(subset, len(numbers), self.n_kinds)]  # (B, k)
        assigned = np.take_along_axis(chosen, self.permutations[which], axis=1)
        return assigned[:, self.classes]


def unrank_subsets(ranks: NDArray[np.int64], n: int, k: int) -> NDArray[np.int64]:
    """Return the k-subsets of range(n) at ``ranks``, in the combinatorial number system.

    Parameters
    ----------
    ranks : array of int, shape (B,)
        Each in [0, C(n, k)).

    Returns
    -------
    array of int, shape (B, k)
        Ascending in each row.
    """
    rest = ranks.copy()
    out = np.empty((len(ranks), k), np.int64)
    for position in range(k, 0, -1):
        # the largest c with C(c, position) <= rest
        table = np.array([comb(c, position) for c in range(n + 1)])
        out[:, position - 1] = np.searchsorted(table, rest, side="right") - 1
        rest -= table[out[:, position - 1]]
    return out


@lru_cache(maxsize=10_000)
def _permutations(structure_json: str) -> list[tuple[int, ...]]:
    """Find permutations once per structure and process: matching is the slow part."""
    return permutation_indices(Structure.from_str(structure_json, fmt="json"))
