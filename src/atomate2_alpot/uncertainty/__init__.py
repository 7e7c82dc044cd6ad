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
from atomate2_alpot.uncertainty.elements import ElementActiveSets, Grades, keep_ordinary_forces
from atomate2_alpot.uncertainty.extrapolation import ActiveSet
from atomate2_alpot.uncertainty.local import LocalActiveSet
from atomate2_alpot.uncertainty.rows import FeatureError
from atomate2_alpot.uncertainty.thresholds import (
    CalibratedThreshold,
    FixedThreshold,
    IQRThreshold,
    QuantileThreshold,
    Reference,
    Threshold,
    atom_factors,
    calibrated_threshold,
    element_factors,
    iqr_threshold,
    quantile_threshold,
)

__all__ = [
    "ATOM_FORMS",
    "CALIBRATIONS",
    "DISAGREEMENTS",
    "ActiveSet",
    "CalibratedThreshold",
    "Calibration",
    "CalibrationError",
    "ComponentSpread",
    "Disagreement",
    "ElementActiveSets",
    "FeatureError",
    "FixedThreshold",
    "Grades",
    "IQRThreshold",
    "LinearCalibration",
    "LocalActiveSet",
    "MeanErrors",
    "Points",
    "PowerLawCalibration",
    "QuantileThreshold",
    "Reference",
    "Threshold",
    "atom_disagreement",
    "atom_factors",
    "calibrated_threshold",
    "calibration_from_dict",
    "component_disagreement",
    "component_points",
    "component_spread",
    "element_factors",
    "iqr_threshold",
    "keep_ordinary_forces",
    "max_disagreement",
    "mean_errors",
    "member_errors",
    "pairwise_disagreement",
    "quantile_threshold",
    "std_disagreement",
    "unbiased_disagreement",
]
