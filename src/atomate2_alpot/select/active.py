"""Active sets of the frames labelled so far: what extrapolation is measured from."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from atomate2_alpot.schemas import ActiveSetTable, Document
from atomate2_alpot.select.descriptors import Described
from atomate2_alpot.select.known import Known
from atomate2_alpot.select.rows import FeatureRows, feature_rows, group_name
from atomate2_alpot.uncertainty import ActiveSet, LocalActiveSet, keep_ordinary_forces
from atomate2_alpot.uncertainty.local import COMPLETE
from atomate2_alpot.uncertainty.rows import FeatureError, RowView

logger = logging.getLogger(__name__)

AnySet = ActiveSet | LocalActiveSet
Clusters = int | Literal["birch"] | None


class ActiveSetsDoc(Document):
    """Active sets of the frames that an iteration begins with."""

    table: ActiveSetTable
    n_frames: int = Field(description="Labelled frames they were chosen from.")
    seconds: float


class ActiveSets:
    """An active set per element (or one for whole frames) that candidates are graded by.

    Parameters
    ----------
    sets : dict of str to ActiveSet or LocalActiveSet
        By symbol, or ``frame``.
    """

    def __init__(self, sets: dict[str, AnySet]) -> None:
        self.sets = sets

    @classmethod
    def fit(
        cls,
        rows: FeatureRows,
        clusters: Clusters = None,
        keep: NDArray[np.bool_] | None = None,
        seed: int = 0,
    ) -> Self:
        """Choose the sets by MaxVol; directions that few frames do not span are completed.

        Parameters
        ----------
        rows : FeatureRows
            Of the training frames.
        clusters : int or "birch", optional
            Number of clusters of each set (fewer where there are fewer rows), or found by BIRCH;
            makes them :class:`LocalActiveSet`.
        keep : array of bool, shape (n,), optional
            Rows that may become members.
        seed : int
            Of the clusters.

        Raises
        ------
        FeatureError
            Naming the element.
        """
        sets = {}
        keep = np.ones(len(rows), dtype=bool) if keep is None else keep
        for group in np.unique(rows.groups):
            own = RowView(rows.values, np.flatnonzero((rows.groups == group) & keep))
            try:
                sets[group_name(group)] = _maker(clusters, own.shape[0], seed)(own)
            except FeatureError as error:
                raise FeatureError(f"{group_name(group)}: {error}") from error
        return cls(sets)

    def grade(self, rows: FeatureRows) -> NDArray[np.float64]:
        """Return γ of each row, shape (n,); infinite for an element without a set."""
        grades = np.full(len(rows), np.inf)
        for group in np.unique(rows.groups):
            if (known := self.sets.get(group_name(group))) is not None:
                own = np.flatnonzero(rows.groups == group)
                grades[own] = known.grade(RowView(rows.values, own))
        return grades

    def add(self, rows: FeatureRows) -> int:
        """Take in what enlarges a volume; an element that is new gets a set of its own.

        Returns
        -------
        int
            Members that are new.
        """
        n_new = 0
        for group in np.unique(rows.groups):
            name, own = group_name(group), np.asarray(rows.values[rows.groups == group])
            known = self.sets.get(name)
            if known is None:
                self.sets[name] = made = ActiveSet.fit(own, complete=COMPLETE)
                n_new += int((made.indices >= 0).sum())
            elif isinstance(known, ActiveSet):
                n_new += known.add(own)
            else:
                raise TypeError("sets of clusters do not grow: a frame has no cluster of its own")
        return n_new

    def copy(self) -> Self:
        """Return sets that can be added to without changing these."""
        return type(self)(
            {k: s.copy() if isinstance(s, ActiveSet) else s for k, s in self.sets.items()}
        )

    def to_table(self) -> ActiveSetTable:
        """Return the members as a document."""
        columns: dict[str, list[Any]] = {"group": [], "cluster": [], "features": []}
        for name, known in self.sets.items():
            parts = known.sets if isinstance(known, LocalActiveSet) else (known,)
            for cluster, part in enumerate(parts):
                columns["group"] += [name] * part.n_features
                columns["cluster"] += [cluster] * part.n_features
                columns["features"] += list(part.rows)
        return ActiveSetTable.from_columns(**columns)

    @classmethod
    def from_table(cls, table: ActiveSetTable) -> Self:
        """Rebuild from :meth:`to_table`."""
        groups, clusters = table.column("group"), table.column("cluster")
        features = table.table.column("features").combine_chunks().flatten().to_numpy()
        values = features.reshape(len(table), -1) if len(table) else np.zeros((0, 0))
        sets: dict[str, AnySet] = {}
        for name in dict.fromkeys(groups):
            own = groups == name
            parts = tuple(
                ActiveSet.from_rows(values[own & (clusters == k)]) for k in np.unique(clusters[own])
            )
            local = LocalActiveSet(parts, np.arange(len(parts)))
            sets[name] = parts[0] if len(parts) == 1 else local
        return cls(sets)


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
        See :meth:`ActiveSets.fit`.
    filter_forces : bool
        Leave out atoms whose labelled |F| is an outlier (UQ on heterogeneous data, eq. 13).
    seed : int

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
    return ActiveSets.fit(rows, clusters, keep, seed)


def _maker(clusters: Clusters, n_rows: int, seed: int) -> Callable[[Any], AnySet]:
    if clusters is None:
        return partial(ActiveSet.fit, complete=COMPLETE)
    n_clusters = None if clusters == "birch" else min(clusters, n_rows)
    return partial(LocalActiveSet.fit, n_clusters=n_clusters, complete=COMPLETE, seed=seed)
