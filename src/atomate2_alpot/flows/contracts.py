"""What a stage's Maker must offer to be a step of `ActiveLearningMaker`."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from jobflow import Flow, Job, OutputReference

from atomate2_alpot.schemas import CommitteeDoc, Frames, Shard


class Proposer(Protocol):
    """Makes the pool of candidates and says which part of it an iteration looks at."""

    name: str
    elements: list[str]

    def make(self) -> Job:
        """Make the job whose output is a ``CandidateSource``."""
        ...

    def shards(self, pool: OutputReference, iteration: int) -> list[Shard]:
        """Return the ranges that iteration (from 1) screens; disjoint between iterations."""
        ...

    def test_shard(self, pool: OutputReference) -> Shard:
        """Return a range that screening never reaches: the fixed test set."""
        ...


class Selector(Protocol):
    """Chooses what to label."""

    name: str

    def make(
        self,
        shards: list[Shard],
        committee: OutputReference,
        training: list[OutputReference],
        exclude: list[OutputReference],
        iteration: int,
        budget: int,
    ) -> Flow:
        """Make the flow whose output is a ``SelectionDoc`` of at most ``budget`` frames.

        ``training`` holds the frames labelled so far, ``exclude`` the test set; neither may be
        selected, and only the former may be learned from.
        """
        ...

    def check(self, committee: CommitteeDoc, with_training: bool) -> None:
        """Raise ``ValueError`` if iteration 1 would lack what the settings need.

        Its committee is given, and whether frames are labelled before it, besides the test set.
        """
        ...

    def hold_out(self, shard: Shard, committee: OutputReference) -> Flow:
        """Make the flow whose output is a ``SelectionDoc`` of the fixed test set."""
        ...


@runtime_checkable
class RangeSelector(Selector, Protocol):
    """A selector whose screening can be cut into workflows: what campaign mode asks for."""

    chunk_size: int

    def reference(self, committee: OutputReference, training: list[OutputReference]) -> Job | None:
        """Make the job whose output's ``table`` candidates are graded by, if they are graded."""
        ...

    def screen(
        self,
        shard: Shard,
        committee: OutputReference,
        iteration: int,
        active: OutputReference | None = None,
    ) -> list[Job]:
        """Make the jobs that screen a range; their outputs are ``ScreenedRange``."""
        ...

    def choose(
        self,
        screens: list[OutputReference],
        committee: OutputReference,
        training: list[OutputReference],
        exclude: list[OutputReference],
        iteration: int,
        budget: int,
    ) -> Job:
        """Make the job whose output is a ``SelectionDoc``, from all screened ranges in order."""
        ...


class Labeller(Protocol):
    """Labels frames."""

    name: str
    functional: str
    surrogate: str | None
    min_label_fraction: float

    def make(self, frames: Frames | OutputReference, iteration: int = 0) -> Flow:
        """Make the flow whose output is a ``LabelBatchDoc``."""
        ...


class Trainer(Protocol):
    """Fits a committee."""

    name: str

    def make(self, dataset: list[OutputReference], iteration: int, previous: Any = None) -> Flow:
        """Make the flow whose output is a ``TrainingDoc``."""
        ...


class Assessor(Protocol):
    """Measures a committee on the fixed test set."""

    name: str

    def make(self, committee: OutputReference, test_frames: OutputReference, iteration: int) -> Job:
        """Make the job whose output is an ``AssessmentDoc``."""
        ...
