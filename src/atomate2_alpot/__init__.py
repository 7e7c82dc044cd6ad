"""Active learning of machine-learning interatomic potentials with jobflow and atomate2."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import Any

__version__ = version("atomate2-alpot")

_PUBLIC = {
    "ActiveLearningMaker": "flows",
    "CandidateSpace": "structures",
    "Committee": "potentials",
    "Frames": "schemas",
    "LabelMaker": "label",
    "MPAloeMaker": "flows",
    "PotentialSpec": "schemas",
}

__all__ = [
    "ActiveLearningMaker",
    "CandidateSpace",
    "Committee",
    "Frames",
    "LabelMaker",
    "MPAloeMaker",
    "PotentialSpec",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Load public names on first use, so that the import itself stays fast."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
