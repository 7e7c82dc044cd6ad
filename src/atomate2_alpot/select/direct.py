"""DIRECT: a diverse subset by dimensionality reduction and stratified sampling.

Qi et al., npj Comput. Mater. 10 (2024), as MP-ALOE uses it (METHODS.md §1): standardise → PCA →
weight the components by explained variance → BIRCH → a few per cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from sklearn.cluster import Birch

MAX_CLUSTERS: int = 25_000
"""BIRCH with nearly every point its own subcluster takes minutes and gigabytes. MP-ALOE's 125 000
labels an iteration are five of each of as many clusters."""

RADIUS_GROWTH: float = 1.25

MAX_STEPS: int = 60
MAX_NARROWINGS: int = 12
TOLERANCE: float = 0.02
"""Share of the budget that the number of clusters may fall short of it without a further try."""

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
        BIRCH radius, in weighted principal components of the standardised features; without a
        budget it only grows, where there would be more than ``MAX_CLUSTERS`` clusters.
    budget : int, optional
        Choose exactly this many (all rows if there are fewer): the radius is adapted until there
        are nearly as many clusters as the budget, and no more, then every cluster gives in turn.
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
    labels, threshold = _birch(coordinates, threshold_init, limit, fill=budget is not None)
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
    coordinates: NDArray[np.float64], threshold: float, limit: int, fill: bool
) -> tuple[NDArray[np.int64], float]:
    """Cluster with a radius that gives at most ``limit`` clusters, nearly as many with ``fill``.

    BIRCH's number of clusters falls steeply with the radius in many dimensions, and not quite
    monotonically: a radius on either side of the limit is found in steps, then the interval
    between them is narrowed. The tree alone is built for that; points are assigned once.
    """
    # a look at a part first saves building a tree in which nearly every point is a leaf
    sample = coordinates[:: max(1, len(coordinates) // (4 * limit))]
    while len(sample) < len(coordinates) and _n_clusters(sample, threshold) > limit:
        threshold *= RADIUS_GROWTH
    target = min(limit, len(np.unique(coordinates, axis=0))) if fill else 0
    enough = target - int(TOLERANCE * target)
    counts = {threshold: _n_clusters(coordinates, threshold)}
    while min(counts.values()) > limit:
        counts[max(counts) * RADIUS_GROWTH] = _n_clusters(coordinates, max(counts) * RADIUS_GROWTH)
    while max(counts.values()) < enough and len(counts) < MAX_STEPS:
        counts[min(counts) / RADIUS_GROWTH] = _n_clusters(coordinates, min(counts) / RADIUS_GROWTH)
    for _ in range(MAX_NARROWINGS):
        allowed = {r: n for r, n in counts.items() if n <= limit}
        high = max(allowed, key=lambda r: (allowed[r], -r))
        low = max((r for r, n in counts.items() if n > limit and r < high), default=high)
        if allowed[high] >= enough or high - low < 1e-6 * high:
            break
        radius = _between((low, counts[low]), (high, counts[high]), enough)
        counts[radius] = _n_clusters(coordinates, radius)
    allowed = {r: n for r, n in counts.items() if n <= limit}
    threshold = max(allowed, key=lambda r: (allowed[r], -r))
    labels = _fit(coordinates, threshold).predict(coordinates)
    return np.unique(labels, return_inverse=True)[1], threshold


def _fit(coordinates: NDArray[np.float64], threshold: float) -> Birch:
    from sklearn.cluster import Birch

    return Birch(threshold=threshold, n_clusters=None, compute_labels=False).fit(coordinates)


def _n_clusters(coordinates: NDArray[np.float64], threshold: float) -> int:
    return len(_fit(coordinates, threshold).subcluster_centers_)


def _between(low: tuple[float, int], high: tuple[float, int], target: int) -> float:
    """Interpolate the radius for a number of clusters, both as logarithms, off the ends."""
    radii, numbers = np.log([low[0], high[0]]), np.log([low[1], high[1]])
    part = (numbers[0] - np.log(target)) / (numbers[0] - numbers[1])
    return float(np.exp(radii[0] + np.clip(part, 0.2, 0.8) * (radii[1] - radii[0])))


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
