"""Label documents: one per frame, as people query them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jobflow import JobStore
from maggma.core import Store
from monty.json import MontyDecoder
from pydantic import Field
from pymongo.errors import BulkWriteError

from atomate2_alpot.dataset.indexes import LABEL_KEY
from atomate2_alpot.schemas import Frames, LabelBatchDoc, LabelDoc

GATHER = "gather labels"
"""Name of the jobs whose outputs hold labels."""

STATES: tuple[str, ...] = ("successful", "failed")

BLOCK: int = 1000
"""Documents that are written at once."""

ATTEMPTS: int = 3

DUPLICATE_KEY: int = 11000
"""MongoDB's code for two documents with one key: both writers found none to replace."""


class StoredLabelDoc(LabelDoc):
    """A label document as it lies in the store: with what it was read from."""

    gather_uuid: str | None = Field(None, description="Job whose output it was written from.")
    gathers_read: list[str] = Field(
        default_factory=list,
        description="Gathers that were read to their end: one of their documents says so.",
    )
    tasks_read: list[str] = Field(
        default_factory=list,
        description="Task documents it was made of (LabelBuilder): key.index@last update.",
    )


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
    yield from successful_documents(batch.frames, shared, computed)
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


def successful_documents(
    frames: Frames, shared: dict[str, Any], computed: Mapping[str, dict[str, Any]]
) -> Iterator[LabelDoc]:
    """Yield the document of each labelled frame.

    Parameters
    ----------
    frames : Frames
        Labelled.
    shared : dict
        Fields that all have in common.
    computed : mapping
        Id of a frame, or of the one it was relaxed from -> its ``calculation``.
    """
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
        Connected; keyed by :data:`LABEL_KEY`, so that campaigns in one database keep to themselves.
    errors : mapping, optional
        Job uuid -> the engine's own words.

    Returns
    -------
    dict
        Number of documents written, by state. A gather is read once; a frame that failed in one
        and succeeded in another of the same campaign is successful.
    """
    counts = dict.fromkeys(STATES, 0)
    # a mark alone does not count: a gather that is to run again has had its documents removed
    marks = labels.query({"gathers_read": {"$gt": ""}}, ["gathers_read"])
    read = {uuid for document in marks for uuid in document["gathers_read"]}
    seen = read & set(labels.distinct("gather_uuid"))
    for row in jobs.query({"name": GATHER}, properties=["uuid", "index", "metadata"]):
        if row["uuid"] in seen:
            continue
        found = jobs.query_one({"uuid": row["uuid"], "index": row["index"]}, load=True) or {}
        batch = LabelBatchDoc.model_validate(MontyDecoder().process_decoded(found["output"]))
        metadata = row["metadata"]
        documents = list(label_documents(batch, metadata.get("campaign_id"), errors))
        written = write_labels(labels, documents, row["uuid"], metadata.get("stage"))
        counts = {state: counts[state] + written[state] for state in STATES}
    return counts


def write_labels(
    labels: Store, documents: Sequence[LabelDoc], gather_uuid: str, stage: str | None = None
) -> dict[str, int]:
    """Write the label documents of one gather.

    The work depends on the gather's size, not on the store's. Killed half way, or run twice at the
    same time, it leaves what one whole run leaves.

    Parameters
    ----------
    labels : Store
        Connected.
    documents : sequence of LabelDoc
        Of one gather.
    gather_uuid : str
        Of the job, or another name that the same documents always come by.
    stage : str, optional
        Of the documents.

    Returns
    -------
    dict
        Number of documents written, by state; a failure does not replace a success.
    """
    counts = dict.fromkeys(STATES, 0)
    properties = [*LABEL_KEY, "state", "gathers_read"]
    for start in range(0, len(documents), BLOCK):
        block = documents[start : start + BLOCK]
        present = present_labels(labels, [d.frame_id for d in block], properties)
        keep = []
        for document in block:
            known = present.get(label_key(document.model_dump(include=set(LABEL_KEY))), {})
            if document.state == "successful" or known.get("state") != "successful":
                # what stands for a gather must survive that it is replaced
                own = {"gather_uuid": gather_uuid, "gathers_read": known.get("gathers_read", [])}
                keep.append({**document.model_dump(), "stage": stage or document.stage, **own})
                counts[document.state] += 1
        last = start + BLOCK >= len(documents)
        if keep:
            upsert_labels(labels, keep[:-1] if last else keep)
        if keep and last:  # it says that all are there: a sync that is killed is made again
            keep[-1]["gathers_read"] = sorted({*keep[-1]["gathers_read"], gather_uuid})
            upsert_labels(labels, keep[-1:])
    return counts


def label_key(document: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what makes a label document one of its kind."""
    return tuple(document.get(name) for name in LABEL_KEY)


def present_labels(
    labels: Store, frame_ids: Sequence[str], properties: list[str] | None
) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return what the store has of frames, by key; whole documents without properties."""
    return {label_key(d): d for d in labels.query({"frame_id": {"$in": frame_ids}}, properties)}


def upsert_labels(labels: Store, documents: list[dict[str, Any]]) -> None:
    """Write documents by their key; somebody who inserts the same at the same time is no error."""
    for attempt in range(ATTEMPTS):
        try:
            labels.update(documents, key=list(LABEL_KEY))
            return
        except BulkWriteError as error:
            codes = {e.get("code") for e in error.details.get("writeErrors", [])}
            if codes != {DUPLICATE_KEY} or attempt == ATTEMPTS - 1:
                raise
