"""Active sets of the frames labelled so far: what extrapolation is measured from."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
from pydantic import Field

from atomate2_alpot.schemas import ActiveSetTable, Document
from atomate2_alpot.select.descriptors import Described
from atomate2_alpot.select.known import Known
from atomate2_alpot.select.rows import feature_rows
from atomate2_alpot.uncertainty import (
    ActiveSet,
    ActiveSets,
    LocalActiveSet,
    keep_ordinary_forces,
)
from atomate2_alpot.uncertainty.groups import AnySet
from atomate2_alpot.uncertainty.local import COMPLETE

logger = logging.getLogger(__name__)

Clusters = int | Literal["birch"] | None


class ActiveSetsDoc(Document):
    """Active sets of the frames that an iteration begins with."""

    table: ActiveSetTable
    n_frames: int = Field(description="Labelled frames they were chosen from.")
    seconds: float


def fit_active_sets(
    known: Known,
    described: Described,
    clusters: Clusters = None,
    filter_forces: bool = False,
    seed: int = 0,
) -> ActiveSets:
    """Describe the training frames and choose active sets of them; their order does not matter.

    Parameters
    ----------
    known : Known
    described : Described
    clusters : int or "birch", optional
        Number of clusters of each set (fewer where there are fewer rows), or found by BIRCH;
        makes them :class:`LocalActiveSet`.
    filter_forces : bool
        Leave out atoms whose labelled |F| is an outlier (UQ on heterogeneous data, eq. 13).
    seed : int
        Of the clusters.

    Raises
    ------
    ValueError
        If there are no training frames, or none can be described.
    """
    frames = known.training.unique()
    frames = frames.take(np.argsort(np.array(frames.frame_id, dtype=str)))
    rows = feature_rows(frames, described, known)
    if not len(rows):
        raise ValueError(
            f"D-optimality needs labelled frames to measure from: there are {len(frames)}, and "
            f"descriptor {described.descriptor!r} describes none. Label some first "
            "(loop.label_crystals), or begin with a criterion and sampler that need none"
        )
    if len(rows.frames) < len(frames):
        logger.warning(
            "descriptor %s: NaN for %d of %d labelled frames, which the active set does without",
            described.descriptor,
            len(frames) - len(rows.frames),
            len(frames),
        )
    keep = None
    if filter_forces and described.per == "atom":
        keep = keep_ordinary_forces(frames.take(rows.frames))
    return ActiveSets.fit(rows, _maker(clusters, seed), keep)


def _maker(clusters: Clusters, seed: int) -> Callable[[Any], AnySet]:
    """Return what makes a set of rows; directions that few rows do not span are completed."""
    if clusters is None:
        return partial(ActiveSet.fit, complete=COMPLETE)

    def make(rows: Any) -> AnySet:
        n_clusters = None if clusters == "birch" else min(clusters, rows.shape[0])
        return LocalActiveSet.fit(rows, n_clusters=n_clusters, complete=COMPLETE, seed=seed)

    return make
