"""Settings of any trainer, told apart by ``kind``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from atomate2_alpot.train.ace_settings import AceSettings
from atomate2_alpot.train.mace_settings import MaceSettings
from atomate2_alpot.train.mtp_settings import MtpSettings


def _default_kind(given: Any) -> Any:
    return {"kind": "mace", **given} if isinstance(given, dict) else given


TrainerSettings = Annotated[
    AceSettings | MaceSettings | MtpSettings,
    Field(discriminator="kind"),
    BeforeValidator(_default_kind),
]
"""Settings of one of the trainers in ``train.run.FITTERS``; where no kind is named, MACE's."""
