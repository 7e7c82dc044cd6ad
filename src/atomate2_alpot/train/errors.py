"""What goes wrong in training."""

from __future__ import annotations


class TrainingError(RuntimeError):
    """Training failed; the message holds the trainer's own words and where its log is."""
