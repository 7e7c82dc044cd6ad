"""`CommitteeSelector`: screening fans out, selection gathers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from jobflow import Flow, Job, Maker, OutputReference

from atomate2_alpot.schemas import ActiveSetTable, CommitteeDoc, Shard
from atomate2_alpot.select.criteria import QueryByCommittee
from atomate2_alpot.select.criterion import AllPhysical, Criterion
from atomate2_alpot.select.jobs import active_sets, gather_screens, screen, select
from atomate2_alpot.select.samplers import DirectSampler, RandomSampler, Sampler

GATHER_SIZE: int = 100
"""Screened ranges per gather, when there are more."""


@dataclass
class CommitteeSelector(Maker):
    """A criterion on a range of candidates, then a sampler of what passes.

    Parameters
    ----------
    name : str
        Name of the flow.
    criterion : Criterion
        Who passes: a kind of :data:`~atomate2_alpot.select.grade.CRITERIA`.
    sampler : Sampler
        What is labelled of those: a kind of :data:`~atomate2_alpot.select.compose.SAMPLERS`.
    chunk_size : int
        Candidates per screening job.
    seed : int
        Seed of the sampler; the iteration is added to it.

    Raises
    ------
    ValueError
        If the chunk size is not positive, or the sampler ranks by scores that the criterion does
        not give.
    """

    name: str = "select"
    criterion: Criterion = field(default_factory=QueryByCommittee)
    sampler: Sampler = field(default_factory=DirectSampler)
    chunk_size: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.chunk_size < 1:
            raise ValueError(f"CommitteeSelector.chunk_size={self.chunk_size}: give at least 1")
        if self.sampler.needs_scores and not self.criterion.gives_scores:
            raise ValueError(
                f"select.sampler: top_n ranks by what the criterion compares, and "
                f"{type(self.criterion).__name__} compares nothing; choose another sampler, or a "
                "criterion with a threshold"
            )

    def check(self, committee: CommitteeDoc, with_training: bool) -> None:
        """Raise ``ValueError`` if iteration 1 would lack what the settings need.

        Parameters
        ----------
        committee : CommitteeDoc
            That screens in iteration 1.
        with_training : bool
            Whether frames are labelled before it, besides the test set.
        """
        criterion = self.criterion.used(committee)
        for part, what in ((criterion, "criterion"), (self.sampler, "sampler")):
            if part.needs_training and not with_training:
                raise ValueError(
                    f"select.{what}: {type(part).__name__} measures from labelled frames, and "
                    "there are none before iteration 1; set loop.label_crystals: true, or choose "
                    f"another {what}"
                )

    def make(
        self,
        shards: list[Shard],
        committee: CommitteeDoc | OutputReference,
        training: list[Any],
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
        training : list of Frames or references
            Frames labelled so far: never selected again, and what extrapolation is measured from.
        exclude : list of Frames or references
            Other frames that must not be selected: the test set.
        iteration : int
        budget : int
            Most frames to select.

        Raises
        ------
        ValueError
            If the budget is 0.
        """
        if budget < 1:
            raise ValueError(f"budget={budget}: a selection of nothing; give at least 1")
        reference = self.reference(committee, training)
        active = reference.output.table if reference is not None else None
        screens = [made for s in shards for made in self.screen(s, committee, iteration, active)]
        gathered, jobs = screens, [*([reference] if reference is not None else []), *screens]
        while len(gathered) > GATHER_SIZE:
            gathered = [
                gather_screens([j.output for j in gathered[i : i + GATHER_SIZE]])
                for i in range(0, len(gathered), GATHER_SIZE)
            ]
            jobs += gathered
        outputs = [j.output for j in gathered]
        pick = self.choose(outputs, committee, training, exclude, iteration, budget)
        return Flow([*jobs, pick], output=pick.output, name=self.name)

    def reference(
        self, committee: CommitteeDoc | OutputReference, training: list[Any]
    ) -> Job | None:
        """Make the job whose output's ``table`` candidates are graded by, if they are graded."""
        if not self.criterion.needs_training:
            return None
        made = active_sets(self.criterion, committee, training)
        made.name = "screen: active sets"
        return made

    def screen(
        self,
        shard: Shard,
        committee: CommitteeDoc | OutputReference,
        iteration: int,
        active: ActiveSetTable | OutputReference | None = None,
    ) -> list[Job]:
        """Make the jobs that screen a range, ``chunk_size`` candidates each.

        Parameters
        ----------
        shard : Shard
        committee : CommitteeDoc or reference to one
        iteration : int
        active : ActiveSetTable or reference to one
            Of the job that :meth:`reference` makes, where it makes one.
        """
        starts = range(shard["start"], shard["stop"], self.chunk_size)
        jobs = []
        for start in starts:
            stop = min(start + self.chunk_size, shard["stop"])
            given = shard["source"], start, stop, iteration, self.criterion, committee, active
            jobs.append(screen(*given))
            jobs[-1].name = "screen"
        return jobs

    def choose(
        self,
        screens: list[Any],
        committee: CommitteeDoc | OutputReference,
        training: list[Any],
        exclude: list[Any],
        iteration: int,
        budget: int,
    ) -> Job:
        """Make the job that chooses from screened ranges; its output is a ``SelectionDoc``.

        Parameters
        ----------
        screens : list of references to ScreenedRange
            In the order of the candidates.
        committee, training, exclude, iteration, budget
            See :meth:`make`.
        """
        choice = {"iteration": iteration, "budget": budget, "seed": self.seed + iteration}
        settings = self.criterion, self.sampler
        pick = select(screens, *settings, committee, training, exclude, choice)
        pick.name = "select"
        return pick

    def hold_out(self, shard: Shard, committee: CommitteeDoc | OutputReference) -> Flow:
        """Make the flow that keeps a shard's physical candidates.

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
        every = AllPhysical(**self.criterion.limits)
        keep = dataclasses.replace(self, criterion=every, sampler=RandomSampler())
        n = shard["stop"] - shard["start"]
        screens = keep.screen(shard, committee, 0)
        pick = keep.choose([j.output for j in screens], committee, [], [], 0, n)
        return Flow([*screens, pick], output=pick.output, name=self.name)
