"""Potentials: a recipe -> a batched predictor, and committees of them."""

from __future__ import annotations

from atomate2_alpot.potentials.base import (
    BACKENDS,
    AtomFeaturePredictor,
    FeaturePredictor,
    PotentialError,
    Predictor,
    load_predictor,
)
from atomate2_alpot.potentials.calculator import CommitteeCalculator
from atomate2_alpot.potentials.committee import Committee

__all__ = [
    "BACKENDS",
    "AtomFeaturePredictor",
    "Committee",
    "CommitteeCalculator",
    "FeaturePredictor",
    "PotentialError",
    "Predictor",
    "load_predictor",
]
