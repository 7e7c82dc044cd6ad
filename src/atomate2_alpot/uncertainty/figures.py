"""One figure per diagnostic; matplotlib is imported when one is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from atomate2_alpot.uncertainty.diagnostics import (
    Reliability,
    Sparsification,
    ThresholdMaps,
    ZStatistics,
    spearman,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from atomate2_alpot.uncertainty.calibration import Calibration

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#7A858F"


def draw_z(statistics: ZStatistics, title: str = "") -> Figure:
    """Draw the histogram of z against the normal density, as in CAGO, Fig. 2a."""
    figure, (axis,) = _canvas(1)
    edges = np.linspace(-5, 5, 61)
    axis.hist(np.clip(statistics.z, -5, 5), edges, density=True, color=BLUE, alpha=0.6)
    axis.plot(edges, np.exp(-(edges**2) / 2) / np.sqrt(2 * np.pi), color=ORANGE, label="N(0, 1)")
    axis.set(xlabel="z = error / σ", ylabel="density", title=title)
    axis.legend(title=f"std {statistics.std:.2f}, mean {statistics.mean:.2f}", frameon=False)
    return figure


def draw_reliability(result: Reliability, unit: str = "", title: str = "") -> Figure:
    """Draw observed against expected shares, and binned errors against σ (CAGO, Fig. 2b)."""
    figure, (left, right) = _canvas(2)
    left.plot([0, 1], [0, 1], color=GREY, linestyle="--")
    left.plot(result.expected, result.observed, "o-", color=BLUE, markersize=3)
    error = f"calibration error {result.calibration_error:.3f}"
    left.set(xlabel="expected share", ylabel="observed share", title=title or error)
    right.loglog(result.bin_sigma, result.bin_error, "o-", color=BLUE, markersize=3)
    ends = [result.bin_sigma.min(), result.bin_sigma.max()]
    right.loglog(ends, ends, color=GREY, linestyle="--")
    right.tick_params(which="minor", labelbottom=False, labelleft=False)
    right.set(xlabel=_axis("RMS of σ", unit), ylabel=_axis("RMS error", unit))
    return figure


def draw_maps(
    maps: ThresholdMaps, calibration: Calibration | None = None, unit: str = ""
) -> Figure:
    """Draw TPR and PPV over both thresholds, with the fitted line (TrainsPot, Fig. 5b)."""
    figure, axes = _canvas(2)
    for axis, name in zip(axes, ("tpr", "ppv"), strict=True):
        values = getattr(maps, name)
        mesh = axis.pcolormesh(
            maps.error, maps.spread, values, vmin=0, vmax=1, shading="nearest", rasterized=True
        )
        figure.colorbar(mesh, ax=axis, label=name.upper())
        if calibration is not None:
            axis.plot(maps.error, calibration.invert(maps.error), color=ORANGE, linestyle="--")
        axis.set(xscale="log", yscale="log", ylim=(maps.spread[0], maps.spread[-1]))
        axis.set(xlabel=_axis("error threshold", unit), ylabel=_axis("spread threshold", unit))
    return figure


def draw_sparsification(result: Sparsification, title: str = "") -> Figure:
    """Draw the error that is left against the share removed, and the oracle's."""
    figure, (axis,) = _canvas(1)
    axis.plot(result.removed, result.error, color=BLUE, label=f"by σ: area {result.area:.3f}")
    label = f"oracle: area {result.area_oracle:.3f}"
    axis.plot(result.removed, result.oracle, color=ORANGE, linestyle="--", label=label)
    axis.axhline(1, color=GREY, linestyle=":", label="at random")
    axis.set(xlabel="share removed", ylabel="RMSE left / RMSE", title=title)
    axis.legend(frameon=False)
    return figure


def draw_correlation(
    spread: ArrayLike, error: ArrayLike, calibration: Calibration | None = None, unit: str = ""
) -> Figure:
    """Draw errors against spreads with Spearman's ρ and the fitted curve."""
    figure, (axis,) = _canvas(1)
    s, e = np.asarray(spread, dtype=float), np.abs(np.asarray(error, dtype=float))
    shown = (s > 0) & (e > 0)
    axis.loglog(s[shown], e[shown], ".", color=BLUE, markersize=2, alpha=0.4, rasterized=True)
    if calibration is not None:
        x = np.geomspace(s[shown].min(), s[shown].max(), 50)
        axis.loglog(x, calibration.apply(x), color=ORANGE, label=f"{calibration.kind} σ")
        axis.legend(frameon=False)
    axis.set(xlabel=_axis("spread", unit), ylabel=_axis("|error|", unit))
    axis.set_title(f"Spearman ρ = {spearman(s, e):.2f}")
    return figure


def _axis(name: str, unit: str) -> str:
    return f"{name} ({unit})" if unit else name


def _canvas(columns: int) -> tuple[Figure, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * columns, 3.4), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])
