"""How much a committee disagrees: functions of predictions, with no model in them."""

from __future__ import annotations

from atomate2_alpot.uncertainty.disagreement import (
    DISAGREEMENTS,
    Disagreement,
    pairwise_disagreement,
    std_disagreement,
)

__all__ = ["DISAGREEMENTS", "Disagreement", "pairwise_disagreement", "std_disagreement"]
