"""Running flows: embedded and resumable (`alpot run`), or on engines (`engines`, `advance`)."""

from __future__ import annotations

from atomate2_alpot.campaign.embedded import Hooks, RunInProgressError, RunSummary, run_embedded
from atomate2_alpot.campaign.history import History, retry_failed
from atomate2_alpot.campaign.loop import reopen_loop

__all__ = [
    "History",
    "Hooks",
    "RunInProgressError",
    "RunSummary",
    "reopen_loop",
    "retry_failed",
    "run_embedded",
]
