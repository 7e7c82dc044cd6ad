"""Partitions of rows of features into clusters of similar environments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from atomate2_alpot.uncertainty.rows import FeatureError, Rows

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Method = Literal["kmeans", "birch"]

SAMPLE: int = 20_000
"""Clusters are found on this many rows at most, drawn with the seed."""

VARIANCE: float = 0.99
"""Share of the variance that the principal components kept for clustering hold."""

MAX_BIRCH: int = 16
"""BIRCH's threshold grows until it has no more subclusters than this."""


def cluster_rows(rows: Rows, n_clusters: int | None, method: Method | None, seed: int) -> Labels:
    """Partition rows by k-means or BIRCH on standardised principal components.

    Parameters
    ----------
    rows : Rows
    n_clusters : int, optional
        k of k-means. BIRCH without it finds the number by itself (at most :data:`MAX_BIRCH`);
        with it, subclusters are merged until so many are left.
    method : {"kmeans", "birch"}, optional
        Default: k-means if ``n_clusters`` is given, else BIRCH.
    seed : int
        Of the sample and of k-means.

    Returns
    -------
    array of int, shape (n,)
        Cluster of each row: that with the nearest centroid of members.

    Raises
    ------
    FeatureError
        If the method is unknown, or ``n_clusters`` is missing or out of range.
    """
    method = method or ("birch" if n_clusters is None else "kmeans")
    if method not in METHODS:
        raise FeatureError(f"method is {method!r}; give one of {sorted(METHODS)}")
    if method == "kmeans" and n_clusters is None:
        raise FeatureError("k-means needs n_clusters; give it, or method='birch'")
    if n_clusters is not None and not 1 <= n_clusters <= len(rows):
        raise FeatureError(f"n_clusters is {n_clusters}; give 1 to {len(rows)} (rows there are)")
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(rows))[:SAMPLE])
    mean, axes = _principal_axes(rows.take(chosen))
    sample = (rows.take(chosen) - mean) @ axes
    labels = METHODS[method](sample, n_clusters, seed)
    centres = np.stack([sample[labels == k].mean(axis=0) for k in np.unique(labels)])

    def nearest(block: Array) -> Array:
        points = (block - mean) @ axes
        return ((centres**2).sum(axis=1) - 2 * points @ centres.T).argmin(axis=1)

    return rows.reduce(nearest).astype(np.int64)


def _principal_axes(sample: Array) -> tuple[Array, Array]:
    """Return the mean (m,) and the axes (m, d) of the standardised sample."""
    mean, std = sample.mean(axis=0), sample.std(axis=0)
    weight = np.divide(1.0, std, where=std > 1e-12 * np.abs(mean), out=np.zeros_like(std))
    values, vectors = np.linalg.eigh(np.cov((sample - mean) * weight, rowvar=False, bias=True))
    order = np.argsort(values)[::-1]
    share = np.cumsum(values[order]) / max(values.sum(), 1e-300)
    kept = order[: int(np.searchsorted(share, VARIANCE)) + 1]
    return mean, weight[:, None] * vectors[:, kept]


def _kmeans(points: Array, n_clusters: int | None, seed: int) -> Labels:
    from sklearn.cluster import KMeans

    return KMeans(n_clusters=n_clusters or 1, n_init=3, random_state=seed).fit(points).labels_


def _birch(points: Array, n_clusters: int | None, seed: int) -> Labels:  # noqa: ARG001
    from sklearn.cluster import Birch

    threshold = 0.25 * float(np.sqrt(points.var(axis=0).sum())) or 1.0
    most = max(MAX_BIRCH, n_clusters or 0)
    model: Any = Birch(threshold=threshold, n_clusters=None).fit(points)
    while len(model.subcluster_centers_) > most:
        threshold *= 1.2
        model = Birch(threshold=threshold, n_clusters=None).fit(points)
    labels = model.predict(points)
    if n_clusters is None or len(np.unique(labels)) <= n_clusters:
        return labels
    from sklearn.cluster import AgglomerativeClustering

    found, labels = np.unique(labels, return_inverse=True)
    centres = np.stack([points[labels == k].mean(axis=0) for k in range(len(found))])
    return AgglomerativeClustering(n_clusters).fit(centres).labels_[labels]


METHODS: dict[str, Callable[[Array, int | None, int], Labels]] = {
    "kmeans": _kmeans,
    "birch": _birch,
}
"""Name -> partition of points (n, d)."""
