"""One active set per group of rows: per element, or one for whole frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atomate2_alpot.schemas import ActiveSetTable
from atomate2_alpot.uncertainty.extrapolation import ActiveSet
from atomate2_alpot.uncertainty.local import COMPLETE, LocalActiveSet
from atomate2_alpot.uncertainty.rows import FeatureError, RowView

AnySet = ActiveSet | LocalActiveSet


@dataclass(frozen=True)
class GroupedRows:
    """Features of which each row belongs to a group.

    Parameters
    ----------
    values : array or memmap, shape (n, m)
    groups : array of str, shape (n,)
        Symbol of the element that a row describes, or another name.
    """

    values: Any
    groups: NDArray[Any]

    @property
    def shape(self) -> tuple[int, int]:
        """(n, m)."""
        return self.values.shape

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, rows: slice) -> GroupedRows:
        return GroupedRows(self.values[rows], self.groups[rows])

    def names(self) -> list[str]:
        """Return the distinct groups, sorted."""
        return [str(name) for name in np.unique(self.groups)]

    def where(self, name: str) -> NDArray[np.int64]:
        """Return the rows of a group."""
        return np.flatnonzero(self.groups == name)


class ActiveSets:
    """An active set for each group of rows, by which rows of that group are graded.

    Parameters
    ----------
    sets : dict of str to ActiveSet or LocalActiveSet
        By group.
    """

    def __init__(self, sets: dict[str, AnySet]) -> None:
        self.sets = sets

    @classmethod
    def fit(
        cls,
        rows: GroupedRows,
        make: Callable[..., AnySet] = ActiveSet.fit,
        keep: NDArray[np.bool_] | None = None,
        labels: ArrayLike | None = None,
    ) -> Self:
        """Choose an active set for each group.

        Parameters
        ----------
        rows : GroupedRows
            Of the training set.
        make : callable
            ``ActiveSet.fit`` or ``LocalActiveSet.fit``, or a partial of one; called with the rows
            of one group, and ``labels=`` if there are any.
        keep : array of bool, shape (n,), optional
            Rows that may become members.
        labels : array_like, shape (n,), optional
            Clusters of the rows.

        Raises
        ------
        FeatureError
            As in :meth:`ActiveSet.fit`, naming the group.
        """
        sets = {}
        for name in rows.names():
            own = rows.where(name)
            own = own if keep is None else own[keep[own]]
            options = {} if labels is None else {"labels": np.asarray(labels)[own]}
            try:
                sets[name] = make(RowView(rows.values, own), **options)
            except FeatureError as error:
                raise FeatureError(f"{name}: {error}") from error
        return cls(sets)

    def grade(self, rows: GroupedRows) -> NDArray[np.float64]:
        """Return γ of each row, shape (n,); infinite for a group without a set."""
        grades = np.full(len(rows), np.inf)
        for name in rows.names():
            if (known := self.sets.get(name)) is not None:
                own = rows.where(name)
                grades[own] = known.grade(RowView(rows.values, own))
        return grades

    def add(self, rows: GroupedRows) -> int:
        """Take in what enlarges a volume; a group that is new gets a set of its own.

        Returns
        -------
        int
            Members that are new.

        Raises
        ------
        TypeError
            If a group has sets of clusters.
        """
        n_new = 0
        for name in rows.names():
            own = np.asarray(rows.values[rows.groups == name])
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
