"""What all figures of the report share: style, colours, and becoming inline SVG."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

COLOURS: tuple[str, ...] = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's, which colour-blind readers can tell apart."""

DASHES: tuple[str, ...] = ("-", "--", "-.", ":")
"""What tells lines apart without colour."""

GREY, INK = "#7A858F", "#1c2733"
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "alpot",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw under :data:`STYLE`, which nothing else in the process sees; also a decorator."""
    from matplotlib import rc_context

    with rc_context(STYLE):
        yield


def panels(columns: int, rows: int = 1, height: float = 3.0) -> tuple[Any, NDArray]:
    """Return a figure and its axes, shape (rows, columns)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * columns, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def whole_numbers() -> Any:
    """Return a locator whose ticks are whole numbers, for counts."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=5, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1)


def to_svg(figure: Any, name: str) -> str:
    """Return a figure as SVG markup; ``name`` keeps its ids apart from those of other figures."""
    sink = io.StringIO()
    figure.savefig(sink, format="svg", metadata={"Date": None}, dpi=150, bbox_inches="tight")
    text = sink.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.S)
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)


def say(axes: Iterable[Any], text: str, title: str) -> None:
    """Fill panels that have nothing to show with a word about it."""
    for axis in axes:
        axis.axis("off")
        axis.text(0.5, 0.5, text, ha="center", va="center", transform=axis.transAxes, color=GREY)
        axis.set_title(title)
