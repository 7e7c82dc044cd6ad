"""Sequential D-optimal selection from a pool (AutoPot, Algorithm 2.1), without any model."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atomate2_alpot.uncertainty.rows import FeatureError

THRESHOLDS: tuple[float, ...] = (1e5, 1e4, 1e3, 1e2, 1e1, 2.0)
"""AutoPot's falling thresholds, 100 000 to 2."""

BLOCK_FRAMES: int = 64
"""Candidates graded at once; those behind a chosen one are graded again."""


class Growing(Protocol):
    """What grades rows and takes some in: an :class:`ActiveSet`, or several of them."""

    def copy(self) -> Self:
        """Return one that can be added to without changing this one."""
        ...

    def grade(self, features: Any) -> NDArray[np.float64]:
        """Return γ of each row, shape (n,)."""
        ...

    def add(self, features: Any) -> int:
        """Take in what enlarges a volume; return how many members are new."""
        ...


@dataclass(frozen=True)
class Chosen:
    """What a sequential selection took.

    Parameters
    ----------
    frames : array of int, shape (k,)
        Candidates in the order in which they were chosen.
    grades : array, shape (k,)
        γ of each when it was chosen.
    thresholds : array, shape (k,)
        Threshold that was in force.
    active : Growing
        The active set afterwards.
    """

    frames: NDArray[np.int64]
    grades: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    active: Growing


def select_sequentially(
    active: Growing,
    features: Any,
    offsets: ArrayLike | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
    max_frames: int | None = None,
) -> Chosen:
    """Go through the candidates, choose what extrapolates, update the active set at once.

    For each threshold in turn: a candidate whose γ (largest of its rows) exceeds the threshold
    is chosen and added, so that the next are judged with it. Falling thresholds take the
    farthest first, after which many others interpolate (AutoPot, §2.3).

    Parameters
    ----------
    active : ActiveSet, or another that grows
        Of the training set; not changed.
    features : array_like, memmap or other, shape (n, m)
        Rows of the candidates, in order; slices of it are graded and added.
    offsets : array of int, shape (S + 1,), optional
        First row of each candidate and the total, as ``Frames.offsets``; default one row each.
    thresholds : sequence of float
        Falling, the last one 1 or more.
    max_frames : int, optional
        Stop when so many are chosen.

    Raises
    ------
    FeatureError
        If thresholds do not fall or end below 1, or offsets do not fit the features.
    """
    features = features if hasattr(features, "shape") else np.asarray(features, dtype=float)
    falling = all(a > b for a, b in itertools.pairwise(thresholds))
    if not len(thresholds) or not falling or thresholds[-1] < 1:
        raise FeatureError(f"thresholds are {tuple(thresholds)}; give falling ones, 1 or more")
    starts = np.arange(len(features) + 1) if offsets is None else np.asarray(offsets)
    if starts[0] != 0 or starts[-1] != len(features) or (np.diff(starts) < 1).any():
        raise FeatureError(f"offsets do not cut {len(features)} rows into candidates of 1 or more")
    active, taken = active.copy(), np.zeros(len(starts) - 1, dtype=bool)
    chosen: list[tuple[int, float, float]] = []
    for threshold in thresholds:
        position = 0
        while position < len(taken) and len(chosen) != max_frames:
            stop = min(position + BLOCK_FRAMES, len(taken))
            first = starts[position]
            grades = active.grade(features[first : starts[stop]])
            worst = np.maximum.reduceat(grades, starts[position:stop] - first)
            ahead = np.flatnonzero((worst > threshold) & ~taken[position:stop])
            if not len(ahead):
                position = stop
                continue
            frame = position + int(ahead[0])
            active.add(features[starts[frame] : starts[frame + 1]])
            taken[frame] = True
            chosen.append((frame, float(worst[ahead[0]]), float(threshold)))
            position = frame + 1
    table = np.array(chosen, dtype=float).reshape(-1, 3)
    return Chosen(table[:, 0].astype(np.int64), table[:, 1], table[:, 2], active)
