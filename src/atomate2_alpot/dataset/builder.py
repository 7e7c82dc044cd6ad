"""A maggma Builder: from the task documents of any VASP calculation to label documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from maggma.core import Builder, Store
from maggma.utils import grouper
from monty.json import MontyDecoder

from atomate2_alpot.dataset.labels import (
    label_key,
    present_labels,
    successful_documents,
    upsert_labels,
)
from atomate2_alpot.schemas import Frames, LabelDoc, Labels
from atomate2_alpot.taskdocs import LabelParseError, Step, describe_calculation, read_steps

TASK_DOC: dict[str, str] = {"@module": "emmet.core.tasks", "@class": "TaskDoc"}

STAGE: str = "task"
"""The stage of labels that no loop asked for."""

TASK: str = "task:"
"""How the ``frame_id`` of a document without a label begins: it may not even have a structure."""

OUR_NAMES: dict[str, str] = {"GGA": "PBE", "GGA+U": "PBE+U"}
"""emmet's run type -> functional, where they differ."""


class LabelBuilder(Builder):
    """Make labels of task documents, whoever started the calculations.

    What is new or has changed is built: a document is known by its key and the time of its last
    update, one by one and not by the latest of all, so that workers whose clocks differ lose
    nothing. Runs with ``mrun``, also in several processes.

    Parameters
    ----------
    tasks : maggma Store
        emmet's task documents, or the outputs of jobs (the ``docs_store`` of a JobStore).
    labels : maggma Store
        Where label documents go.
    query : dict, optional
        Filter on ``tasks``; by default every VASP task document.
    which : str
        "last" ionic step, or "all" that converged.
    functional : str, optional
        Of all labels; by default each document's own run type ("PBE", "r2SCAN", "PBE+U", …).
    campaign_id : str
        Of the labels: they stand beside those of the loop's own campaigns and replace none.
    chunk_size : int
        Documents read at once.
    """

    def __init__(
        self,
        tasks: Store,
        labels: Store,
        query: dict[str, Any] | None = None,
        which: Literal["last", "all"] = "last",
        functional: str | None = None,
        campaign_id: str = "tasks",
        chunk_size: int = 100,
    ) -> None:
        if which not in ("last", "all"):
            raise ValueError(f"which: {which!r}; choose 'last' or 'all' ionic steps")
        self.tasks, self.labels, self.query = tasks, labels, query
        self.which, self.functional, self.campaign_id = which, functional, campaign_id
        super().__init__(sources=[tasks], targets=[labels], chunk_size=chunk_size)

    def get_items(self) -> Iterator[dict[str, Any]]:
        """Yield the task documents that no label is from, or that were updated since."""
        self.labels.ensure_index("tasks_read")
        criteria = _is_task() if self.query is None else self.query
        names = [self.tasks.key, "uuid", "index", self.tasks.last_updated_field, "completed_at"]
        for chunk in grouper(self.tasks.query(criteria, list(names)), self.chunk_size):
            marks = {self._mark(row): self._key(row) for row in chunk}
            read = self._read(list(marks))
            new: dict[str, list[Any]] = {}
            for mark, (field, value) in marks.items():
                if mark not in read:
                    new.setdefault(field, []).append(value)
            for field, values in new.items():
                wanted = {"$and": [criteria, {field: {"$in": values}}]}
                yield from (d for d in self.tasks.query(wanted) if self._mark(d) not in read)

    def _read(self, marks: list[str]) -> set[str]:
        """Return which of these marks the labels of this builder have."""
        found = self.labels.query({"tasks_read": {"$in": marks}}, ["tasks_read", "campaign_id"])
        ours = (row for row in found if row["campaign_id"] == self.campaign_id)
        return {mark for row in ours for mark in row["tasks_read"]}

    def _key(self, item: Mapping[str, Any]) -> tuple[str, Any]:
        """Return the field that a document is known by, and its value; jobs have a uuid."""
        field = self.tasks.key if self.tasks.key in item else "uuid"
        return field, item[field]

    def process_item(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the label documents of a task document; a failed one if it holds no label."""
        mark, task_uuid = self._mark(item), str(self._key(item)[1])
        task = item if "calcs_reversed" in item else item.get("output", {})
        try:
            document = MontyDecoder().process_decoded({**_without_blobs(task), **TASK_DOC})
            labels = self._labels_of(document, task_uuid)
        except Exception as error:  # a document may be of any age, and broken in any way
            known = isinstance(error, LabelParseError)
            reason = error.args[0] if known else "unreadable task document"
            labels = [
                self._failure(task, task_uuid, reason, str(error.args[-1] if error.args else error))
            ]
        return {"mark": mark, "documents": [d.model_dump() for d in labels]}

    def update_targets(self, items: Sequence[dict[str, Any]]) -> None:
        """Write label documents; of one frame the last success stays, and every mark."""
        merged: dict[tuple[Any, ...], dict[str, Any]] = {}
        ids = [d["frame_id"] for item in items for d in item["documents"]]
        present = present_labels(self.labels, ids, properties=None)
        for item in items:
            for document in item["documents"]:
                key = label_key(document)
                before = merged.get(key) or present.get(key) or {}
                merged[key] = {
                    **(document if _replaces(document, before) else before),
                    "tasks_read": sorted({*before.get("tasks_read", []), item["mark"]}),
                }
                merged[key].pop("_id", None)
        if merged:
            upsert_labels(self.labels, list(merged.values()))
        mended = {f"{TASK}{d['task_uuid']}" for d in merged.values() if d["state"] == "successful"}
        if mended:  # what failed when the document was read before
            self.labels.remove_docs(
                {"frame_id": {"$in": sorted(mended)}, "campaign_id": self.campaign_id}
            )
        self.logger.info("%d labels of %d task documents", len(merged), len(items))

    def _mark(self, item: Mapping[str, Any]) -> str:
        updated = item.get(self.tasks.last_updated_field) or item.get("completed_at")
        return f"{self._key(item)[1]}.{item.get('index', 1)}@{updated}"

    def _labels_of(self, document: Any, task_uuid: str) -> list[LabelDoc]:
        steps = read_steps(document)
        chosen = [s for s in (steps if self.which == "all" else steps[-1:]) if s.converged]
        if not chosen:
            raise LabelParseError(*steps[-1].why)
        functional = self.functional or _functional(document)
        frames = Frames.concat([_frame(step) for step in chosen])
        parent = _frame(steps[0]).frame_id[0]
        frames = frames.with_origin(
            functional=functional,
            task_uuid=task_uuid,
            step=[s.number for s in chosen],
            parent=[parent if i != parent else None for i in frames.frame_id],
        )
        computed = {
            **describe_calculation(document),
            "folder": document.dir_name,
            "task_uuid": task_uuid,
            "n_steps": len(steps),
            "n_kept": len(chosen),
        }
        shared = {"functional": functional, "campaign_id": self.campaign_id, "stage": STAGE}
        return list(successful_documents(frames, shared, dict.fromkeys(frames.frame_id, computed)))

    def _failure(
        self, task: Mapping[str, Any], task_uuid: str, reason: str, detail: str
    ) -> LabelDoc:
        return LabelDoc(
            frame_id=f"{TASK}{task_uuid}",
            functional=self.functional or str(task.get("run_type") or "unknown"),
            state="failed",
            campaign_id=self.campaign_id,
            stage=STAGE,
            task_uuid=task_uuid,
            formula_pretty=task.get("formula_pretty"),
            reason=reason,
            detail=detail[:1000],
        )


def _is_task() -> dict[str, Any]:
    """Return a filter for emmet's documents, by themselves or as the output of a job."""
    of_a_job = {f"output.{name}": value for name, value in TASK_DOC.items()}
    return {"$or": [of_a_job, {"calcs_reversed": {"$exists": True}}]}


def _replaces(document: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    return document["state"] == "successful" or before.get("state") != "successful"


def _frame(step: Step) -> Frames:
    labels = Labels([step.energy], step.forces, step.stress[None])
    return Frames.from_structures(step.structure).with_labels(labels)


def _functional(document: Any) -> str:
    found = document.run_type or document.calcs_reversed[0].run_type
    if found is None:
        raise LabelParseError("unknown functional", "no run type; give `functional`")
    name = str(getattr(found, "value", found))
    return OUR_NAMES.get(name, name)


def _without_blobs(document: Any) -> Any:
    """Return a document without references to what lies elsewhere; no label needs these."""
    if isinstance(document, dict):
        if "blob_uuid" in document:
            return None
        return {name: _without_blobs(value) for name, value in document.items()}
    return [_without_blobs(v) for v in document] if isinstance(document, list) else document
