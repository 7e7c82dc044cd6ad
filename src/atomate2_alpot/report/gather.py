"""What the report shows, read from the stores of a run, however far it got."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Protocol

from jobflow import JobStore
from monty.json import MontyDecoder
from pydantic import BaseModel

from atomate2_alpot.report.baselines import trivial_errors
from atomate2_alpot.schemas import (
    AssessmentDoc,
    IterationDoc,
    SelectionDoc,
    TrainingDoc,
)

FIRST = "first"
"""What label documents call the attempt before any retry."""


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
    n_asked : int
        Frames that a label was asked for; of one calculation several may become labels.
    label_seconds : dict of int to float
        Compute time of the labels of each iteration, failed ones included; 0 is before the loop.
    labelled : set of str
        ``frame_id`` of every labelled frame, and of the frame it was relaxed from.
    functional : str, optional
        Reference method of the labels.
    engines : dict of str to int
        Successful labels by the program that computed them, and the retry where one was needed.
    surrogate : str, optional
        Model whose predictions are called labels, if one stands in for DFT.
    baselines : dict of str to float
        Errors on the test set of predictions that need no model (see `trivial_errors`).
    config : dict
        Settings of the run, as its config file spells them.
    """

    iterations: list[IterationDoc] = field(default_factory=list)
    selections: list[SelectionDoc] = field(default_factory=list)
    trainings: list[TrainingDoc] = field(default_factory=list)
    assessments: list[AssessmentDoc] = field(default_factory=list)
    element_counts: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    n_labels: dict[str, int] = field(default_factory=dict)
    n_asked: int = 0
    label_seconds: dict[int, float] = field(default_factory=dict)
    labelled: set[str] = field(default_factory=set)
    functional: str | None = None
    engines: dict[str, int] = field(default_factory=dict)
    surrogate: str | None = None
    baselines: dict[str, float] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


def gather_report_data(
    jobs: JobStore,
    labels: LabelSource,
    campaign_id: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> ReportData:
    """Read what a campaign has produced so far.

    Parameters
    ----------
    jobs : JobStore
        Connected.
    labels : LabelStore
    campaign_id : str, optional
        Of one campaign only; needed where several share a database.
    config : mapping, optional
        Settings of the run, to be shown.
    """
    data = ReportData(
        iterations=_outputs(jobs, "record iteration", IterationDoc, campaign_id),
        selections=_outputs(jobs, "select", SelectionDoc, campaign_id),
        trainings=_outputs(jobs, "collect committee", TrainingDoc, campaign_id),
        assessments=_outputs(jobs, "assess", AssessmentDoc, campaign_id),
        config=config or {},
    )
    _read_labels(data, labels, campaign_id)
    return data


def _read_labels(data: ReportData, labels: LabelSource, campaign_id: str | None) -> None:
    """Count the label documents into ``data``; none is kept but the failed ones."""
    elements: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    engines: Counter[str] = Counter()
    seconds: defaultdict[int, float] = defaultdict(float)
    asked: set[str] = set()
    energies: list[tuple[str, float, bool]] = []
    for document in labels.documents({"campaign_id": campaign_id} if campaign_id else None):
        counts[f"{document.get('stage')} {document['state']}"] += 1
        data.surrogate = data.surrogate or document.get("surrogate")
        data.functional = data.functional or document.get("functional")
        calculation = document.get("calculation") or {}
        own = calculation.get("frame_id") or document["frame_id"]
        if own not in asked:  # the steps of one calculation share its record
            asked.add(own)
            seconds[document.get("iteration") or 0] += calculation.get("seconds") or 0.0
        if document["state"] == "failed":
            data.failures.append(document)
            continue
        engines[_engine(calculation)] += 1
        held_out = document.get("stage") == "test"
        if not _is_isolated_atom(document):
            energies.append((document["formula_pretty"], document["energy_per_atom"], held_out))
        data.labelled |= {document["frame_id"], document.get("parent") or document["frame_id"]}
        if not held_out:
            elements.update(document["elements"])
    data.element_counts, data.n_labels = dict(elements), dict(counts)
    data.engines = {name: n for name, n in engines.most_common() if name}
    data.n_asked, data.label_seconds = len(asked), dict(seconds)
    parity = data.assessments[-1].parity if data.assessments else None
    data.baselines = trivial_errors(energies, parity)


def _is_isolated_atom(document: Mapping[str, Any]) -> bool:
    """Tell whether a label is an E0, which a fit to energies of solids must not see."""
    structure = document.get("structure") or {}
    periodic = structure.get("lattice", {}).get("pbc", (True, True, True))
    return document.get("nsites") == 1 and not any(periodic)


def _engine(calculation: Mapping[str, Any]) -> str:
    """Name the program that computed a label, and the retry if the first attempt failed."""
    name = " ".join(str(w) for w in (calculation.get("engine"), calculation.get("version")) if w)
    attempt = calculation.get("attempt")
    return f"{name}, retry {attempt!r}" if name and attempt not in (None, FIRST) else name


def _outputs(
    jobs: JobStore, name: str, kind: type[BaseModel], campaign_id: str | None
) -> list[Any]:
    decode = MontyDecoder().process_decoded
    wanted = {"name": name, **({"metadata.campaign_id": campaign_id} if campaign_id else {})}
    outputs = [decode(d["output"]) for d in jobs.query(wanted, ["output"], load=True)]
    documents = [kind.model_validate(o) for o in outputs if o is not None]
    return sorted(documents, key=attrgetter("iteration"))
