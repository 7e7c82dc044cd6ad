"""Shipped for users' own tests: a toy potential, a VASP stand-in, contract checks of predictors."""

from __future__ import annotations

from atomate2_alpot.testing.checks import check_predictor, numerical_forces, numerical_stress
from atomate2_alpot.testing.stand_in import FAULTS, fault_of, vasp_stand_in
from atomate2_alpot.testing.toy import ToyPotential

__all__ = [
    "FAULTS",
    "ToyPotential",
    "check_predictor",
    "fault_of",
    "numerical_forces",
    "numerical_stress",
    "vasp_stand_in",
]
