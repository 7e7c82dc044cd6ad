"""Settings of any trainer, told apart by ``kind``."""

from __future__ import annotations

from atomate2_alpot.train.mace_settings import MaceSettings

TrainerSettings = MaceSettings
"""Settings of one of the trainers in ``train.run.FITTERS``."""
