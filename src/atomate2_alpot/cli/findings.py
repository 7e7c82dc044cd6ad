"""What `alpot doctor` finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, how it is, what was found or must be done."""

    what: str
    state: State
    words: str
