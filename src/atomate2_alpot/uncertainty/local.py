"""Clustering-enhanced local D-optimality: one active set per cluster, the smallest grade counts."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atomate2_alpot.uncertainty.clusters import Method, cluster_rows
from atomate2_alpot.uncertainty.extrapolation import TOLERANCE, ActiveSet
from atomate2_alpot.uncertainty.rows import FeatureError, Rows, RowView

Array = NDArray[np.float64]

COMPLETE: float = 1e-6
"""Clusters span few directions; the rest is completed, see :meth:`ActiveSet.fit`."""


class LocalActiveSet:
    """An active set per cluster; γ is the smallest over clusters (UQ on heterogeneous data, §3.5).

    One active set for all of a heterogeneous training set holds its extremes only, and whatever
    lies between them passes for known. Made by :meth:`fit`.

    Attributes
    ----------
    sets : tuple of ActiveSet
        One per cluster, in the order of ``names``; their ``indices`` are rows of the features
        given to :meth:`fit`.
    names : array, shape (K,)
        Distinct labels of clusters, sorted.
    labels : array, shape (n,)
        Cluster of each training row.
    """

    def __init__(self, sets: tuple[ActiveSet, ...], labels: NDArray[Any]) -> None:
        self.sets, self.labels, self.names = sets, labels, np.unique(labels)

    @classmethod
    def fit(
        cls,
        features: Any,
        labels: ArrayLike | None = None,
        n_clusters: int | None = None,
        method: Method | None = None,
        complete: float | None = COMPLETE,
        seed: int = 0,
    ) -> Self:
        """Partition the rows and choose one active set per cluster.

        Parameters
        ----------
        features : array_like or memmap, shape (n, m)
        labels : array_like, shape (n,), optional
            Given clusters, such as the data set each row comes from.
        n_clusters, method, seed
            See :func:`~.clusters.cluster_rows`: k-means when a number is given, else BIRCH.
        complete : float, optional
            See :meth:`ActiveSet.fit`; None refuses clusters that span less than m directions.

        Raises
        ------
        FeatureError
            If both labels and a way to cluster are given, lengths differ, or as in
            :meth:`ActiveSet.fit` (naming the cluster).
        """
        rows = Rows(features)
        if not len(rows):
            raise FeatureError("there are no rows of features; give those of the training set")
        if labels is None:
            names = cluster_rows(rows, n_clusters, method, seed)
        elif n_clusters is not None or method is not None:
            raise FeatureError("give labels, or n_clusters and method, not both")
        else:
            names = np.asarray(labels)
            if names.shape != (len(rows),):
                raise FeatureError(f"labels have shape {names.shape} for {len(rows)} rows")
        sets = [_fit_cluster(rows, names, name, complete) for name in np.unique(names)]
        return cls(tuple(sets), names)

    @property
    def n_clusters(self) -> int:
        """K."""
        return len(self.sets)

    @property
    def indices(self) -> NDArray[np.int64]:
        """Training rows that are members of an active set, sorted."""
        all_of_them = np.unique(np.concatenate([s.indices for s in self.sets]))
        return all_of_them[all_of_them >= 0]

    def grades(self, features: Any) -> Array:
        """Return γ with respect to every cluster, shape (n, K)."""
        return np.stack([s.grade(features) for s in self.sets], axis=1)

    def grade(self, features: Any) -> Array:
        """Return γ = min over clusters, shape (n,); see :meth:`ActiveSet.grade`."""
        return self.grades(features).min(axis=1)


def _fit_cluster(rows: Rows, labels: NDArray[Any], name: Any, complete: float | None) -> ActiveSet:
    only = np.flatnonzero(labels == name)
    part = Rows(RowView(rows.features, only), rows.scale)
    try:
        active = ActiveSet._fit(part, complete, TOLERANCE)
    except FeatureError as error:
        raise FeatureError(f"cluster {name!r}: {error}") from error
    active.indices = np.where(active.indices >= 0, only[active.indices], -1)
    return active
