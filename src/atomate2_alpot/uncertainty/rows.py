"""Rows of a feature matrix that need not fit in memory twice: read in blocks, scaled, checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

BLOCK_BYTES: int = 16_000_000
"""Size of one block of float64; a few of them are in memory at a time."""

SCALE_STEP: int = 10
"""Columns are scaled by powers of 2 to this power: rounding nothing, and touching only columns
whose sizes differ by factors of a thousand."""


class FeatureError(ValueError):
    """Features that no active set can be made of, or that do not fit the one there is."""


class RowView:
    """Some rows of a feature matrix, which stays where it is.

    Parameters
    ----------
    features : array or memmap, shape (n, m)
    only : array of int, shape (k,)
        The rows that count.
    """

    def __init__(self, features: Any, only: Indices) -> None:
        self.features, self.only, self.dtype = features, only, features.dtype
        self.shape = (len(only), *features.shape[1:])

    def __getitem__(self, rows: slice | Indices) -> Any:
        return self.features[self.only[rows]]


class Rows:
    """A feature matrix (n, m), as float64 with scaled columns, in blocks of rows.

    Parameters
    ----------
    features : array_like or memmap, shape (n, m)
        Anything with ``shape`` and slicing; float32 is converted block by block.
    scale : array, shape (m,), optional
        Divisor of each column; found from the data when left out.

    Raises
    ------
    FeatureError
        If the shape is not (n, m), or (when the scale is to be found) a value is not finite.
    """

    def __init__(self, features: Any, scale: Array | None = None) -> None:
        sliceable = hasattr(features, "shape") and hasattr(features, "dtype")
        self.features = features if sliceable else np.asarray(features, dtype=np.float64)
        shape = self.features.shape
        if len(shape) != 2 or shape[1] == 0 or (scale is not None and shape[1] != len(scale)):
            need = "(n, m), m > 0" if scale is None else f"(n, {len(scale)}), as in the fit"
            raise FeatureError(f"features have shape {tuple(shape)}; give {need}")
        self.shape: tuple[int, int] = (int(shape[0]), int(shape[1]))
        self.block = max(64, BLOCK_BYTES // (8 * self.shape[1]))
        self.scale = np.ones(self.shape[1])
        self.scale = self._find_scale() if scale is None else scale

    def __len__(self) -> int:
        return self.shape[0]

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        """Yield ranges of rows and their scaled values."""
        for start in range(0, len(self), self.block):
            rows = slice(start, min(start + self.block, len(self)))
            yield rows, self._scaled(self.features[rows])

    def take(self, indices: Indices) -> Array:
        """Return scaled rows, in the order asked for; reads in the order of the file."""
        order = np.argsort(indices, kind="stable")
        out = np.empty((len(indices), self.shape[1]))
        out[order] = self._scaled(self.features[indices[order]])
        return out

    def reduce(self, function: Callable[[Array], Array]) -> Array:
        """Return a function of each row, (b, m) -> (b,), over all blocks."""
        out = np.empty(len(self))
        for rows, values in self.blocks():
            out[rows] = function(values)
        return out

    def _scaled(self, values: Any) -> Array:
        values = np.asarray(values, dtype=np.float64)
        return values if (self.scale == 1).all() else values / self.scale

    def _find_scale(self) -> Array:
        squares = np.zeros(self.shape[1])
        for rows, values in self.blocks():
            part = np.einsum("ij,ij->j", values, values)
            if not np.isfinite(part).all():
                bad = np.argwhere(~np.isfinite(values))
                if not len(bad):
                    raise FeatureError("features are too large to be squared; rescale them")
                raise FeatureError(
                    f"feature {bad[0][1]} of row {rows.start + bad[0][0]} is NaN or infinite; "
                    "leave such frames out"
                )
            squares += part
        rms = np.sqrt(squares / max(len(self), 1))
        exponent = SCALE_STEP * np.round(np.log2(rms, where=rms > 0, out=0 * rms) / SCALE_STEP)
        return np.exp2(exponent)


def max_abs(coefficients: Array) -> Array:
    """Return max_j |c_ij| of each row, without a copy of the matrix."""
    return np.maximum(coefficients.max(axis=1), -coefficients.min(axis=1))
