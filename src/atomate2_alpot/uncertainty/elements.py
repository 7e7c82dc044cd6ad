"""Extrapolation grades of frames: one active set per element."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atomate2_alpot.schemas import Frames
from atomate2_alpot.uncertainty.disagreement import frame_max
from atomate2_alpot.uncertainty.extrapolation import ActiveSet
from atomate2_alpot.uncertainty.local import LocalActiveSet
from atomate2_alpot.uncertainty.rows import FeatureError, Rows, RowView
from atomate2_alpot.uncertainty.thresholds import iqr_threshold

Array = NDArray[np.float64]
AnySet = ActiveSet | LocalActiveSet


@dataclass(frozen=True)
class Grades:
    """Extrapolation grades of S frames.

    Parameters
    ----------
    atoms : array, shape (ΣN,)
        γ_atom; infinite for elements without an active set.
    frames : array, shape (S,)
        γ_cfg = max over atoms (UQ on heterogeneous data, eq. 14).
    unseen : tuple of str
        Elements of the frames that no active set exists for.
    """

    atoms: Array
    frames: Array
    unseen: tuple[str, ...]


class ElementActiveSets:
    """Active sets by element, from features of atoms.

    Attributes
    ----------
    sets : dict of str to ActiveSet or LocalActiveSet
        By symbol.
    left_out : dict of str to int
        Atoms per element that the force filter left out.
    """

    def __init__(self, sets: dict[str, AnySet], left_out: dict[str, int] | None = None) -> None:
        self.sets = sets
        self.left_out = left_out or {}

    @classmethod
    def fit(
        cls,
        frames: Frames,
        features: Any,
        labels: ArrayLike | None = None,
        filter_forces: bool = True,
        make: Callable[..., AnySet] | None = None,
    ) -> Self:
        """Choose an active set for each element of the frames.

        Parameters
        ----------
        frames : Frames
            The training set.
        features : array_like or memmap, shape (ΣN, m)
            One row per atom.
        labels : array_like, shape (S,) or (ΣN,), optional
            Clusters of frames or atoms; makes every set a :class:`LocalActiveSet`.
        filter_forces : bool
            Leave out atoms whose labelled |F| is an outlier (:func:`keep_ordinary_forces`).
        make : callable, optional
            ``ActiveSet.fit`` (default) or ``LocalActiveSet.fit``, or a partial of one; called
            with the features of one element, and ``labels=`` if there are any.

        Raises
        ------
        FeatureError
            As in :meth:`ActiveSet.fit`, naming the element.
        """
        features = _one_row_per_atom(frames, features)
        keep = keep_ordinary_forces(frames) if filter_forces else np.ones(len(frames.numbers), bool)
        clusters = _per_atom(frames, labels)
        default = ActiveSet.fit if clusters is None else LocalActiveSet.fit
        build: Callable[..., AnySet] = make or default
        sets, left_out = {}, {}
        for symbol, atoms in _atoms_of(frames):
            own = np.flatnonzero(atoms & keep)
            options = {} if clusters is None else {"labels": clusters[own]}
            try:
                sets[symbol] = build(RowView(features, own), **options)
            except FeatureError as error:
                raise FeatureError(f"{symbol}: {error}") from error
            left_out[symbol] = int((atoms & ~keep).sum())
        return cls(sets, left_out)

    def grade(self, frames: Frames, features: Any) -> Grades:
        """Grade every atom and frame.

        Parameters
        ----------
        frames : Frames
        features : array_like or memmap, shape (ΣN, m)

        Raises
        ------
        FeatureError
            If the features do not fit the frames or the fit, or are not finite.
        """
        features = _one_row_per_atom(frames, features)
        grades = np.full(len(frames.numbers), np.inf)
        unseen = []
        for symbol, atoms in _atoms_of(frames):
            if symbol not in self.sets:
                unseen.append(symbol)
                continue
            own = np.flatnonzero(atoms)
            grades[own] = self.sets[symbol].grade(RowView(features, own))
        return Grades(grades, frame_max(grades, frames.offsets), tuple(unseen))


def keep_ordinary_forces(frames: Frames) -> NDArray[np.bool_]:
    """Tell which atoms have a labelled |F| ≤ Q3 + 1.5·IQR (UQ on heterogeneous data, eq. 13).

    The quartiles are those of each element's |F|. Atoms without a force label are kept.

    Returns
    -------
    array of bool, shape (ΣN,)
    """
    magnitude = np.linalg.norm(frames.forces, axis=1)
    keep = np.ones(len(magnitude), dtype=bool)
    for _, atoms in _atoms_of(frames):
        own = atoms & np.isfinite(magnitude)
        if own.any():
            keep[own] = magnitude[own] <= iqr_threshold(magnitude[own])
    return keep


def _atoms_of(frames: Frames) -> list[tuple[str, NDArray[np.bool_]]]:
    return [
        (symbol, frames.numbers == z)
        for symbol, z in zip(frames.elements, np.unique(frames.numbers), strict=True)
    ]


def _one_row_per_atom(frames: Frames, features: Any) -> Any:
    features = Rows(features, np.ones(np.shape(features)[-1])).features
    if features.shape[0] != len(frames.numbers):
        raise FeatureError(
            f"features have {features.shape[0]} rows for {len(frames.numbers)} atoms; give one "
            "per atom, in the order of the frames"
        )
    return features


def _per_atom(frames: Frames, labels: ArrayLike | None) -> NDArray[Any] | None:
    if labels is None:
        return None
    array = np.asarray(labels)
    if array.shape == (len(frames),):
        return array[frames.frame_index]
    if array.shape != (len(frames.numbers),):
        raise FeatureError(
            f"labels have shape {array.shape}; give one per frame ({len(frames)}) or per atom "
            f"({len(frames.numbers)})"
        )
    return array
