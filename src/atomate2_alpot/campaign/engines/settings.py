"""Which engine, and where its database is."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from atomate2_alpot.schemas import Settings


class EngineSettings(Settings):
    """The workflow engine of a config; credentials stay in the engine's own files."""

    name: Literal["fireworks", "jobflow-remote"] | None = Field(
        None, description="fireworks or jobflow-remote; `alpot submit --engine` goes before it."
    )
    launchpad: Path | None = Field(
        None, description="FireWorks: LaunchPad file; null = the one that `lpad` finds."
    )
    project: str | None = Field(
        None, description="jobflow-remote: name of the project; null = the one that `jf` takes."
    )
    worker: str | None = Field(
        None,
        description="jobflow-remote: worker of jobs without a route; null = the project's first.",
    )
