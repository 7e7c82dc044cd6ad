"""Base classes of documents and settings: unknown keys are errors everywhere."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """Base of the documents that stages hand on."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


class Settings(BaseModel):
    """Base of the typed settings that Makers hold as fields and config files spell out.

    One class serves both, so a default stands in one place and a config key that is misspelt
    is an error. Instances are immutable: use ``model_copy(update=...)``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
