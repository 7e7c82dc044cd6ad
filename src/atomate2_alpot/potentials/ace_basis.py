"""The linear ACE basis of ace-jax on frames: float64, in padded blocks of atoms of few shapes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from ase.geometry import complete_cell
from numpy.typing import NDArray

from atomate2_alpot.schemas import Frames
from atomate2_alpot.settings import SETTINGS

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

CENTRES: tuple[int, ...] = (8, 32, 128)
"""Atoms of a block that are compiled for; above, ``most`` itself."""

NEIGHBOURS: tuple[int, ...] = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Neighbours of an atom that are compiled for: at most half of what is computed is padding."""


@contextmanager
def float64() -> Iterator[None]:
    """Let JAX compute in float64 inside.

    JAX's own switch is of the whole process, where others may rely on float32; this one ends with
    the block and is of the thread. ``ALPOT_DEVICE=cpu`` keeps it off other devices.
    """
    import jax

    device = jax.devices("cpu")[0] if SETTINGS.DEVICE == "cpu" else None
    with (
        jax.enable_x64(True),
        jax.default_matmul_precision("highest"),
        jax.default_device(device),
    ):
        yield


@dataclass(frozen=True)
class Block:
    """Environments of n atoms of some frames, padded to one of few shapes (n', K).

    Parameters
    ----------
    atoms : slice
        The n atoms among those of the frames.
    vectors : array, shape (n', K, 3)
        To the neighbours in Å; padding lies at the cutoff, where all functions vanish.
    neighbours : array of int, shape (n', K)
        Atoms of the frames.
    mask : array of bool, shape (n', K)
    species, neighbour_species : array of int32, shapes (n',), (n', K)
        Places in the elements of the model.
    """

    atoms: slice
    vectors: Array
    neighbours: Indices
    mask: NDArray[np.bool_]
    species: NDArray[np.int32]
    neighbour_species: NDArray[np.int32]

    @property
    def n_atoms(self) -> int:
        """Atoms that are no padding."""
        return self.atoms.stop - self.atoms.start

    def centre_species(self) -> NDArray[np.int32]:
        """Species of the centre of each pair, shape (n', K)."""
        return np.broadcast_to(self.species[:, None], self.mask.shape)


def blocks(frames: Frames, elements: list[int], cutoff: float, most: int) -> Iterator[Block]:
    """Cut the atoms of frames into blocks of at most ``most``, whatever frames they belong to.

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
    species = np.searchsorted(elements, frames.numbers).astype(np.int32)
    group = (frames.offsets[1:] - 1) // most
    starts = [*np.flatnonzero(np.diff(group, prepend=-1)), len(frames)]
    for start, stop in zip(starts[:-1], starts[1:], strict=True):
        i, j, vectors = _pairs(frames, range(int(start), int(stop)), cutoff)
        for first in range(int(frames.offsets[start]), int(frames.offsets[stop]), most):
            last = min(first + most, int(frames.offsets[stop]))
            own = slice(*np.searchsorted(i, [first, last]))
            pairs = (i[own] - first, j[own], vectors[own])
            yield _block(slice(first, last), pairs, species, cutoff, most)


def _pairs(frames: Frames, which: range, cutoff: float) -> tuple[Indices, Indices, Array]:
    """Return centres (ascending), neighbours (both counted over all frames) and vectors."""
    from ace_jax import sparse_graph

    parts = []
    for s in which:
        first, last = int(frames.offsets[s]), int(frames.offsets[s + 1])
        cell = complete_cell(frames.cell[s])  # molecules may have none
        graph = sparse_graph(frames.positions[first:last], cell, frames.pbc[s], cutoff)
        parts.append((graph.senders + first, graph.receivers + first, graph.rij.reshape(-1, 3)))
    i, j, vectors = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return i, j, vectors


def _block(
    atoms: slice,
    pairs: tuple[Indices, Indices, Array],
    species: NDArray[np.int32],
    cutoff: float,
    most: int,
) -> Block:
    i, j, vectors = pairs
    n = atoms.stop - atoms.start
    counts = np.bincount(i, minlength=n)
    height = next((size for size in CENTRES if n <= size <= most), most)
    widest = int(counts.max(initial=0))
    width = next((size for size in NEIGHBOURS if widest <= size), widest)
    slot = np.arange(len(i)) - np.repeat(np.cumsum(counts) - counts, counts)
    padded = np.zeros((height, width, 3)) + [cutoff, 0, 0]
    neighbours, mask = np.zeros((height, width), np.int64), np.zeros((height, width), bool)
    padded[i, slot], neighbours[i, slot], mask[i, slot] = vectors, j, True
    own = np.zeros(height, np.int32)
    own[:n] = species[atoms]
    theirs = np.where(mask, species[neighbours], 0).astype(np.int32)
    return Block(atoms, padded, neighbours, mask, own, theirs)


@cache
def _kernels() -> dict[str, Any]:
    """Compile-on-use functions of a model and a block's arrays: one program per shape."""
    import equinox as eqx
    import jax

    def energies(model: Any, vectors: Any, centre: Any, other: Any, mask: Any) -> Any:
        def total(r: Any) -> Any:
            each = model.site_energies_dense(r, centre, other, mask, centre[:, 0])
            return each.sum(), each

        (_, each), slopes = jax.value_and_grad(total, has_aux=True)(vectors)
        return each, slopes

    def basis(model: Any, vectors: Any, centre: Any, other: Any, mask: Any) -> Any:
        many_body, pair = model.site_basis_dense(vectors, centre, other, mask)
        return jax.numpy.concatenate([many_body, pair], axis=1)

    def slopes(model: Any, vectors: Any, centre: Any, other: Any, mask: Any) -> Any:
        return model.edge_jacobian_dense(vectors, centre, other, mask)

    return {f.__name__: eqx.filter_jit(f) for f in (energies, basis, slopes)}


def _run(kernel: str, model: Any, block: Block) -> Any:
    with float64():
        return _kernels()[kernel](
            model, block.vectors, block.centre_species(), block.neighbour_species, block.mask
        )


def block_energies(model: Any, block: Block) -> tuple[Array, Array]:
    """Return site energies in eV, shape (n,), and dE/d(vector) in eV/Å, shape (n, K, 3)."""
    energies, slopes = _run("energies", model, block)
    return np.asarray(energies)[: block.n_atoms], np.asarray(slopes)[: block.n_atoms]


def block_basis(model: Any, block: Block) -> Array:
    """Return the basis functions of each atom, shape (n, D)."""
    return np.asarray(_run("basis", model, block))[: block.n_atoms]


def block_slopes(model: Any, block: Block) -> tuple[Array, Array]:
    """Return the basis functions (n, D) and their derivatives by the vectors (n, K, D, 3)."""
    values, slopes = _run("slopes", model, block)
    n, width = block.n_atoms, block.mask.shape[1]
    slopes = np.asarray(slopes).reshape(-1, width, values.shape[1], 3)
    return np.asarray(values)[:n], slopes[:n]
