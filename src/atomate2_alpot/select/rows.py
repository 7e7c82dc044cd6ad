"""Rows of features of many frames, by element: in memory, or in a file where they are many."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from atomate2_alpot.schemas import Frames
from atomate2_alpot.select.blocks import blocks
from atomate2_alpot.select.descriptors import Described, make_describer
from atomate2_alpot.select.known import Known
from atomate2_alpot.uncertainty.groups import GroupedRows

logger = logging.getLogger(__name__)

BLOCK_ATOMS: int = 20_000
"""Atoms that are described at once."""

IN_MEMORY: int = 1_000_000_000
"""Bytes of features above which they go to a temporary file."""

QUANTUM: float = 1e-8
"""Features are rounded to this: what symmetry makes zero must not be noise, for an active set
scales each column by what is in it. A linear ACE has 1e-12 to 1e-10 there, in bulk crystals."""

FRAME = "frame"
"""The one group of rows that describe whole frames; others are symbols of elements."""


@dataclass(frozen=True)
class FeatureRows(GroupedRows):
    """Features of S frames, those left out that have none, by element or for whole frames.

    Parameters
    ----------
    offsets : array of int, shape (k + 1,)
        First row of each described frame and the total.
    frames : array of int, shape (k,)
        Which of the S frames these are, ascending.
    """

    offsets: NDArray[np.int64]
    frames: NDArray[np.int64]


def feature_rows(frames: Frames, described: Described, known: Known) -> FeatureRows:
    """Describe frames in blocks, shape (ΣN, m) or (S, m).

    Parameters
    ----------
    frames : Frames
    described : Described
        By what.
    known : Known
        Its committee may be what describes.

    Returns
    -------
    FeatureRows
        A frame is left out if any of its values is not finite.
    """
    describe = make_describer(described.per, described.descriptor, described.spec, known)
    by_atom = described.per == "atom"
    n_rows = frames.n_atoms if by_atom else np.ones(len(frames), np.int64)
    described_frames = np.zeros(len(frames), dtype=bool)
    store, filled = None, 0
    for first, block in blocks(frames, BLOCK_ATOMS):
        values = np.round(describe(block) / QUANTUM) * QUANTUM
        own = n_rows[first : first + len(block)]
        finite = np.isfinite(values).all(axis=1) & (values.shape[1] > 0)
        good = np.logical_and.reduceat(finite, np.cumsum(own) - own)
        kept = np.repeat(good, own)
        described_frames[first : first + len(block)] = good
        if not kept.any():
            continue
        if store is None:
            store = _allocate(int(n_rows.sum()), values.shape[1])
        store[filled : filled + kept.sum()] = values[kept]
        filled += int(kept.sum())
    n_rows = n_rows[described_frames]
    groups = np.full(len(n_rows), FRAME)
    if by_atom:
        groups = np.array(chemical_symbols)[frames.numbers[described_frames[frames.frame_index]]]
    return FeatureRows(
        np.zeros((0, 0)) if store is None else store[:filled],
        groups,
        np.concatenate([[0], np.cumsum(n_rows)]).astype(np.int64),
        np.flatnonzero(described_frames),
    )


def _allocate(n: int, m: int) -> Any:
    if 8 * n * m <= IN_MEMORY:
        return np.empty((n, m))
    logger.info("%d rows of %d features go to a temporary file", n, m)
    return np.memmap(tempfile.TemporaryFile(), dtype=np.float64, mode="w+", shape=(n, m))
