"""The calibration of a trained committee, fitted on frames that no member has seen."""

from __future__ import annotations

import logging
from typing import Any, Literal

from pydantic import Field

from atomate2_alpot.potentials import Committee
from atomate2_alpot.schemas import Frames, Settings
from atomate2_alpot.uncertainty.calibration import CALIBRATIONS, MIN_POINTS, CalibrationError
from atomate2_alpot.uncertainty.committee_errors import component_points

logger = logging.getLogger(__name__)


class CalibrationSettings(Settings):
    """How a committee learns what its spread is worth."""

    fraction: float = Field(
        0.1, gt=0, lt=1, description="Of all labelled frames, held out from every member."
    )
    kind: Literal["power_law", "linear"] = Field(
        "power_law", description="power_law: CAGO's; linear: TrainsPot's, through the origin."
    )
    min_points: int = Field(
        MIN_POINTS, ge=2, description="A property with fewer held-out values is not calibrated."
    )


def calibrate(
    committee: Committee, frames: Frames, settings: CalibrationSettings
) -> dict[str, dict[str, Any]]:
    """Fit a calibration per property to a committee's errors on held-out frames.

    Parameters
    ----------
    committee : Committee
    frames : Frames
        Labelled; in no member's train or valid set.
    settings : CalibrationSettings

    Returns
    -------
    dict
        Documents of calibrations by property; a property that cannot be calibrated is left out,
        and the log says why.
    """
    if not len(frames):
        logger.warning("no frame is held out from every member: the committee is not calibrated")
        return {}
    fitted = {}
    for name, points in component_points(frames, committee.predict(frames)).items():
        try:
            made = CALIBRATIONS[settings.kind].fit(points.spread, points.error, settings.min_points)
        except CalibrationError as error:
            logger.warning("%s of the committee is not calibrated: %s", name, error)
        else:
            fitted[name] = made.as_dict()
    return fitted
