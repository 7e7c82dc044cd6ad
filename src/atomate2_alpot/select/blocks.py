"""Batches of frames in blocks, so that memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from atomate2_alpot.schemas import Frames


def blocks(frames: Frames, n_atoms: int) -> Iterator[tuple[int, Frames]]:
    """Cut frames into runs of about ``n_atoms`` atoms, at least one frame each.

    Yields
    ------
    tuple of int and Frames
        Index of the first frame, and the frames.
    """
    before = np.cumsum(frames.n_atoms) - frames.n_atoms
    starts = np.flatnonzero(np.diff(before // n_atoms, prepend=-1)).tolist()
    for start, stop in zip(starts, [*starts, len(frames)][1:], strict=True):
        yield start, frames[start:stop]
