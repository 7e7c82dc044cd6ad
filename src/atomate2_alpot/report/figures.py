"""The figures of the report, each as one inline SVG."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atomate2_alpot.report.canvas import (
    COLOURS,
    DASHES,
    GREY,
    INK,
    panels,
    say,
    styled,
    to_svg,
    whole_numbers,
)
from atomate2_alpot.report.gather import ReportData
from atomate2_alpot.schemas import COMPARED, AssessmentDoc
from atomate2_alpot.units import METRICS

QUANTITIES: tuple[str, ...] = ("energy", "forces", "stress")
TITLES: dict[str, str] = {"energy": "energy", "forces": "force", "stress": "stress"}
MAX_POINTS: int = 4000
"""Points a scatter draws; more only make the page slow."""

MAX_MAPS: int = 3
BELOW: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.18)}
"""Where a legend covers no data."""


@styled()
def learning_curve(data: ReportData) -> str:
    """Draw errors on the fixed test set against the number of labels, and what zero skill is."""
    figure, axes = panels(3)
    docs = [d for d in data.iterations if d.metrics]
    for axis, name in zip(axes[0], QUANTITIES, strict=True):
        for kind, style, colour in (("mae", "-o", COLOURS[0]), ("rmse", "--s", COLOURS[1])):
            metric = METRICS[f"{name}_{kind}"]
            found = [d for d in docs if metric.key in d.metrics]
            x = [d.counts["dataset"] for d in found]
            y = [d.metrics[metric.key] * metric.scale for d in found]
            axis.plot(x, y, style, color=colour, label=f"{kind.upper()}, committee mean")
        metric = METRICS[f"{name}_mae"]
        points = [
            (d.counts["dataset"], m[metric.key] * metric.scale)
            for d in docs
            for m in d.member_metrics
            if metric.key in m
        ]
        axis.plot(*np.array(points).reshape(-1, 2).T, ".", color=GREY, label="MAE, one member")
        if metric.key in data.baselines:
            value = data.baselines[metric.key] * metric.scale
            axis.axhline(value, color=INK, linestyle=":", label="MAE without a model")
        axis.set(xlabel="frames to train on", ylabel=metric.shown_unit)
        axis.set_title(f"{TITLES[name]} error")
        axis.margins(x=0.12, y=0.12)
        axis.set_ylim(0, 1.06 * axis.get_ylim()[1])
        axis.xaxis.set_major_locator(whole_numbers())
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return to_svg(figure, "learning")


@styled()
def parity(assessment: AssessmentDoc) -> str:
    """Draw prediction against label, and whether the spread of the members knows the error."""
    figure, axes = panels(3, 2, 2.9)
    table = assessment.parity
    quantity, spread = table.column("quantity"), table.column("spread")
    reference, predicted = table.column("reference"), table.column("predicted")
    for column, name, colour in zip(axes.T, QUANTITIES, COLOURS, strict=False):
        metric = METRICS[f"{name}_mae"]
        rows = np.flatnonzero(quantity == name)
        if not len(rows):
            say(column, "no labels", TITLES[name])
            continue
        error = (predicted - reference) * metric.scale
        title = f"{TITLES[name]}: n = {len(rows)}, MAE {np.abs(error[rows]).mean():.1f}"
        rows = rows[:: max(1, len(rows) // MAX_POINTS)]
        x, y = reference[rows], predicted[rows]
        ends = [min(x.min(), y.min()), max(x.max(), y.max())]
        column[0].plot(ends, ends, color=GREY, linewidth=1)
        dots: dict[str, Any] = {"color": colour, "alpha": 0.5, "markersize": 4, "mew": 0}
        column[0].plot(x, y, "o", rasterized=True, **dots)
        across = spread[rows] * metric.scale
        column[1].plot(across, np.abs(error[rows]), "o", rasterized=True, **dots)
        column[0].set(xlabel=f"label / {metric.unit}", ylabel=f"committee mean / {metric.unit}")
        column[0].set_title(f"{title} {metric.shown_unit}")
        _spread_against_error(column[1], across, metric.shown_unit)
    return to_svg(figure, f"parity{assessment.iteration}")


def _spread_against_error(axis: Any, spread: NDArray, unit: str) -> None:
    """Finish a panel of |error| against spread with the line where they are equal."""
    positive = spread[spread > 0]
    if len(positive):
        ends = np.quantile(positive, [0.01, 1.0])
        axis.plot(ends, ends, color=INK, linestyle=":", linewidth=1.2)
    axis.set(xlabel=f"spread of the members / {unit}", ylabel=f"|error| / {unit}")
    axis.set_xlim(left=0)
    axis.set_ylim(bottom=0)


@styled()
def disagreement(data: ReportData) -> str:
    """Draw the distribution of what was compared with a threshold, and the threshold."""
    given = dict.fromkeys(n for d in data.selections for n in d.thresholds if n in COMPARED)
    names = list(given or QUANTITIES)
    height, rows = 3.2 + 0.15 * len(data.selections), -(-len(names) // len(QUANTITIES))
    figure, axes = panels(min(len(names), len(QUANTITIES)), rows, height)
    for axis in axes.flat[len(names) :]:
        axis.axis("off")
    for axis, name in zip(axes.flat, names, strict=False):
        metric = METRICS[COMPARED[name]]
        for doc, colour, dash in zip(data.selections, cycle(COLOURS), cycle(DASHES), strict=False):
            values = doc.scores.column(COMPARED[name]) / doc.scores.column("threshold_factor")
            values = values[np.isfinite(values) & (values > 0)] * metric.scale
            if not len(values) or (given and name not in doc.thresholds):
                continue
            low, high = np.quantile(values, [0.002, 0.998])
            bins = np.geomspace(low, max(high, 1.01 * low), 40)
            label = f"iteration {doc.iteration}"
            if name in doc.thresholds:
                above = (values > doc.thresholds[name] * metric.scale).mean()
                label += f": {100 * above:.0f} % above"
            axis.hist(values, bins, histtype="step", color=colour, linestyle=dash, label=label)
        lines = dict.fromkeys(d.thresholds[name] for d in data.selections if name in d.thresholds)
        for line in lines:
            shown = line * metric.scale
            axis.axvline(shown, color=INK, linestyle=":", label=f"threshold {shown:g}")
        axis.set(xscale="log", xlabel=metric.shown_unit, ylabel="candidates", title=metric.label)
        axis.yaxis.set_major_locator(whole_numbers())
        axis.legend(**BELOW)
    return to_svg(figure, "disagreement")


@styled()
def selection_map(data: ReportData) -> str:
    """Draw pool, selected and labelled frames in two principal components, per iteration."""
    shown = [s for s in data.selections if len(s.map)][-MAX_MAPS:]
    figure, axes = panels(len(shown), 1, 3.4)
    failed = {f["frame_id"] for f in data.failures}
    for axis, doc in zip(axes[0], shown, strict=True):
        ids, chosen = doc.map.column("frame_id"), doc.map.column("kind") == "selected"
        done = np.array([i in data.labelled for i in ids], dtype=bool) & chosen
        bad = np.array([i in failed for i in ids], dtype=bool) & chosen & ~done
        x, y = doc.map.column("pc1"), doc.map.column("pc2")
        pool = np.flatnonzero(~chosen)
        pool = pool[:: max(1, len(pool) // MAX_POINTS)]
        groups = (
            ("passed, not chosen", pool, "#B9C0C7", ".", 12),
            ("chosen, no label yet", np.flatnonzero(chosen & ~done & ~bad), COLOURS[4], "D", 14),
            ("chosen and labelled", np.flatnonzero(done), COLOURS[0], "o", 14),
            ("chosen, label failed", np.flatnonzero(bad), COLOURS[1], "x", 26),
        )
        for label, rows, colour, marker, size in groups:
            if len(rows):
                style: dict[str, Any] = {"color": colour, "marker": marker, "rasterized": True}
                axis.scatter(x[rows], y[rows], s=size, label=f"{label} ({len(rows)})", **style)
        axis.set(xlabel="PC 1", ylabel="PC 2", title=f"iteration {doc.iteration}")
        axis.legend(**BELOW)
    return to_svg(figure, "map")


@styled()
def loss_curves(data: ReportData) -> str:
    """Draw the validation errors of each member while it trained, last iteration."""
    figure, axes = panels(3)
    members = data.trainings[-1].members
    for axis, name in zip(axes[0], QUANTITIES, strict=True):
        metric = METRICS[f"{name}_mae"]
        for member, colour, dash in zip(members, cycle(COLOURS), cycle(DASHES), strict=False):
            values = member.epochs.column(metric.key) * metric.scale
            if np.isfinite(values).any():
                label = f"member {member.member}"
                epochs = member.epochs.column("epoch")
                axis.plot(epochs, values, color=colour, linestyle=dash, label=label)
        if not axis.lines:
            say([axis], "not recorded", TITLES[name])
            continue
        axis.set(yscale="log", xlabel="epoch", ylabel=metric.shown_unit)
        axis.xaxis.set_major_locator(whole_numbers())
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("{x:g}")
        axis.tick_params(axis="y", which="both", labelsize=8)
        axis.set_title(f"{TITLES[name]}, validation MAE")
        axis.legend()
    return to_svg(figure, "loss")
