"""The report: one HTML page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from atomate2_alpot.report import figures
from atomate2_alpot.report.elements import element_map
from atomate2_alpot.report.gather import ReportData
from atomate2_alpot.schemas import IterationDoc
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
        caption="Errors on the fixed test set, which never enters training. The dotted line is "
        "what needs no model: one energy per element fitted to the training labels, zero forces, "
        "zero stress.",
        draw=figures.learning_curve,
        needs=lambda d: [i for i in d.iterations if i.metrics],
    ),
    Section(
        anchor="parity",
        title="Parity on the fixed test set",
        caption="Top: committee mean of the last iteration against the labels, with every frame's "
        "energy per atom, every force and every stress component. Most of an energy is "
        "composition, so read its error, not the line. Bottom: error against the spread of the "
        "members; above the dotted line the committee is overconfident.",
        draw=lambda d: figures.parity(d.assessments[-1]),
        needs=lambda d: d.assessments,
    ),
    Section(
        anchor="disagreement",
        title="Disagreement of the committee",
        caption="Every screened candidate that could be evaluated: what its criterion compares, "
        "divided by the factors of its size and elements. Right of the dotted line a criterion is "
        "met; unphysical candidates are rejected all the same.",
        draw=figures.disagreement,
        needs=lambda d: d.selections,
    ),
    Section(
        anchor="map",
        title="What was chosen of what passed",
        caption="First two weighted principal components of the descriptor that the sampler saw; "
        "each iteration has its own.",
        draw=figures.selection_map,
        needs=lambda d: [s for s in d.selections if len(s.map)],
    ),
    Section(
        anchor="elements",
        title="Elements in the training data",
        caption="Labelled frames that hold each element; the test set is not counted.",
        draw=element_map,
        needs=lambda d: d.element_counts,
    ),
    Section(
        anchor="training",
        title="Training of the last committee",
        caption="Errors on each member's own validation set while it trained.",
        draw=figures.loss_curves,
        needs=lambda d: [t for t in d.trainings[-1:] if any(len(m.epochs) for m in t.members)],
    ),
)

STAGES: tuple[str, ...] = ("screen", "select", "label", "train", "assess")
"""In the order in which they run."""

MAX_DETAIL: int = 400
"""Characters of an engine's words that the page shows."""

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
    # an iteration that selected nothing has neither labels nor errors: look further back
    labelled = [d for d in data.iterations if d.counts["labelled"]]
    measured = [d for d in data.iterations if d.metrics]
    timings = {d.iteration: _timings(d, data) for d in data.iterations}
    return template.render(
        last=data.iterations[-1] if data.iterations else None,
        functional=labelled[-1].functional if labelled else data.functional,
        surrogate=data.surrogate or next((d.surrogate for d in labelled if d.surrogate), None),
        correlation=measured[-1].spread_correlation if measured else {},
        calibration=measured[-1].calibration if measured else {},
        iterations=data.iterations,
        counts=COUNTS,
        metrics=[METRICS[f"{q}_{k}"] for q in figures.QUANTITIES for k in ("mae", "rmse")],
        baselines=data.baselines,
        stages=[s for s in STAGES if any(s in t for t in timings.values())],
        timings=timings,
        seconds_before=data.label_seconds.get(0),
        sections=[_drawn(section, data) for section in SECTIONS],
        earlier=[(a.iteration, figures.parity(a)) for a in data.assessments[:-1]],
        failures=_failures(data),
        n_labels=data.n_labels,
        n_asked=data.n_asked,
        engines=data.engines,
        members=[m for t in data.trainings[-1:] for m in t.members],
        config=_as_yaml(data.config),
    )


def _drawn(section: Section, data: ReportData) -> dict[str, str]:
    return {
        "id": section.anchor,
        "title": section.title,
        "caption": section.caption,
        "svg": section.draw(data) if section.needs(data) else "",
    }


def _timings(doc: IterationDoc, data: ReportData) -> dict[str, float]:
    """Return seconds by stage; those of labels are in their documents."""
    label = data.label_seconds.get(doc.iteration)
    return {**doc.timings, **({"label": label} if label else {})}


def _failures(data: ReportData) -> list[dict[str, Any]]:
    """Count failures by reason, with an example of each that has something to say."""
    groups: dict[str, dict[str, Any]] = {}
    for failure in data.failures:
        reason = failure["reason"]
        group = groups.setdefault(reason, {"reason": reason, "count": 0, "example": failure})
        group["count"] += 1
        if not group["example"].get("detail"):
            group["example"] = failure
    for group in groups.values():
        detail = group["example"].get("detail") or ""
        group["detail"] = detail if len(detail) <= MAX_DETAIL else f"{detail[:MAX_DETAIL]}…"
        group["folder"] = (group["example"].get("calculation") or {}).get("folder")
    return sorted(groups.values(), key=lambda g: (-g["count"], g["reason"]))


def _as_yaml(config: Any) -> str:
    import yaml

    return yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True) if config else ""
