"""The report: one HTML page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

from atomate2_alpot.report import figures
from atomate2_alpot.report.gather import ReportData
from atomate2_alpot.units import METRICS

SECTIONS: tuple[
    tuple[str, str, str, Callable[[ReportData], str], Callable[[ReportData], Any]], ...
] = (
    (
        "learning",
        "Learning curve",
        "Errors on the fixed test set, which never enters training. Grey dots are single members, "
        "lines the committee mean.",
        figures.learning_curve,
        lambda d: [i for i in d.iterations if i.metrics],
    ),
    (
        "parity",
        "Parity on the fixed test set",
        "Committee mean of the last iteration against the labels: energy per frame, every force "
        "component, every stress component.",
        figures.parity,
        lambda d: d.assessments,
    ),
    (
        "disagreement",
        "Disagreement of the committee",
        "Every screened candidate, divided by the factors of its size and elements. Right of the "
        "dotted line a criterion selects.",
        figures.disagreement,
        lambda d: d.selections,
    ),
    (
        "map",
        "What was chosen of what passed",
        "First two weighted principal components of the descriptor that DIRECT clustered.",
        figures.selection_map,
        lambda d: [s for s in d.selections if len(s.map)],
    ),
    (
        "elements",
        "Elements in the training data",
        "Labelled frames that hold each element; the test set is not counted.",
        figures.element_map,
        lambda d: d.element_counts,
    ),
    (
        "training",
        "Training of the last committee",
        "Errors on each member's own validation set.",
        figures.loss_curves,
        lambda d: [t for t in d.trainings if any(len(m.epochs) for m in t.members)],
    ),
)
"""Anchor, title, caption, figure, and what it needs."""

COUNTS: tuple[str, ...] = (
    "screened",
    "passed",
    "selected",
    "labelled",
    "failed",
    "dataset",
    "test",
)


def build_report(data: ReportData) -> str:
    """Return the report as one HTML page.

    Parameters
    ----------
    data : ReportData
        Parts that are empty are said to be not available yet.

    Returns
    -------
    str
        HTML with inline style and inline SVG; no script, no external address.
    """
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(
        (files("atomate2_alpot.report") / "template.html").read_text(encoding="utf-8")
    )
    last = data.iterations[-1] if data.iterations else None
    sections = [
        {"id": anchor, "title": title, "caption": caption, "svg": draw(data) if needs(data) else ""}
        for anchor, title, caption, draw, needs in SECTIONS
    ]
    return template.render(
        last=last,
        iterations=data.iterations,
        counts=COUNTS,
        metrics=[METRICS[f"{q}_{k}"] for q in figures.QUANTITIES for k in ("mae", "rmse")],
        sections=sections,
        failures=_failures(data),
        n_labels=data.n_labels,
        members=[m for t in data.trainings[-1:] for m in t.members],
        surrogate=last.surrogate if last else None,
    )


def _failures(data: ReportData) -> list[dict[str, Any]]:
    """Count failures by reason, with an example of each."""
    groups: dict[str, dict[str, Any]] = {}
    for failure in data.failures:
        reason = failure["reason"]
        group = groups.setdefault(reason, {"reason": reason, "count": 0, "example": failure})
        group["count"] += 1
    return sorted(groups.values(), key=lambda g: -g["count"])
