"""A seeded random order of 0 … n−1 in constant memory: look up any place, vectorised."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

ROUNDS: int = 6
_MASK64 = (1 << 64) - 1


def shuffled(places: ArrayLike, n: int, key: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the items at ``places`` of a random permutation of range(n).

    A Feistel network on the smallest square domain ≥ n, walked until the value is below n, is a
    bijection of range(n) that needs no table.

    Parameters
    ----------
    places : array of int
        Each in [0, n).
    n : int
    key : tuple of int
        Seeds; another key gives another order.

    Returns
    -------
    array of int, the shape of ``places``
    """
    values = np.asarray(places, dtype=np.uint64)
    half = max(1, (max(n - 1, 1).bit_length() + 1) // 2)
    keys = np.random.SeedSequence(key).generate_state(ROUNDS, np.uint64).astype(np.uint64)
    values = _feistel(values, half, keys)
    outside = values >= n
    while outside.any():
        values[outside] = _feistel(values[outside], half, keys)
        outside = values >= n
    return values.astype(np.int64)


def _feistel(values: NDArray[np.uint64], half: int, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits, mask = np.uint64(half), np.uint64((1 << half) - 1)
    left, right = values >> bits, values & mask
    for key in keys:
        left, right = right, left ^ (_mix(right + key) & mask)
    return (left << bits) | right


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele et al. 2014): every input bit moves every output bit."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9 & _MASK64)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB & _MASK64)
    return x ^ (x >> np.uint64(31))
