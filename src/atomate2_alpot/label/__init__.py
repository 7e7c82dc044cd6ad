"""Stage 3, label: atomate2 Makers in, labelled frames out, failures recorded."""

from __future__ import annotations

from atomate2_alpot.label import presets
from atomate2_alpot.label.limits import LabelLimits
from atomate2_alpot.label.makers import LabelMaker
from atomate2_alpot.label.policy import LabelFractionError, check_label_fraction
from atomate2_alpot.label.retry import Retry

__all__ = [
    "LabelFractionError",
    "LabelLimits",
    "LabelMaker",
    "Retry",
    "check_label_fraction",
    "presets",
]
