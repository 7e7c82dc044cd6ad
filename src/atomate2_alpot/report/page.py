"""The report: one HTML page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from atomate2_alpot.report import figures
from atomate2_alpot.report.gather import ReportData
from atomate2_alpot.units import METRICS


@dataclass(frozen=True)
class Section:
    """One figure of the page.

    Parameters
    ----------
    anchor, title, caption : str
    draw : callable
        Makes its SVG.
    needs : callable
        Empty when there is nothing to draw yet.
    """

    anchor: str
    title: str
    caption: str
    draw: Callable[[ReportData], str]
    needs: Callable[[ReportData], list[Any] | dict[str, Any]]


SECTIONS: tuple[Section, ...] = (
    Section(
        anchor="learning",
        title="Learning curve",
        caption="Errors on the fixed test set, which never enters training. Grey dots are single "
        "members, lines the committee mean.",
        draw=figures.learning_curve,
        needs=lambda d: [i for i in d.iterations if i.metrics],
    ),
    Section(
        anchor="parity",
        title="Parity on the fixed test set",
        caption="Committee mean of the last iteration against the labels: energy per frame, every "
        "force component, every stress component.",
        draw=figures.parity,
        needs=lambda d: d.assessments,
    ),
    Section(
        anchor="disagreement",
        title="Disagreement of the committee",
        caption="Every screened candidate, divided by the factors of its size and elements. Right "
        "of the dotted line a criterion selects.",
        draw=figures.disagreement,
        needs=lambda d: d.selections,
    ),
    Section(
        anchor="map",
        title="What was chosen of what passed",
        caption="First two weighted principal components of the descriptor that DIRECT clustered.",
        draw=figures.selection_map,
        needs=lambda d: [s for s in d.selections if len(s.map)],
    ),
    Section(
        anchor="elements",
        title="Elements in the training data",
        caption="Labelled frames that hold each element; the test set is not counted.",
        draw=figures.element_map,
        needs=lambda d: d.element_counts,
    ),
    Section(
        anchor="training",
        title="Training of the last committee",
        caption="Errors on each member's own validation set.",
        draw=figures.loss_curves,
        needs=lambda d: [t for t in d.trainings if any(len(m.epochs) for m in t.members)],
    ),
)

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
        {
            "id": section.anchor,
            "title": section.title,
            "caption": section.caption,
            "svg": section.draw(data) if section.needs(data) else "",
        }
        for section in SECTIONS
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
