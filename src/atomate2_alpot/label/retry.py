"""Trying a failed label once more, with a change that has a name."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from atomate2_alpot.schemas import Settings

FIRST: str = "first"
"""Name of the attempt before any retry."""


class Retry(Settings):
    """A second attempt with changed settings; its name is stored with the label it gives."""

    name: str = Field(
        pattern=r"^\w[\w .-]*$",
        description="Stored as `attempt` with the label; letters, digits, blanks, dots, dashes.",
    )
    reasons: list[str] = Field(
        default_factory=list,
        description="Reasons of failure to retry, for example 'not converged'; empty = any.",
    )
    incar: dict[str, Any] = Field(
        default_factory=dict, description="INCAR settings to change in every VASP Maker."
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="Fields of the Maker to change."
    )

    @field_validator("name")
    @classmethod
    def _not_the_first(cls, name: str) -> str:
        if name == FIRST:
            raise ValueError(f"name {name!r} is that of the attempt before any retry")
        return name

    def applies_to(self, reason: str) -> bool:
        """Tell whether a failure for this reason is tried again."""
        return not self.reasons or reason in self.reasons
