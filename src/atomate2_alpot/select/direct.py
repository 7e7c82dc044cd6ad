"""DIRECT: a diverse subset by dimensionality reduction and stratified sampling.

Qi et al., npj Comput. Mater. 10 (2024), as MP-ALOE uses it (METHODS.md §1): standardise → PCA →
weight the components by explained variance → BIRCH → a few per cluster.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_CLUSTERS: int = 20_000
"""BIRCH with nearly every point its own subcluster takes minutes and gigabytes."""

RADIUS_GROWTH: float = 1.25

MIN_EIGENVALUE: float = 1.0
"""Kaiser's rule on standardised features: keep components of more variance than one feature."""


@dataclass(frozen=True)
class DirectSample:
    """What DIRECT chose, and the space it chose in.

    Parameters
    ----------
    indices : array of int, shape (n,)
        Chosen rows, ascending.
    labels : array of int, shape (S,)
        Cluster of every row.
    coordinates : array, shape (S, C)
        Weighted principal components, by falling variance.
    centroids : array, shape (K, C)
        Mean of the members of each cluster.
    threshold : float
        BIRCH radius used.
    """

    indices: NDArray[np.int64]
    labels: NDArray[np.int64]
    coordinates: NDArray[np.float64]
    centroids: NDArray[np.float64]
    threshold: float

    @property
    def n_clusters(self) -> int:
        """K."""
        return len(self.centroids)


def direct_sample(
    features: ArrayLike,
    k_per_cluster: int = 5,
    threshold_init: float = 0.1,
    budget: int | None = None,
    seed: int = 0,
) -> DirectSample:
    """Choose a diverse subset of rows.

    Parameters
    ----------
    features : array, shape (S, D)
        One vector per frame; finite.
    k_per_cluster : int
        Rows taken from each cluster: the nearest to its centroid first, then evenly over the
        members by distance from it.
    threshold_init : float
        BIRCH radius, in weighted principal components of the standardised features.
    budget : int, optional
        Choose exactly this many (all rows if there are fewer): the radius grows until there are
        no more clusters than the budget, then every cluster gives in turn.
    seed : int
        Breaks ties between clusters when the budget does not divide.

    Returns
    -------
    DirectSample
        The same for any order of the same rows.

    Raises
    ------
    ValueError
        If features are empty or not finite, or a number is out of range.
    """
    array = _check(features, k_per_cluster, threshold_init, budget)
    canonical = np.lexsort(array.T[::-1])  # independent of the order the rows came in
    coordinates = principal_components(array[canonical])
    limit = min(MAX_CLUSTERS, budget) if budget is not None else MAX_CLUSTERS
    labels, threshold = _birch(coordinates, threshold_init, limit)
    centroids = _centroids(coordinates, labels)
    distance = np.linalg.norm(coordinates - centroids[labels], axis=1)
    if budget is None:
        chosen = _take_each(labels, distance, k_per_cluster)
    else:
        chosen = _take_in_turn(labels, distance, budget, np.random.default_rng(seed))
    back = np.empty_like(canonical)
    back[canonical] = np.arange(len(canonical))
    return DirectSample(
        np.sort(canonical[chosen]), labels[back], coordinates[back], centroids, threshold
    )


def principal_components(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standardise, project on the leading components, weight by explained variance ratio.

    Parameters
    ----------
    features : array, shape (S, D)

    Returns
    -------
    array, shape (S, C)
        At least two columns (zeros where the features have fewer dimensions).
    """
    spread = features.std(axis=0)
    varying = spread > 1e-10 * np.maximum(1.0, np.abs(features).max(axis=0))
    scaled = (features[:, varying] - features[:, varying].mean(axis=0)) / spread[varying]
    if scaled.shape[1] == 0:
        return np.zeros((len(features), 2))
    covariance = scaled.T @ scaled / len(scaled)
    variance, vectors = np.linalg.eigh(covariance)
    variance, vectors = variance[::-1], vectors[:, ::-1]
    keep = max(min(2, len(variance)), int((variance >= MIN_EIGENVALUE).sum()))
    # a sign convention, or the map would flip between machines
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(variance))])
    weights = variance[:keep] / variance.sum()
    projected = scaled @ vectors[:, :keep] * weights
    return np.pad(projected, ((0, 0), (0, max(0, 2 - keep))))


def _birch(
    coordinates: NDArray[np.float64], threshold: float, limit: int
) -> tuple[NDArray[np.int64], float]:
    """Cluster with a radius that is raised until there are at most ``limit`` clusters."""
    from sklearn.cluster import Birch

    # a look at a part first saves building a tree in which nearly every point is a leaf
    sample = coordinates[:: max(1, len(coordinates) // (4 * limit))]
    while True:
        part = Birch(threshold=threshold, n_clusters=None).fit(sample)
        if len(part.subcluster_centers_) <= limit:
            fit = Birch(threshold=threshold, n_clusters=None).fit(coordinates)
            labels = np.unique(fit.labels_, return_inverse=True)[1]
            if labels.max() < limit:
                return labels, threshold
        threshold *= RADIUS_GROWTH


def _centroids(coordinates: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Average the members of each cluster: BIRCH's own centres belong to subclusters."""
    sums = np.zeros((labels.max() + 1, coordinates.shape[1]))
    np.add.at(sums, labels, coordinates)
    return sums / np.bincount(labels)[:, None]


def _ranked(labels: NDArray[np.int64], distance: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Return the rows of each cluster, nearest to its centroid first."""
    order = np.lexsort((np.arange(len(labels)), distance, labels))
    return np.split(order, np.cumsum(np.bincount(labels))[:-1])


def _take_each(
    labels: NDArray[np.int64], distance: NDArray[np.float64], k: int
) -> NDArray[np.int64]:
    """Take k of each cluster, evenly over its members sorted by distance."""
    chosen = []
    for rows in _ranked(labels, distance):
        picks = np.unique(np.linspace(0, len(rows) - 1, min(k, len(rows))).round().astype(int))
        chosen.append(rows[picks])
    return np.concatenate(chosen)


def _take_in_turn(
    labels: NDArray[np.int64], distance: NDArray[np.float64], budget: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Take one of each cluster in turn until the budget is spent; the last turn is random."""
    groups = _ranked(labels, distance)
    budget = min(budget, len(labels))
    quota = np.zeros(len(groups), int)
    sizes = np.array([len(g) for g in groups])
    while quota.sum() < budget:
        open_groups = np.flatnonzero(quota < sizes)
        missing = budget - quota.sum()
        if missing < len(open_groups):
            open_groups = rng.choice(open_groups, missing, replace=False)
        quota[open_groups] += 1
    picks = [
        g[np.linspace(0, len(g) - 1, q).round().astype(int)]
        for g, q in zip(groups, quota, strict=True)
        if q
    ]
    return np.concatenate(picks)


def _check(
    features: ArrayLike, k_per_cluster: int, threshold: float, budget: int | None
) -> NDArray[np.float64]:
    array = np.asarray(features, dtype=np.float64)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"features: shape {array.shape}; give one non-empty vector per frame")
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        raise ValueError(
            f"features: {bad.sum()} rows hold NaN or infinity (first: {int(np.argmax(bad))}); the "
            "descriptor cannot describe these frames, leave them out"
        )
    for name, value in (("k_per_cluster", k_per_cluster), ("budget", budget)):
        if value is not None and value < 1:
            raise ValueError(f"{name}={value}: give at least 1")
    if threshold <= 0:
        raise ValueError(f"threshold_init={threshold}: give a positive radius")
    return array
