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
    frame_points,
    mean_errors,
    member_errors,
)
from atomate2_alpot.uncertainty.diagnostics import (
    Reliability,
    Sparsification,
    ThresholdMaps,
    ZStatistics,
    rates_along,
    reliability,
    sparsification,
    spearman,
    threshold_maps,
    z_statistics,
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
from atomate2_alpot.uncertainty.groups import ActiveSets
from atomate2_alpot.uncertainty.local import LocalActiveSet
from atomate2_alpot.uncertainty.rows import FeatureError
from atomate2_alpot.uncertainty.sequential import Chosen, select_sequentially
from atomate2_alpot.uncertainty.thresholds import (
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
    "ActiveSets",
    "Calibration",
    "CalibrationError",
    "Chosen",
    "ComponentSpread",
    "Disagreement",
    "ElementActiveSets",
    "FeatureError",
    "Grades",
    "LinearCalibration",
    "LocalActiveSet",
    "MeanErrors",
    "Points",
    "PowerLawCalibration",
    "Reliability",
    "Sparsification",
    "ThresholdMaps",
    "ZStatistics",
    "atom_disagreement",
    "atom_factors",
    "calibrated_threshold",
    "calibration_from_dict",
    "component_disagreement",
    "component_points",
    "component_spread",
    "element_factors",
    "frame_points",
    "iqr_threshold",
    "keep_ordinary_forces",
    "max_disagreement",
    "mean_errors",
    "member_errors",
    "pairwise_disagreement",
    "quantile_threshold",
    "rates_along",
    "reliability",
    "select_sequentially",
    "sparsification",
    "spearman",
    "std_disagreement",
    "threshold_maps",
    "unbiased_disagreement",
    "z_statistics",
]
