"""Stage 4, train: splits, atomic energies, and one file per trainer."""

from __future__ import annotations

from atomate2_alpot.train.ace_settings import AceSettings
from atomate2_alpot.train.calibrate import CalibrationSettings
from atomate2_alpot.train.e0 import fit_e0s, resolve_e0s
from atomate2_alpot.train.errors import TrainingError
from atomate2_alpot.train.mace_settings import MaceSettings
from atomate2_alpot.train.makers import CommitteeTrainer
from atomate2_alpot.train.mtp_settings import MtpSettings
from atomate2_alpot.train.splits import assign_splits, split_frames

__all__ = [
    "AceSettings",
    "CalibrationSettings",
    "CommitteeTrainer",
    "MaceSettings",
    "MtpSettings",
    "TrainingError",
    "assign_splits",
    "fit_e0s",
    "resolve_e0s",
    "split_frames",
]
