"""The figures of the report, each as one inline SVG."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atomate2_alpot.report.gather import ReportData
from atomate2_alpot.units import METRICS

COLOURS: tuple[str, ...] = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's, which colour-blind readers can tell apart."""

QUANTITIES: tuple[str, ...] = ("energy", "forces", "stress")
MAX_POINTS: int = 4000
"""Points a scatter draws; more only make the page slow."""


def _figure(columns: int, height: float = 3.1) -> tuple[Any, NDArray]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * columns, height), layout="constrained")
    return figure, np.atleast_1d(figure.subplots(1, columns))


def _svg(figure: Any) -> str:
    """Return a figure as SVG markup without the XML header."""
    from matplotlib import rc_context

    sink = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "alpot"}):
        figure.savefig(sink, format="svg", metadata={"Date": None})
    text = sink.getvalue()
    return text[text.index("<svg") :]


def learning_curve(data: ReportData) -> str:
    """Draw errors on the fixed test set against the number of labels."""
    figure, axes = _figure(3)
    labels = [d.counts["dataset"] for d in data.iterations if d.metrics]
    for axis, name in zip(axes, QUANTITIES, strict=True):
        for kind, style in (("mae", "-o"), ("rmse", "--s")):
            metric = METRICS[f"{name}_{kind}"]
            values = [d.metrics[metric.key] * metric.scale for d in data.iterations if d.metrics]
            colour = COLOURS[0 if kind == "mae" else 1]
            axis.plot(labels, values, style, color=colour, label=kind.upper())
        for doc in data.iterations:
            members = [m[f"{name}_mae"] * METRICS[f"{name}_mae"].scale for m in doc.member_metrics]
            axis.plot([doc.counts["dataset"]] * len(members), members, ".", color="#999999")
        axis.set(xlabel="labelled frames", ylabel=f"{name} error [{metric.shown_unit}]")
        axis.set_ylim(bottom=0)
        axis.legend(frameon=False, fontsize=8)
    return _svg(figure)


def parity(data: ReportData) -> str:
    """Draw prediction against label on the fixed test set, last iteration."""
    figure, axes = _figure(3, 3.4)
    table = data.assessments[-1].parity
    quantity = table.column("quantity")
    units = {"energy": "eV/atom", "forces": "eV/Å", "stress": "eV/Å³"}
    for axis, name, colour in zip(axes, QUANTITIES, COLOURS, strict=False):
        rows = np.flatnonzero(quantity == name)
        rows = rows[:: max(1, len(rows) // MAX_POINTS)]
        x, y = table.column("reference")[rows], table.column("predicted")[rows]
        axis.plot(x, y, ".", markersize=3, color=colour, alpha=0.5, rasterized=True)
        if len(rows):
            low, high = min(x.min(), y.min()), max(x.max(), y.max())
            axis.plot([low, high], [low, high], color="#555555", linewidth=0.8)
        axis.set(xlabel=f"label [{units[name]}]", ylabel="committee mean", title=name)
    return _svg(figure)


def disagreement(data: ReportData) -> str:
    """Draw the distribution of each criterion over the screened candidates, with its threshold."""
    figure, axes = _figure(3)
    for axis, name in zip(axes, QUANTITIES, strict=True):
        metric = METRICS[f"{name}_spread"]
        for doc, colour in zip(data.selections, COLOURS * 10, strict=False):
            spread = doc.scores.column(f"{name}_spread") / doc.scores.column("threshold_factor")
            spread = spread[np.isfinite(spread) & (spread > 0)] * metric.scale
            if len(spread):
                low, high = np.quantile(spread, [0.002, 0.998])
                bins = np.geomspace(low, max(high, 1.01 * low), 40)
                label = f"iteration {doc.iteration}"
                axis.hist(spread, bins, histtype="step", color=colour, label=label)
        if data.selections:
            threshold = data.selections[-1].thresholds[name] * metric.scale
            axis.axvline(threshold, color="#333333", linestyle=":", label="threshold")
        axis.set(xscale="log", xlabel=f"{metric.label} / factor [{metric.shown_unit}]")
        axis.set_ylabel("candidates")
    axes[0].legend(frameon=False, fontsize=7)
    return _svg(figure)


def selection_map(data: ReportData) -> str:
    """Draw pool, selected and labelled frames in two principal components, per iteration."""
    shown = data.selections[-3:]
    figure, axes = _figure(len(shown), 3.3)
    failed = {f["frame_id"] for f in data.failures}
    for axis, doc in zip(axes, shown, strict=True):
        table = doc.map
        chosen = table.column("kind") == "selected"
        bad = np.array([i in failed for i in table.column("frame_id")], dtype=bool) & chosen
        x, y = table.column("pc1"), table.column("pc2")
        pool = np.flatnonzero(~chosen)
        pool = pool[:: max(1, len(pool) // MAX_POINTS)]
        groups = (
            ("passed, not chosen", pool, "#BBBBBB", 4),
            ("chosen and labelled", chosen & ~bad, COLOURS[0], 10),
            ("chosen, label failed", bad, COLOURS[1], 16),
        )
        for label, rows, colour, size in groups:
            axis.scatter(x[rows], y[rows], s=size, color=colour, label=label, rasterized=True)
        axis.set(xlabel="PC 1", ylabel="PC 2", title=f"iteration {doc.iteration}")
    axes[0].legend(frameon=False, fontsize=7)
    return _svg(figure)


def loss_curves(data: ReportData) -> str:
    """Draw the validation errors of each member while it trained, last iteration."""
    figure, axes = _figure(3)
    members = data.trainings[-1].members
    for axis, name in zip(axes, QUANTITIES, strict=True):
        metric = METRICS[f"{name}_mae"]
        for member, colour in zip(members, COLOURS * 10, strict=False):
            values = member.epochs.column(metric.key) * metric.scale
            axis.plot(member.epochs.column("epoch"), values, color=colour, label=member.member)
        axis.set(yscale="log", xlabel="epoch", ylabel=f"validation MAE [{metric.shown_unit}]")
        axis.set_title(name)
    axes[0].legend(frameon=False, fontsize=7, title="member")
    return _svg(figure)


def element_map(data: ReportData) -> str:
    """Draw the number of labelled frames that hold each element on the periodic table."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
    from pymatgen.core import Element

    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axis = figure.subplots()
    largest = max(data.element_counts.values())
    colours = colormaps["cividis"]
    for z in range(1, 104):
        element = Element.from_Z(z)
        row, column = _cell(element)
        count = data.element_counts.get(element.symbol, 0)
        face = colours(count / largest) if count else "#F4F4F4"
        dark = count and count / largest < 0.55
        text = "white" if dark else "black" if count else "#999999"
        axis.add_patch(Rectangle((column, -row), 0.94, 0.94, facecolor=face, edgecolor="#DDDDDD"))
        axis.text(column + 0.47, -row + 0.58, element.symbol, ha="center", color=text, fontsize=8)
        if count:
            axis.text(column + 0.47, -row + 0.18, str(count), ha="center", color=text, fontsize=6)
    axis.set(xlim=(0.8, 19.2), ylim=(-9.8, 0.2))
    axis.axis("off")
    return _svg(figure)


def _cell(element: Any) -> tuple[float, int]:
    """Return row and column in the periodic table; the f block stands below it."""
    if 57 <= element.Z <= 71:
        return 8.5, element.Z - 54
    if 89 <= element.Z <= 103:
        return 9.5, element.Z - 86
    return element.row, element.group
