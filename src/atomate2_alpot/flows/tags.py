"""Metadata that say what a job belongs to, and the same as tags, as engines list them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jobflow import Flow, Job

TAGGED: tuple[str, ...] = ("campaign_id", "iteration", "stage", "batch")
"""Keys of the metadata of jobs and workflows."""


def tags_of(metadata: Mapping[str, Any]) -> list[str]:
    """Return one tag ``key:value`` for each of :data:`TAGGED` that metadata have."""
    return [f"{name}:{metadata[name]}" for name in TAGGED if name in metadata]


def tag(jobs: Iterable[Job | Flow], campaign_id: str, iteration: int, stage: str) -> None:
    """Write metadata to jobs and to whatever they grow into."""
    for item in jobs:
        item.update_metadata(_metadata(campaign_id, iteration, stage), dynamic=True)


def tag_chain(item: Job, campaign_id: str, iteration: int) -> None:
    """Write metadata to a job that makes the next stage, whose jobs have their own."""
    item.update_metadata(_metadata(campaign_id, iteration, "loop"), dynamic=False)


def _metadata(campaign_id: str, iteration: int, stage: str) -> dict[str, Any]:
    metadata = {"campaign_id": campaign_id, "iteration": iteration, "stage": stage}
    return {**metadata, "tags": tags_of(metadata)}
