"""Querying labels: documents for people, `Frames` in blocks for machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from maggma.core import Store

from atomate2_alpot.schemas import Frames, Labels
from atomate2_alpot.schemas.frame_arrays import ORIGIN_COLUMNS

BLOCK: int = 1000

ORIGINS: tuple[str, ...] = tuple(name for name in ORIGIN_COLUMNS if name != "candidate")

FRAME_FIELDS: tuple[str, ...] = ("structure", "energy", "forces", "stress", *ORIGINS)
"""What frames are made of; nothing else of a document is read."""

SYMBOL_OPERATORS: frozenset[str] = frozenset({"$all", "$in", "$nin", "$eq", "$ne"})
"""Mongo operators whose values are symbols."""


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
        self,
        criteria: dict[str, Any] | None = None,
        limit: int = 0,
        campaign_id: str | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Yield label documents that match a Mongo-style filter, of one campaign or of all."""
        return self.store.query(_of_campaign(criteria, campaign_id), limit=limit)

    def count(self, criteria: dict[str, Any] | None = None, campaign_id: str | None = None) -> int:
        """Count label documents."""
        return self.store.count(_of_campaign(criteria, campaign_id))

    def iter_frames(
        self, criteria: dict[str, Any] | None = None, block: int = BLOCK, **filters: Any
    ) -> Iterator[Frames]:
        """Yield labelled frames in blocks, so that memory does not grow with the dataset.

        Parameters
        ----------
        criteria : dict, optional
            Mongo-style filter on label documents.
        block : int
            Frames of a block; the last one may have fewer.
        **filters
            As in :func:`build_criteria`.

        Raises
        ------
        ValueError
            If the criteria ask for labels that are not successful (these are no frames), or
            ``block`` is below 1.
        """
        for frames, _ in self._blocks(_merge(build_criteria(**filters), criteria or {}), block):
            yield frames

    def query(self, criteria: dict[str, Any] | None = None, **filters: Any) -> Frames:
        """Return labelled frames, read in blocks.

        What is in memory is the frames themselves, in columns; use :meth:`iter_frames` where they
        do not fit.

        Parameters
        ----------
        criteria : dict, optional
            Mongo-style filter on label documents.
        **filters
            As in :func:`build_criteria`.
        """
        return Frames.concat(list(self.iter_frames(criteria, **filters)))

    def query_with_fields(
        self,
        fields: Sequence[str],
        criteria: dict[str, Any] | None = None,
        campaign_id: str | None = None,
    ) -> tuple[Frames, dict[str, list[Any]]]:
        """Return labelled frames, and what their documents hold beside what frames carry.

        Parameters
        ----------
        fields : sequence of str
            Of the label documents, for example "surrogate" and "calculation".
        criteria : dict, optional
            Mongo-style filter on label documents (see :func:`build_criteria`).
        campaign_id : str, optional

        Returns
        -------
        frames : Frames
        found : dict of str to list
            Field -> one value per frame; None where a document lacks it.
        """
        blocks = list(self._blocks(_of_campaign(criteria, campaign_id), BLOCK, fields))
        found = {name: [row.get(name) for _, rows in blocks for row in rows] for name in fields}
        return Frames.concat([frames for frames, _ in blocks]), found

    def _blocks(
        self, criteria: dict[str, Any], block: int, fields: Sequence[str] = ()
    ) -> Iterator[tuple[Frames, list[dict[str, Any]]]]:
        if block < 1:
            raise ValueError(f"block: {block} frames; give a whole number above 0")
        wanted = _merge({"state": "successful"}, criteria)
        _check_symbols(wanted)
        documents = self.store.query(wanted, [*FRAME_FIELDS, *fields])
        while rows := list(islice(documents, block)):
            yield frames_of(rows), [{name: row.get(name) for name in fields} for row in rows]


EQUALITIES: tuple[str, ...] = ("functional", "campaign_id", "stage", "iteration", "state")
"""Fields a filter compares as they are."""

OTHERS: tuple[str, ...] = ("elements", "chemsys", "max_force", "engine")
"""Filters of another kind."""


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
    engine : str
        Program that computed the label, for example "VASP" (see ``CalculationTable``).
    functional, campaign_id, stage, iteration, state
        Compared as they are; stage is "label" (chosen by the loop), "test" (held out) or
        "prepare" (elemental crystals).

    Raises
    ------
    TypeError
        For a filter of another name.
    ValueError
        For a word that is no element.
    """
    known = (*OTHERS, *EQUALITIES)
    unknown = sorted(set(filters) - set(known))
    if unknown:
        raise TypeError(f"unknown filter {unknown}; use {known}")
    criteria = {k: filters[k] for k in EQUALITIES if filters.get(k) is not None}
    if filters.get("elements"):
        criteria["elements"] = {"$all": list(filters["elements"])}
    if filters.get("chemsys"):
        criteria["chemsys"] = "-".join(sorted(filters["chemsys"].split("-")))
    if filters.get("max_force") is not None:
        criteria["max_force"] = {"$lte": filters["max_force"]}
    if filters.get("engine"):
        criteria["calculation.engine"] = filters["engine"]
    _check_symbols(criteria)
    return criteria


def _of_campaign(criteria: dict[str, Any] | None, campaign_id: str | None) -> dict[str, Any]:
    wanted = criteria or {}
    if campaign_id is not None:
        wanted = _merge({"campaign_id": campaign_id}, wanted)
    _check_symbols(wanted)
    return wanted


def _merge(ours: dict[str, Any], criteria: dict[str, Any]) -> dict[str, Any]:
    """Join two filters; criteria must not say otherwise than what is asked for beside them."""
    for name in ours.keys() & criteria.keys():
        if criteria[name] != ours[name]:
            remedy = (
                "only successful labels are frames; look at others with documents()"
                if name == "state"
                else "give it once"
            )
            raise ValueError(
                f"filter: {name} is {criteria[name]!r} in the criteria, and {ours[name]!r} is "
                f"asked for beside them; take {name!r} out of the criteria ({remedy})"
            )
    return {**ours, **criteria}


def _check_symbols(criteria: dict[str, Any]) -> None:
    """Refuse words that are no elements, which would match nothing in silence."""
    for name in ("elements", "chemsys"):
        wanted = criteria.get(name)
        conditions = list(wanted.values()) if isinstance(wanted, dict) else [wanted]
        if isinstance(wanted, dict) and not set(wanted) <= SYMBOL_OPERATORS:
            continue
        words = [w for c in conditions for w in (c if isinstance(c, list | tuple) else [c])]
        symbols = [s for w in words if isinstance(w, str) for s in w.split("-")]
        wrong = sorted({s for s in symbols if s not in atomic_numbers or s == "X"})
        if wrong:
            raise ValueError(
                f"filter: {name}: {wrong} are not chemical elements; give symbols such as 'Fe'"
            )


def frames_of(rows: Sequence[Mapping[str, Any]]) -> Frames:
    """Return the frames of successful label documents.

    Reads pymatgen's structure dictionaries as arrays: an object for each structure and site would
    take most of the time of a query.
    """
    cells = [row["structure"]["lattice"]["matrix"] for row in rows]
    sites = [site for row in rows for site in row["structure"]["sites"]]
    missing = np.full((3, 3), np.nan).tolist()
    labels = Labels(
        [row["energy"] for row in rows],
        [force for row in rows for force in row["forces"]],
        [missing if row.get("stress") is None else row["stress"] for row in rows],
    )
    return Frames.from_arrays(
        [atomic_numbers[site["species"][0]["element"]] for site in sites],
        [site["xyz"] for site in sites],
        cells,
        [len(row["structure"]["sites"]) for row in rows],
        pbc=[row["structure"]["lattice"].get("pbc", (True, True, True)) for row in rows],
        labels=labels,
        origin={name: [row.get(name) for row in rows] for name in ORIGINS},
    )
