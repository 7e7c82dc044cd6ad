"""The calibration of a trained committee, fitted on frames that no member has seen."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field

from atomate2_alpot.potentials import Committee
from atomate2_alpot.schemas import CommitteePrediction, Frames, Settings
from atomate2_alpot.uncertainty.calibration import CALIBRATIONS, MIN_POINTS
from atomate2_alpot.uncertainty.committee_errors import Points, component_points, frame_points

logger = logging.getLogger(__name__)

POINTS: dict[str, Callable[[Frames, CommitteePrediction], dict[str, Points]]] = {
    "linear": frame_points,
    "power_law": component_points,
}
"""Kind of calibration -> what its paper fits it to.

A line through the origin needs errors of frames: fitted to single components, whose |error| is
scattered around σ, it is off by sqrt(π/2) even where spread and error are proportional.
"""


class CalibrationSettings(Settings):
    """How a committee learns what its spread is worth."""

    fraction: float = Field(
        0.1, gt=0, lt=1, description="Of all labelled frames, held out from every member."
    )
    kind: Literal["power_law", "linear"] = Field(
        "power_law",
        description="power_law: CAGO's, of components; linear: TrainsPot's, through the origin, of "
        "frames.",
    )
    min_points: int = Field(
        MIN_POINTS,
        ge=2,
        description="A property with fewer held-out values (power_law) or frames (linear) is not "
        "calibrated.",
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
        Documents of calibrations by property; a property that cannot be calibrated, or whose
        estimated error would fall where the spread grows, is left out, and the log says why.
    """
    if not len(frames):
        logger.warning("no frame is held out from every member: the committee is not calibrated")
        return {}
    fitted = {}
    for name, points in POINTS[settings.kind](frames, committee.predict(frames)).items():
        try:
            made = CALIBRATIONS[settings.kind].fit(points.spread, points.error, settings.min_points)
            made.invert(0.0)  # refuses a law by which the error falls where the spread grows
        except ValueError as error:
            logger.warning("%s of the committee is not calibrated: %s", name, error)
        else:
            fitted[name] = made.as_dict()
    return fitted
