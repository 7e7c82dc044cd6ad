"""Samplers made of samplers, and the registry of all of them."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from atomate2_alpot.schemas import Frames, Settings
from atomate2_alpot.select.kinds import by_kind
from atomate2_alpot.select.known import NOTHING_KNOWN, Known
from atomate2_alpot.select.samplers import (
    DirectSampler,
    RandomSampler,
    Sample,
    Sampler,
    TopSampler,
)
from atomate2_alpot.select.sequential import SequentialSampler


class _Composed(Settings):
    """What samplers made of samplers share."""

    samplers: list[AnySampler] = Field(min_length=2)

    @property
    def needs_training(self) -> bool:
        """Whether one of them measures from labelled frames."""
        return any(s.needs_training for s in self.samplers)

    @property
    def needs_scores(self) -> bool:
        """Whether one of them ranks by what the criterion found."""
        return any(s.needs_scores for s in self.samplers)


class ChainSampler(_Composed):
    """Each sampler narrows what the one before it chose; the last one meets the budget."""

    kind: Literal["chain"] = "chain"
    samplers: list[AnySampler] = Field(min_length=2, description="In the order they are applied.")
    oversample: float = Field(
        5.0, gt=1, description="A sampler chooses so many times what the next one is asked for."
    )

    def sample(
        self, frames: Frames, budget: int, seed: int, known: Known = NOTHING_KNOWN
    ) -> Sample:
        """Choose frames; the map is that of the first sampler."""
        kept, first, infos = np.arange(len(frames)), None, []
        for k, sampler in enumerate(self.samplers):
            if not len(kept):
                break
            share = round(budget * self.oversample ** (len(self.samplers) - 1 - k))
            sample = sampler.sample(frames.take(kept), share, seed, known)
            first = first or sample
            kept = kept[sample.indices]
            infos.append({**sample.info, "n_chosen": len(kept)})
        return _joined(self, first, kept, infos)


class SplitSampler(_Composed):
    """Each sampler takes its share of the budget from what the ones before it left.

    What one does not use of its share is added to the next one's.
    """

    kind: Literal["split"] = "split"
    samplers: list[AnySampler] = Field(min_length=2, description="In the order they choose.")
    shares: list[float] = Field(description="Part of the budget of each; they sum to 1.")

    @model_validator(mode="after")
    def _one_share_each(self) -> Self:
        if len(self.shares) != len(self.samplers):
            raise ValueError(f"{len(self.shares)} shares for {len(self.samplers)} samplers")
        if min(self.shares) <= 0 or abs(sum(self.shares) - 1) > 1e-9:
            raise ValueError(f"shares {self.shares}: give positive numbers that sum to 1")
        return self

    def sample(
        self, frames: Frames, budget: int, seed: int, known: Known = NOTHING_KNOWN
    ) -> Sample:
        """Choose frames; the map is that of the first sampler."""
        left, first, infos = np.arange(len(frames)), None, []
        chosen = np.zeros(0, np.int64)
        due = np.round(np.cumsum(self.shares) * budget).astype(int)
        for sampler, until in zip(self.samplers, due, strict=True):
            share = int(until) - len(chosen)
            if share < 1 or not len(left):
                infos.append({**sampler.model_dump(mode="json"), "n_chosen": 0})
                continue
            sample = sampler.sample(frames.take(left), share, seed, known)
            first = first or sample
            chosen = np.concatenate([chosen, left[sample.indices]])
            left = np.delete(left, sample.indices)
            infos.append({**sample.info, "n_chosen": len(sample.indices)})
        return _joined(self, first, np.sort(chosen), infos)


def _joined(
    sampler: ChainSampler | SplitSampler, first: Sample | None, indices: Any, infos: list[Any]
) -> Sample:
    assert first is not None  # a sampler asked for nothing chooses nothing
    settings = sampler.model_dump(mode="json", exclude={"samplers"})
    return dataclasses.replace(first, indices=indices, info={**settings, "samplers": infos})


SAMPLERS: dict[str, type[Sampler]] = {
    "chain": ChainSampler,
    "direct": DirectSampler,
    "random": RandomSampler,
    "sequential": SequentialSampler,
    "split": SplitSampler,
    "top_n": TopSampler,
}
"""``kind`` in a config file -> class."""

AnySampler = Annotated[
    Annotated[
        DirectSampler
        | RandomSampler
        | TopSampler
        | SequentialSampler
        | ChainSampler
        | SplitSampler,
        Field(discriminator="kind"),
    ],
    BeforeValidator(by_kind(SAMPLERS, "direct")),
]
"""A sampler as a field of settings; ``kind`` tells which."""

ChainSampler.model_rebuild()
SplitSampler.model_rebuild()
