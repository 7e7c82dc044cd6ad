"""Extrapolation grades of frames: one active set per element."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import ArrayLike, NDArray

from atomate2_alpot.schemas import Frames
from atomate2_alpot.uncertainty.disagreement import frame_max
from atomate2_alpot.uncertainty.extrapolation import ActiveSet
from atomate2_alpot.uncertainty.groups import ActiveSets, AnySet, GroupedRows
from atomate2_alpot.uncertainty.local import LocalActiveSet
from atomate2_alpot.uncertainty.rows import FeatureError, Rows
from atomate2_alpot.uncertainty.thresholds import iqr_threshold

Array = NDArray[np.float64]


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
    """Active sets by element, from features of all atoms of the frames.

    Attributes
    ----------
    by_element : ActiveSets
    left_out : dict of str to int
        Atoms per element that the force filter left out.
    """

    def __init__(self, by_element: ActiveSets, left_out: dict[str, int] | None = None) -> None:
        self.by_element = by_element
        self.left_out = left_out or {}

    @property
    def sets(self) -> dict[str, AnySet]:
        """Active sets by symbol."""
        return self.by_element.sets

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
        rows = _by_element(frames, features)
        keep = keep_ordinary_forces(frames) if filter_forces else np.ones(len(rows), dtype=bool)
        clusters = _per_atom(frames, labels)
        default = ActiveSet.fit if clusters is None else LocalActiveSet.fit
        sets = ActiveSets.fit(rows, make or default, keep, clusters)
        left_out = {name: int((~keep[rows.where(name)]).sum()) for name in rows.names()}
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
        rows = _by_element(frames, features)
        grades = self.by_element.grade(rows)
        unseen = tuple(name for name in frames.elements if name not in self.sets)
        return Grades(grades, frame_max(grades, frames.offsets), unseen)


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


def _by_element(frames: Frames, features: Any) -> GroupedRows:
    features = Rows(features, np.ones(np.shape(features)[-1])).features
    if features.shape[0] != len(frames.numbers):
        raise FeatureError(
            f"features have {features.shape[0]} rows for {len(frames.numbers)} atoms; give one "
            "per atom, in the order of the frames"
        )
    return GroupedRows(features, np.array(chemical_symbols)[frames.numbers])


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
