"""Shipped for users' own tests: a toy potential and contract checks of predictors."""

from __future__ import annotations

from atomate2_alpot.testing.checks import check_predictor, numerical_forces, numerical_stress
from atomate2_alpot.testing.toy import ToyPotential

__all__ = ["ToyPotential", "check_predictor", "numerical_forces", "numerical_stress"]
