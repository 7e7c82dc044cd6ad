"""Frames outside a model's elements: they cost themselves, not the batch they came with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from atomate2_alpot.schemas import Frames, Prediction


def covered(frames: Frames, elements: frozenset[int] | None) -> NDArray[np.bool_]:
    """Tell which frames hold known elements only, shape (S,)."""
    mask = np.ones(len(frames), dtype=bool)
    if elements is not None:
        mask[frames.frame_index[~np.isin(frames.numbers, sorted(elements))]] = False
    return mask


def blank(frames: Frames) -> Prediction:
    """Return a prediction of NaN, to be filled in."""
    return Prediction(
        energy=np.full(len(frames), np.nan),
        forces=np.full((int(frames.offsets[-1]), 3), np.nan),
        stress=np.full((len(frames), 3, 3), np.nan),
    )


def spread(prediction: Prediction, frames: Frames, rows: NDArray[np.bool_]) -> Prediction:
    """Return a prediction of ``frames[rows]`` as one of ``frames``, NaN elsewhere."""
    out = blank(frames)
    out.energy[rows] = prediction.energy
    out.forces[rows[frames.frame_index]] = prediction.forces
    out.stress[rows] = prediction.stress
    return out
