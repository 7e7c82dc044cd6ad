"""Label documents: one per frame, as people query them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jobflow import JobStore
from maggma.core import Store
from monty.json import MontyDecoder

from atomate2_alpot.schemas import Frames, LabelBatchDoc, LabelDoc

GATHER = "gather labels"
"""Name of the jobs whose outputs hold labels."""

KEY: tuple[str, ...] = ("campaign_id", "frame_id", "functional")
"""What makes a label document one of its kind."""


def label_documents(
    batch: LabelBatchDoc, campaign_id: str | None = None, errors: Mapping[str, str] | None = None
) -> Iterator[LabelDoc]:
    """Yield one document per frame of a batch, failed ones included.

    Parameters
    ----------
    batch : LabelBatchDoc
    campaign_id : str, optional
        Where the batch does not know it.
    errors : mapping, optional
        Job uuid -> the engine's own words, for failures.
    """
    shared = {
        "functional": batch.functional,
        "surrogate": batch.surrogate,
        "campaign_id": batch.campaign_id or campaign_id,
    }
    computed = {row["frame_id"]: row for row in batch.calculations.table.to_pylist()}
    yield from _successful(batch.frames, shared, computed)
    for failure in batch.failures:
        words = (errors or {}).get(failure.task_uuid or "")
        yield LabelDoc(
            frame_id=failure.frame_id,
            state="failed",
            reason=failure.reason,
            detail=words or failure.detail,
            task_uuid=failure.task_uuid,
            formula_pretty=failure.formula,
            iteration=batch.iteration,
            calculation=computed.get(failure.frame_id),
            **shared,
        )


def _successful(
    frames: Frames, shared: dict[str, Any], computed: Mapping[str, dict[str, Any]]
) -> Iterator[LabelDoc]:
    forces = frames.split_atoms(frames.forces)
    rows = frames.table.select(["prototype", "parent", "step", "task_uuid", "iteration"])
    for s, (structure, row) in enumerate(
        zip(frames.to_structures(), rows.to_pylist(), strict=True)
    ):
        stress = frames.stress[s]
        has_stress = bool(np.isfinite(stress).all())
        composition = structure.composition
        asked = frames.frame_id[s] if frames.frame_id[s] in computed else row["parent"]
        yield LabelDoc(
            frame_id=frames.frame_id[s],
            structure=structure.as_dict(),
            energy=float(frames.energy[s]),
            energy_per_atom=float(frames.energy[s]) / len(structure),
            forces=forces[s].tolist(),
            stress=stress.tolist() if has_stress else None,
            pressure=-float(np.trace(stress)) / 3 if has_stress else None,
            max_force=float(np.linalg.norm(forces[s], axis=1).max()),
            elements=sorted(e.symbol for e in composition.elements),
            nelements=len(composition),
            nsites=len(structure),
            chemsys=composition.chemical_system,
            formula_pretty=composition.reduced_formula,
            volume=structure.volume,
            calculation=computed.get(asked),
            **row,
            **shared,
        )


def sync_labels(
    jobs: JobStore, labels: Store, errors: Mapping[str, str] | None = None
) -> dict[str, int]:
    """Write the label documents of every finished gather; nothing twice.

    Parameters
    ----------
    jobs : JobStore
        Connected; its outputs named "gather labels" are read.
    labels : Store
        Connected; keyed by :data:`KEY`, so that campaigns in one database keep to themselves.
    errors : mapping, optional
        Job uuid -> the engine's own words.

    Returns
    -------
    dict
        Number of documents written, by state. A gather is read once; a frame that failed in one
        and succeeded in another of the same campaign is successful.
    """
    counts = {"successful": 0, "failed": 0}
    marks = _marks(labels)
    # a mark alone does not count: a gather that is to run again has had its documents removed
    seen = {uuid for uuids in marks.values() for uuid in uuids} & set(
        labels.distinct("gather_uuid")
    )
    for row in jobs.query({"name": GATHER}, properties=["uuid", "index", "metadata"]):
        if row["uuid"] in seen:
            continue
        found = jobs.query_one({"uuid": row["uuid"], "index": row["index"]}, load=True) or {}
        batch = LabelBatchDoc.model_validate(MontyDecoder().process_decoded(found["output"]))
        metadata = row["metadata"]
        documents = list(label_documents(batch, metadata.get("campaign_id"), errors))
        successful = _successful_ids(labels, documents)
        keep = [
            {**d.model_dump(), "stage": metadata.get("stage"), "gather_uuid": row["uuid"]}
            for d in documents
            if d.state == "successful" or d.frame_id not in successful
        ]
        if keep:
            for document in keep:  # what stands for a gather must survive that it is replaced
                document["gathers_read"] = marks.get(_key(document), [])
            labels.update(keep[:-1], key=list(KEY))
            # the last one says that all are there: a sync that is killed is made again
            keep[-1]["gathers_read"] = [*keep[-1]["gathers_read"], row["uuid"]]
            marks[_key(keep[-1])] = keep[-1]["gathers_read"]
            labels.update(keep[-1:], key=list(KEY))
        for document in keep:
            counts[document["state"]] += 1
    return counts


def _key(document: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(document.get(name) for name in KEY)


def _marks(labels: Store) -> dict[tuple[Any, ...], list[str]]:
    """Return the documents that tell which gathers were read to their end, by key."""
    found = labels.query({"gathers_read.0": {"$exists": True}}, [*KEY, "gathers_read"])
    return {_key(d): list(d["gathers_read"]) for d in found}


def _successful_ids(labels: Store, documents: list[LabelDoc]) -> set[str]:
    """Return the frames that the campaign of these documents has labelled already."""
    if not documents:
        return set()
    first = documents[0]  # one gather: one campaign, one functional
    criteria = {
        "state": "successful",
        "campaign_id": first.campaign_id,
        "functional": first.functional,
    }
    return {d["frame_id"] for d in labels.query(criteria, ["frame_id"])}
