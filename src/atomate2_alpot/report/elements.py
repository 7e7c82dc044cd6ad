"""The periodic table of what was labelled."""

from __future__ import annotations

from typing import Any

from atomate2_alpot.report.canvas import styled, to_svg
from atomate2_alpot.report.gather import ReportData

LAST: int = 103
BLANK, FAINT = "#F4F6F8", "#7A858F"


@styled()
def element_map(data: ReportData) -> str:
    """Draw the number of labelled frames that hold each element on the periodic table."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgb
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
    from pymatgen.core import Element

    figure = Figure(figsize=(9.6, 5.2), layout="constrained")
    axis = figure.subplots()
    largest = max(data.element_counts.values())
    for element in map(Element.from_Z, range(1, LAST + 1)):
        row, column = _cell(element)
        count = data.element_counts.get(element.symbol, 0)
        # cividis from its dark end: reads the same to colour-blind eyes and in grey print
        face = colormaps["cividis"](0.15 + 0.85 * count / largest) if count else BLANK
        text = _ink(to_rgb(face)) if count else FAINT
        axis.add_patch(Rectangle((column, -row), 0.94, 0.94, facecolor=face))
        middle = column + 0.47
        size: dict[str, Any] = {"ha": "center", "va": "center", "color": text}
        axis.text(middle, -row + (0.62 if count else 0.47), element.symbol, fontsize=10, **size)
        if count:
            axis.text(middle, -row + 0.25, f"{count}", fontsize=8, **size)
    axis.set(xlim=(0.9, 19.1), ylim=(-9.6, 0.05), aspect="equal")
    axis.axis("off")
    return to_svg(figure, "elements")


def _ink(face: tuple[float, float, float]) -> str:
    """Return the text colour that stands out from a background (relative luminance, sRGB)."""
    linear = [((c + 0.055) / 1.055) ** 2.4 for c in face]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if luminance > 0.18 else "white"


def _cell(element: Any) -> tuple[float, int]:
    """Return row and column in the periodic table; the f block stands below it."""
    if 57 <= element.Z <= 71:
        return 8.4, element.Z - 54
    if 89 <= element.Z <= LAST:
        return 9.4, element.Z - 86
    return element.row, element.group
