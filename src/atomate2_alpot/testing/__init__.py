"""Shipped for users' own tests: a toy potential, a VASP stand-in, contract checks of predictors."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {
    "FAULTS": "stand_in",
    "ToyPotential": "toy",
    "check_predictor": "checks",
    "fault_of": "stand_in",
    "numerical_forces": "checks",
    "numerical_stress": "checks",
    "vasp_stand_in": "stand_in",
}

__all__ = [
    "FAULTS",
    "ToyPotential",
    "check_predictor",
    "fault_of",
    "numerical_forces",
    "numerical_stress",
    "vasp_stand_in",
]


def __getattr__(name: str) -> Any:
    """Load names on first use: the stand-in is a program that starts once a label."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
