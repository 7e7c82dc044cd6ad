"""Base classes of documents and settings: unknown keys are errors everywhere."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _nan_for_null(value: Any) -> Any:
    return float("nan") if value is None else value


Number = Annotated[float, BeforeValidator(_nan_for_null)]
"""A float that may be NaN: JSON has none, so jobflow-remote hands on null in its place."""


class Document(BaseModel):
    """Base of the documents that stages hand on."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


class Settings(BaseModel):
    """Base of the typed settings that Makers hold as fields and config files spell out.

    One class serves both, so a default stands in one place and a config key that is misspelt
    is an error. Instances are immutable: use ``model_copy(update=...)``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
