"""The basis functions of a linear ACE of ace-jax and their derivatives, in NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from atomate2_alpot.potentials.ace_bonds import RadialTable, solid_harmonics
from atomate2_alpot.potentials.neighbours import neighbour_pairs
from atomate2_alpot.schemas import Frames

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Bonds:
    """Bonds of n consecutive atoms of some frames.

    Parameters
    ----------
    atoms : slice
        The n atoms, among those of the frames.
    centre : array of int, shape (e,)
        Ascending, counted within ``atoms``.
    neighbour : array of int, shape (e,)
        Counted among those of the frames.
    vector : array, shape (e, 3)
        Å.
    species : array of int, shape (n,)
        Elements of the atoms, as places in those of the model.
    pairs : two arrays of int, shape (e,)
        Elements of centre and neighbour.
    """

    atoms: slice
    centre: Indices
    neighbour: Indices
    vector: Array
    species: Indices
    pairs: tuple[Indices, Indices]

    def sum(self, values: Array) -> Array:
        """Sum what bonds have over their centres, (e, ...) -> (n, ...)."""
        out = np.zeros((len(self.species), *values.shape[1:]))
        owners, starts = np.unique(self.centre, return_index=True)
        if len(owners):
            out[owners] = np.add.reduceat(values, starts, axis=0)
        return out


def find_bonds(frames: Frames, elements: list[int], cutoff: float, most: int) -> Iterator[Bonds]:
    """Yield the bonds of all atoms, of at most ``most`` atoms at a time.

    Parameters
    ----------
    frames : Frames
        Of these elements only.
    elements : list of int
        Atomic numbers, ascending.
    cutoff : float
        Å.
    most : int
    """
    species = np.searchsorted(elements, frames.numbers)
    group = (frames.offsets[1:] - 1) // most
    starts = [*np.flatnonzero(np.diff(group, prepend=-1)), len(frames)]
    for start, stop in pairwise(starts):
        begin, end = int(frames.offsets[start]), int(frames.offsets[stop])
        i, j, _, vectors = neighbour_pairs(frames[int(start) : int(stop)], cutoff)
        i, j = i + begin, j + begin
        for first in range(begin, end, most):
            last = min(first + most, end)
            own = slice(*np.searchsorted(i, [first, last]))
            yield Bonds(
                atoms=slice(first, last),
                centre=i[own] - first,
                neighbour=j[own],
                vector=vectors[own],
                species=species[first:last],
                pairs=(species[i[own]], species[j[own]]),
            )


@dataclass(frozen=True)
class ACEBasis:
    """B(environment): D = n_B + n_pair functions of an atom, the same for all elements.

    Products of ``A_m = Σ_bonds R_n(r) Y_lm`` up to the correlation order, coupled to invariants,
    and after them functions of pairs (Drautz, PRB 99, 014104, 2019; Witt et al., J. Chem. Phys.
    159, 164101, 2023).

    Parameters
    ----------
    elements : list of int
        Atomic numbers, ascending.
    cutoff : float
        Å.
    radial, pair : RadialTable
    l_max : int
    factors : two arrays of int, shape (a,)
        Radial function and harmonic of each A.
    products : tuple of array of int, shapes (v, order)
        The A of each product, by order.
    coupling : csr_matrix, shape (n_B, Σv)
        Of products to invariants.
    """

    elements: list[int]
    cutoff: float
    radial: RadialTable
    pair: RadialTable
    l_max: int
    factors: tuple[Indices, Indices]
    products: tuple[Indices, ...]
    coupling: csr_matrix

    @property
    def n_invariants(self) -> int:
        """n_B, the functions before those of pairs."""
        return int(self.coupling.shape[0])

    @property
    def n_functions(self) -> int:
        """D."""
        return self.n_invariants + self.pair.n_functions

    def values(self, bonds: Bonds) -> Array:
        """Return B of each atom, shape (n, D)."""
        a, pair, _, _ = self._pooled(bonds, slopes=False)
        return np.concatenate([self._invariants(a), pair], axis=1)

    def energies(self, bonds: Bonds, coefficients: Array) -> tuple[Array, Array]:
        """Return B · c of each atom, shape (n,), and its slope by each bond's vector, shape (e, 3).

        Parameters
        ----------
        bonds : Bonds
        coefficients : array, shape (Z, D)
        """
        a, pair, da, dpair = self._pooled(bonds)
        own = coefficients[bonds.species]
        c, c_pair = own[:, : self.n_invariants], own[:, self.n_invariants :]
        energy = (self._invariants(a) * c).sum(axis=1) + (pair * c_pair).sum(axis=1)
        # each product's coefficient, times the product of its other factors, by A
        weights = np.repeat(c @ self.coupling, self._orders, axis=1)
        by_a = (self._others(a) * weights) @ self._placing
        slope = np.einsum("em,ekm->ek", by_a[bonds.centre], da)
        return energy, slope + np.einsum("ep,ekp->ek", c_pair[bonds.centre], dpair)

    def slopes(self, bonds: Bonds) -> tuple[Array, Array]:
        """Return B of each atom, shape (n, D), and dB of its centre by each bond, (e, 3, D)."""
        a, pair, da, dpair = self._pooled(bonds)
        n = len(a)
        by_a = (self._jacobian @ self._others(a).T).T.reshape(n, self.n_invariants, a.shape[1])
        slope = np.empty((len(bonds.centre), 3, self.n_functions))
        edges = np.searchsorted(bonds.centre, np.arange(n + 1))
        for i in range(n):
            own = slice(edges[i], edges[i + 1])
            product = da[own].reshape(-1, a.shape[1]) @ by_a[i].T
            slope[own, :, : self.n_invariants] = product.reshape(-1, 3, self.n_invariants)
        slope[:, :, self.n_invariants :] = dpair
        return np.concatenate([self._invariants(a), pair], axis=1), slope

    def _pooled(self, bonds: Bonds, slopes: bool = True) -> tuple[Array, Array, Array, Array]:
        """Return A (n, a), pair functions (n, p), and their slopes by bond (e, 3, a), (e, 3, p)."""
        r = np.linalg.norm(bonds.vector, axis=1)
        radial, dradial = self.radial.evaluate(r, bonds.pairs)
        pair, dpair = self.pair.evaluate(r, bonds.pairs)
        harmonics, dharmonics = solid_harmonics(bonds.vector, self.l_max)
        n, lm = self.factors
        radial, harmonics = radial[:, n], harmonics[:, lm]
        a, sums = bonds.sum(radial * harmonics), bonds.sum(pair)
        if not slopes:
            return a, sums, np.empty(0), np.empty(0)
        unit = (bonds.vector / r[:, None])[:, :, None]
        da = dharmonics[:, :, lm]
        da *= radial[:, None]
        da += (dradial[:, n] * harmonics)[:, None] * unit
        return a, sums, da, dpair[:, None] * unit

    def _invariants(self, a: Array) -> Array:
        products = np.concatenate([a[:, g].prod(axis=2) for g in self.products], axis=1)
        return (self.coupling @ products.T).T

    def _others(self, a: Array) -> Array:
        """Return each product without each of its factors, shape (n, Σ v·order)."""
        columns = []
        for group in self.products:
            order = group.shape[1]
            rest = [
                np.ones((len(a), len(group)))
                if order == 1
                else a[:, np.delete(group, k, axis=1)].prod(axis=2)
                for k in range(order)
            ]
            columns.append(np.stack(rest, axis=2).reshape(len(a), -1))
        return np.concatenate(columns, axis=1)

    @cached_property
    def _orders(self) -> Indices:
        return np.concatenate([np.full(len(g), g.shape[1]) for g in self.products])

    @cached_property
    def _placing(self) -> csr_matrix:
        """From (product, factor) to the A of that factor."""
        factor = np.concatenate([g.reshape(-1) for g in self.products])
        ones = np.ones(len(factor))
        return csr_matrix(
            (ones, (np.arange(len(factor)), factor)), (len(factor), len(self.factors[0]))
        )

    @cached_property
    def _jacobian(self) -> csr_matrix:
        """From (product, factor) to (invariant, A)."""
        factor = np.concatenate([g.reshape(-1) for g in self.products])
        first = np.cumsum(self._orders) - self._orders
        coupling = self.coupling.tocoo()
        repeat = self._orders[coupling.col]
        step = np.arange(repeat.sum()) - np.repeat(np.cumsum(repeat) - repeat, repeat)
        column = np.repeat(first[coupling.col], repeat) + step
        row = np.repeat(coupling.row.astype(np.int64), repeat) * len(self.factors[0])
        shape = (self.n_invariants * len(self.factors[0]), len(factor))
        return csr_matrix((np.repeat(coupling.data, repeat), (row + factor[column], column)), shape)
