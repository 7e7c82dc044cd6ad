"""Querying labels: documents for people, `Frames` in blocks for machines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from maggma.core import Store
from pymatgen.core import Structure

from atomate2_alpot.schemas import Frames, Labels
from atomate2_alpot.schemas.frame_arrays import ORIGIN_COLUMNS

BLOCK: int = 1000


class LabelStore:
    """The label documents of a campaign or of many.

    Parameters
    ----------
    store : maggma Store
        Connected.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def documents(
        self, criteria: dict[str, Any] | None = None, limit: int = 0
    ) -> Iterator[dict[str, Any]]:
        """Yield label documents that match a Mongo-style filter."""
        return self.store.query(criteria or {}, limit=limit)

    def count(self, criteria: dict[str, Any] | None = None) -> int:
        """Count label documents."""
        return self.store.count(criteria or {})

    def iter_frames(
        self, criteria: dict[str, Any] | None = None, block: int = BLOCK
    ) -> Iterator[Frames]:
        """Yield labelled frames in blocks, so that memory does not grow with the dataset."""
        rows: list[dict[str, Any]] = []
        for document in self.documents({"state": "successful", **(criteria or {})}):
            rows.append(document)
            if len(rows) == block:
                yield _frames(rows)
                rows = []
        if rows:
            yield _frames(rows)

    def query(self, criteria: dict[str, Any] | None = None, **filters: Any) -> Frames:
        """Return labelled frames.

        Parameters
        ----------
        criteria : dict, optional
            Mongo-style filter on label documents.
        **filters
            As in :func:`build_criteria`.
        """
        merged = {**build_criteria(**filters), **(criteria or {})}
        return Frames.concat(list(self.iter_frames(merged)))


EQUALITIES: tuple[str, ...] = ("functional", "campaign_id", "stage", "iteration", "state")
"""Fields a filter compares as they are."""


def build_criteria(**filters: Any) -> dict[str, Any]:
    """Return a Mongo-style filter; filters that are None or empty are left out.

    Parameters
    ----------
    elements : sequence of str
        Frames that hold all of these.
    chemsys : str
        Frames of exactly these elements, for example "Al-Ni".
    max_force : float
        Largest force on an atom, eV/Å.
    functional, campaign_id, stage, iteration, state
        Compared as they are; stage is "label" (chosen by the loop), "test" (held out) or
        "prepare" (elemental crystals).

    Raises
    ------
    TypeError
        For a filter of another name.
    """
    unknown = sorted(set(filters) - {"elements", "chemsys", "max_force", *EQUALITIES})
    if unknown:
        known = ("elements", "chemsys", "max_force", *EQUALITIES)
        raise TypeError(f"unknown filter {unknown}; use {known}")
    criteria = {k: filters[k] for k in EQUALITIES if filters.get(k) is not None}
    if filters.get("elements"):
        criteria["elements"] = {"$all": list(filters["elements"])}
    if filters.get("chemsys"):
        criteria["chemsys"] = "-".join(sorted(filters["chemsys"].split("-")))
    if filters.get("max_force") is not None:
        criteria["max_force"] = {"$lte": filters["max_force"]}
    return criteria


def _frames(rows: list[dict[str, Any]]) -> Frames:
    structures = [Structure.from_dict(r["structure"]) for r in rows]
    missing = np.full((3, 3), np.nan).tolist()
    labels = Labels(
        [r["energy"] for r in rows],
        np.concatenate([np.asarray(r["forces"], dtype=float) for r in rows]),
        [missing if r["stress"] is None else r["stress"] for r in rows],
    )
    origin = {name: [r.get(name) for r in rows] for name in ORIGIN_COLUMNS if name != "candidate"}
    return Frames.from_structures(structures).with_labels(labels).with_origin(**origin)
