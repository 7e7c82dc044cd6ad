"""Task documents of engines: what they computed, in our units, and how.

Below the stages: labelling reads the documents of its own jobs, the dataset those of others.
"""

from __future__ import annotations

from atomate2_alpot.taskdocs.describe import describe_calculation
from atomate2_alpot.taskdocs.steps import (
    LabelParseError,
    Step,
    check_vasp,
    is_vasp,
    read_steps,
)

__all__ = [
    "LabelParseError",
    "Step",
    "check_vasp",
    "describe_calculation",
    "is_vasp",
    "read_steps",
]
