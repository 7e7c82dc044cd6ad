"""`CommitteeSelector`: screening fans out, selection gathers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from jobflow import Flow, Job, Maker, OutputReference

from atomate2_alpot.schemas import CommitteeDoc, Shard
from atomate2_alpot.select.criteria import QueryByCommittee
from atomate2_alpot.select.jobs import gather_screens, screen, select
from atomate2_alpot.select.samplers import DirectSampler, RandomSampler

GATHER_SIZE: int = 100
"""Screened ranges per gather, when there are more."""


@dataclass
class CommitteeSelector(Maker):
    """Query by committee over a range of candidates, then a sampler.

    Parameters
    ----------
    name : str
        Name of the flow.
    criterion : QueryByCommittee
        What counts as disagreement.
    sampler : DirectSampler or RandomSampler
        What is labelled of the candidates that pass.
    chunk_size : int
        Candidates per screening job.
    seed : int
        Seed of the sampler; the iteration is added to it.
    """

    name: str = "select"
    criterion: QueryByCommittee = field(default_factory=QueryByCommittee)
    sampler: DirectSampler | RandomSampler = field(default_factory=DirectSampler)
    chunk_size: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.chunk_size < 1:
            raise ValueError(f"CommitteeSelector.chunk_size={self.chunk_size}: give at least 1")

    def make(
        self,
        shards: list[Shard],
        committee: CommitteeDoc | OutputReference,
        exclude: list[Any],
        iteration: int,
        budget: int,
    ) -> Flow:
        """Make the flow; its output is a ``SelectionDoc``.

        Parameters
        ----------
        shards : list of Shard
            Ranges of candidates to screen.
        committee : CommitteeDoc or reference to one
        exclude : list of Frames or references
            Frames that must not be selected.
        iteration : int
        budget : int
            Most frames to select.
        """
        screens = [made for s in shards for made in self.screen(s, committee, iteration)]
        gathered, jobs = screens, list(screens)
        while len(gathered) > GATHER_SIZE:
            gathered = [
                gather_screens([j.output for j in gathered[i : i + GATHER_SIZE]])
                for i in range(0, len(gathered), GATHER_SIZE)
            ]
            jobs += gathered
        pick = self.choose([j.output for j in gathered], exclude, iteration, budget)
        return Flow([*jobs, pick], output=pick.output, name=self.name)

    def screen(
        self, shard: Shard, committee: CommitteeDoc | OutputReference, iteration: int
    ) -> list[Job]:
        """Make the jobs that screen a range, ``chunk_size`` candidates each."""
        starts = range(shard["start"], shard["stop"], self.chunk_size)
        return [self._screen(shard, start, committee, iteration) for start in starts]

    def choose(self, screens: list[Any], exclude: list[Any], iteration: int, budget: int) -> Job:
        """Make the job that chooses from screened ranges; its output is a ``SelectionDoc``.

        Parameters
        ----------
        screens : list of references to ScreenedRange
            In the order of the candidates.
        exclude, iteration, budget
            See :meth:`make`.
        """
        choice = {"iteration": iteration, "budget": budget, "seed": self.seed + iteration}
        pick = select(screens, self.criterion, self.sampler, exclude, choice)
        pick.name = "select"
        return pick

    def hold_out(self, shard: Shard, committee: CommitteeDoc | OutputReference) -> Flow:
        """Make the flow that keeps a shard's physical candidates, agreed on or not.

        What the criterion would reject as unphysical is never labelled in the loop either, so
        errors on it would say nothing of what the committee is for.

        Parameters
        ----------
        shard : Shard
            Screening must never reach it.
        committee : CommitteeDoc or reference to one

        Returns
        -------
        Flow
            Its output is a ``SelectionDoc`` of iteration 0.
        """
        every = self.criterion.model_copy(update=dict.fromkeys(self.criterion.thresholds, 1e-12))
        keep = dataclasses.replace(self, criterion=every, sampler=RandomSampler())
        return keep.make([shard], committee, [], 0, shard["stop"] - shard["start"])

    def _screen(self, shard: Shard, start: int, committee: Any, iteration: int) -> Job:
        stop = min(start + self.chunk_size, shard["stop"])
        made = screen(shard["source"], start, stop, iteration, committee, self.criterion)
        made.name = "screen"
        return made
