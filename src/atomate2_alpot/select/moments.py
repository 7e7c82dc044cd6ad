"""The environment of an atom by moments of its neighbours, without a model."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase.data import covalent_radii
from numpy.typing import NDArray

from atomate2_alpot.potentials.neighbours import neighbour_pairs
from atomate2_alpot.schemas import Frames
from atomate2_alpot.select.blocks import blocks
from atomate2_alpot.select.properties import element_properties

Array = NDArray[np.float64]

CUTOFF: float = 5.0
"""Å."""

N_RADIAL: int = 6

BLOCK_ATOMS: int = 2000
"""Atoms whose pairs are in memory at once."""

N_FEATURES: int = 1 + 9 * N_RADIAL


def local_moments(frames: Frames) -> Array:
    """Describe the environment of each atom, for any element.

    Sums over neighbours j within 5 Å of R_k(r) w_j times 1, the unit vector and the traceless
    tensor n n − 1/3 (the moments of a moment tensor potential up to rank 2; R_k is
    f_c sin(kπr/r_c)/r), and of these the invariants: the number itself, and the squared norms.
    Neighbours count with three weights w: one, and how their electronegativity and covalent
    radius differ from the atom's own.

    Parameters
    ----------
    frames : Frames

    Returns
    -------
    array, shape (ΣN, 55)
        One, then for each weight the six numbers, six vectors' and six tensors' squared norms.
    """
    parts = [_describe(block) for _, block in blocks(frames, BLOCK_ATOMS)]
    return np.concatenate(parts) if parts else np.zeros((0, N_FEATURES))


def _describe(frames: Frames) -> Array:
    from scipy.sparse import csr_matrix

    i, j, r, vectors = neighbour_pairs(frames, CUTOFF)
    n, z = len(frames.numbers), frames.numbers
    first = np.concatenate([[0], np.cumsum(np.bincount(i, minlength=n))])
    add = csr_matrix((np.ones(len(i)), np.arange(len(i)), first), shape=(n, len(i)))
    unit = vectors / np.maximum(r, 1e-12)[:, None]
    tensor = unit[:, :, None] * unit[:, None, :] - np.eye(3) / 3
    angular = (np.ones((len(r), 1)), unit, tensor.reshape(-1, 9))
    radial = _radial(r)
    columns = [np.ones((n, 1))]
    for weight in _weights(z, i, j):
        scaled = radial * weight[:, None]
        for rank, factors in enumerate(angular):
            products = (scaled[:, :, None] * factors[:, None, :]).reshape(len(r), -1)
            moments = np.asarray(add @ products).reshape(n, N_RADIAL, -1)
            columns.append(moments[:, :, 0] if rank == 0 else (moments**2).sum(axis=2))
    return np.concatenate(columns, axis=1)


def _radial(r: Array) -> Array:
    """Return f_c(r) sin(kπr/r_c)/r for k = 1 … N_RADIAL, shape (pairs, N_RADIAL), in 1/Å."""
    k = np.arange(1, N_RADIAL + 1)
    cut = 0.5 * (1 + np.cos(np.pi * r / CUTOFF))
    return cut[:, None] * np.sin(k * np.pi * r[:, None] / CUTOFF) / np.maximum(r, 1e-12)[:, None]


def _weights(z: NDArray, i: NDArray, j: NDArray) -> Iterator[Array]:
    electronegativity = element_properties()[:, 3]
    yield np.ones(len(i))
    yield electronegativity[z[j]] - electronegativity[z[i]]
    yield covalent_radii[z[j]] - covalent_radii[z[i]]
