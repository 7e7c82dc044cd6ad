"""Running flows: the embedded, resumable runner of `alpot run`."""

from __future__ import annotations

from atomate2_alpot.campaign.embedded import RunInProgressError, RunSummary, run_embedded

__all__ = ["RunInProgressError", "RunSummary", "run_embedded"]
