"""The basis of a moment tensor potential of any level, written out in Cartesian components."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations_with_replacement, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVELS: range = range(2, 25, 2)
"""Levels whose contractions motep ships."""

Index = tuple[int, ...]


@dataclass(frozen=True)
class MomentTables:
    """The ``alpha_*`` tables of an .mtp file (MLIP, Novikov et al., MLST 2 025002, 2021).

    Parameters
    ----------
    basic : array of int32, shape (n, 4)
        μ, and the powers of x, y, z, of each component of the moments M_{μν} = Σ_j f_μ(r) r̂^⊗ν.
    times : array of int32, shape (t, 4)
        i, j, m, k: m · moment i · moment j is added to moment k; in the order of computing.
    mapping : array of int32, shape (s,)
        Moments that are scalars: the basis functions.
    n_moments : int
        All moments, basic ones first.
    """

    basic: NDArray[np.int32]
    times: NDArray[np.int32]
    mapping: NDArray[np.int32]
    n_moments: int

    @property
    def n_radial(self) -> int:
        """Number of radial functions f_μ."""
        return int(self.basic[:, 0].max()) + 1


@cache
def moment_tables(level: int) -> MomentTables:
    """Write out motep's contractions of a level, 2 + 4μ + ν summed over the moments contracted.

    Parameters
    ----------
    level : int
        One of :data:`LEVELS`.

    Raises
    ------
    ValueError
        If there are no contractions of that level.
    """
    if level not in LEVELS:
        raise ValueError(f"level={level}; give an even number from {LEVELS[0]} to {LEVELS[-1]}")
    from motep.potentials.mtp.jax.moment import MomentBasis, extract_basic_moments

    # not get_moment_contractions: it writes into the folder that motep is installed in
    contractions: Any = MomentBasis(level).read_moments()
    writer = _Writer()
    for mu, nu in sorted({(m[0], m[1]) for m in extract_basic_moments(contractions)}):
        writer.add_basic(mu, nu)
    basic = np.array(list(writer.basic), dtype=np.int32)
    mapping = np.array([writer.component(c, ()) for c in contractions], dtype=np.int32)
    times = np.array(writer.times, dtype=np.int32).reshape(-1, 4)
    return MomentTables(basic, times, mapping, writer.n_moments)


@dataclass
class _Writer:
    """Numbers the components of contracted tensors; equal ones (symmetry) get one number."""

    basic: dict[Index, int] = field(default_factory=dict)
    times: list[Index] = field(default_factory=list)
    n_moments: int = 0
    _products: dict[Any, int] = field(default_factory=dict)
    _known: dict[Any, int] = field(default_factory=dict)

    def add_basic(self, mu: int, nu: int) -> None:
        for axes in combinations_with_replacement(range(3), nu):
            self.basic[(mu, *(axes.count(a) for a in range(3)))] = self._next()

    def component(self, node: Any, index: Index) -> int:
        """Return the number of a component of a tensor: a moment (μ, ν, ν), or a contraction.

        A contraction is (left, right, rank, (left axes, right axes)), as in ``np.tensordot``.
        """
        if not isinstance(node[0], tuple):
            return self.basic[(node[0], *(index.count(a) for a in range(3)))]
        if (node, index) not in self._known:
            self._known[node, index] = self._contract(node, index)
        return self._known[node, index]

    def _contract(self, node: Any, index: Index) -> int:
        left, right, _, (left_axes, right_axes) = node
        n_left = left[2] - len(left_axes)
        terms: Counter[tuple[int, int]] = Counter()
        for summed in product(range(3), repeat=len(left_axes)):
            i = self.component(left, _fill(left[2], left_axes, summed, index[:n_left]))
            j = self.component(right, _fill(right[2], right_axes, summed, index[n_left:]))
            terms[min(i, j), max(i, j)] += 1
        key = tuple(sorted(terms.items()))
        if key not in self._products:
            self._products[key] = self._next()
            self.times += [(i, j, m, self._products[key]) for (i, j), m in key]
        return self._products[key]

    def _next(self) -> int:
        self.n_moments += 1
        return self.n_moments - 1


def _fill(rank: int, axes: Index, summed: Index, free: Index) -> Index:
    """Put summed indices on their axes, and the free ones on the others in order."""
    rest = iter(free)
    places = dict(zip(axes, summed, strict=True))
    return tuple(places[a] if a in places else next(rest) for a in range(rank))
