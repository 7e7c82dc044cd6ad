"""What the report shows, read from the stores of a run, however far it got."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Protocol

from jobflow import JobStore
from monty.json import MontyDecoder
from pydantic import BaseModel

from atomate2_alpot.schemas import (
    AssessmentDoc,
    IterationDoc,
    SelectionDoc,
    TrainingDoc,
)


class LabelSource(Protocol):
    """Where label documents come from (`dataset.LabelStore`)."""

    def documents(self, criteria: dict[str, Any] | None = None, limit: int = 0) -> Any:
        """Yield documents."""
        ...


@dataclass
class ReportData:
    """Everything the page is made of; parts that are not there yet are empty.

    Parameters
    ----------
    iterations : list of IterationDoc
    selections : list of SelectionDoc
    trainings : list of TrainingDoc
    assessments : list of AssessmentDoc
        Each in the order of iterations.
    element_counts : dict of str to int
        Labelled frames that hold each element, test set not counted.
    failures : list of dict
        Label documents of failed frames.
    n_labels : dict of str to int
        Label documents by stage and state.
    """

    iterations: list[IterationDoc] = field(default_factory=list)
    selections: list[SelectionDoc] = field(default_factory=list)
    trainings: list[TrainingDoc] = field(default_factory=list)
    assessments: list[AssessmentDoc] = field(default_factory=list)
    element_counts: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    n_labels: dict[str, int] = field(default_factory=dict)


def gather_report_data(jobs: JobStore, labels: LabelSource) -> ReportData:
    """Read what a campaign has produced so far.

    Parameters
    ----------
    jobs : JobStore
        Connected.
    labels : LabelStore
    """
    elements: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    failures = []
    for document in labels.documents():
        counts[f"{document.get('stage')} {document['state']}"] += 1
        if document["state"] == "failed":
            failures.append(document)
        elif document.get("stage") != "test":
            elements.update(document["elements"])
    return ReportData(
        iterations=_outputs(jobs, "record iteration", IterationDoc),
        selections=_outputs(jobs, "select", SelectionDoc),
        trainings=_outputs(jobs, "collect committee", TrainingDoc),
        assessments=_outputs(jobs, "assess", AssessmentDoc),
        element_counts=dict(elements),
        failures=failures,
        n_labels=dict(counts),
    )


def _outputs(jobs: JobStore, name: str, kind: type[BaseModel]) -> list[Any]:
    decode = MontyDecoder().process_decoded
    outputs = [decode(d["output"]) for d in jobs.query({"name": name}, ["output"], load=True)]
    documents = [kind.model_validate(o) for o in outputs if o is not None]
    return sorted(documents, key=attrgetter("iteration"))
