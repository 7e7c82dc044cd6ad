"""How far a prediction can be trusted: functions of predictions, with no model in them."""

from __future__ import annotations

from atomate2_alpot.uncertainty.calibration import (
    CALIBRATIONS,
    Calibration,
    CalibrationError,
    LinearCalibration,
    PowerLawCalibration,
    calibration_from_dict,
)
from atomate2_alpot.uncertainty.committee_errors import (
    MeanErrors,
    Points,
    component_points,
    mean_errors,
    member_errors,
)
from atomate2_alpot.uncertainty.disagreement import (
    ATOM_FORMS,
    DISAGREEMENTS,
    ComponentSpread,
    Disagreement,
    atom_disagreement,
    component_disagreement,
    component_spread,
    max_disagreement,
    pairwise_disagreement,
    std_disagreement,
    unbiased_disagreement,
)

__all__ = [
    "ATOM_FORMS",
    "CALIBRATIONS",
    "DISAGREEMENTS",
    "Calibration",
    "CalibrationError",
    "ComponentSpread",
    "Disagreement",
    "LinearCalibration",
    "MeanErrors",
    "Points",
    "PowerLawCalibration",
    "atom_disagreement",
    "calibration_from_dict",
    "component_disagreement",
    "component_points",
    "component_spread",
    "max_disagreement",
    "mean_errors",
    "member_errors",
    "pairwise_disagreement",
    "std_disagreement",
    "unbiased_disagreement",
]
