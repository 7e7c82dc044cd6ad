"""A trainer that trains nothing, so that the loop's own behaviour can be tested in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from jobflow import Flow, Job, Maker, job

from atomate2_alpot.flows import ActiveLearningMaker, LoopSettings
from atomate2_alpot.label import LabelMaker, presets
from atomate2_alpot.schemas import (
    BLOBS,
    CommitteeDoc,
    EpochTable,
    Frames,
    MemberTrainingDoc,
    PotentialSpec,
    SplitTable,
    TrainingDoc,
)
from atomate2_alpot.select import DirectSampler, QueryByCommittee
from atomate2_alpot.select.makers import CommitteeSelector
from atomate2_alpot.structures.makers import PrototypeProposer
from atomate2_alpot.validate.makers import TestSetAssessor


def toy(seed: int) -> PotentialSpec:
    return PotentialSpec(backend="toy", kwargs={"seed": seed})


@dataclass
class FakeTrainer(Maker):
    """Returns two toy potentials whose seeds depend on the iteration."""

    name: str = "train"
    agree: bool = False

    def make(self, dataset, iteration, previous=None) -> Flow:
        train = fake_train(dataset, iteration, previous, self.agree)
        train.name = "collect committee"
        return Flow([train], output=train.output, name=self.name)


@job(data=BLOBS, output_schema=TrainingDoc)
def fake_train(dataset, iteration, previous, agree):
    frames = Frames.concat(dataset).unique()
    seeds = [7, 7] if agree else [10 * iteration, 10 * iteration + 1]
    members = [
        MemberTrainingDoc(
            member=i,
            seed=s,
            trainer="fake",
            settings={"previous": previous.iteration if previous else None},
            n_train=len(frames),
            n_valid=0,
            n_test=0,
            e0s={},
            e0_source="none",
            epochs=EpochTable.empty(),
            metrics={},
            spec=toy(s),
            seconds=0.0,
        )
        for i, s in enumerate(seeds)
    ]
    specs = [toy(s) for s in seeds]
    references = [dict.fromkeys(frames.elements, 0.0)] * 2
    return TrainingDoc(
        iteration=iteration,
        committee=CommitteeDoc(members=specs, references=references, reference_source="given"),
        members=members,
        splits=SplitTable.empty(),
    )


@dataclass
class Breaks(Maker):
    """Fails for a fraction of structures, chosen by their volume's digits.

    The first ``spare`` calculations, counted in a file, never fail, nor do structures of more than
    ``most`` elements.
    """

    name: str = "breaking static"
    fraction: float = 0.2
    spare: int = 0
    counter: str = ""
    most: int = 9
    inner: Maker = field(default_factory=lambda: presets.toy_surrogate(seed=99).maker)

    def make(self, structure) -> Job | Flow:
        digits = int(structure.volume * 1e6) % 1000
        fails = digits < 1000 * self.fraction and len(structure.composition) <= self.most
        if self.spare:
            with Path(self.counter).open("a+") as stream:
                stream.write("x")
                fails = fails and stream.tell() > self.spare
        return refuse(structure.formula) if fails else self.inner.make(structure)


@job
def refuse(formula):
    raise RuntimeError(f"SCF of {formula} did not converge")


def small_loop(fraction_failing: float = 0.0, agree: bool = False, **loop) -> ActiveLearningMaker:
    """A loop of real stages but for the trainer; toy potentials everywhere."""
    elements = ["Al", "Ni", "O"]
    maker = presets.toy_surrogate(seed=99).maker
    if fraction_failing:
        maker = Breaks(fraction=fraction_failing)
    return ActiveLearningMaker(
        proposer=PrototypeProposer(
            elements=elements, n_atoms=(2, 4), candidates_per_iteration=40, n_test=8, seed=3
        ),
        selector=CommitteeSelector(
            criterion=QueryByCommittee(formation_energy=None, max_force=None, mean_stress=None),
            sampler=DirectSampler(descriptor="composition_rdf"),
            chunk_size=15,
        ),
        labeller=LabelMaker(maker=maker, functional="toy", surrogate=toy(99).label),
        trainer=FakeTrainer(agree=agree),
        assessor=TestSetAssessor(),
        committee=[toy(1), toy(2)],
        loop=LoopSettings(**{"labels_per_iteration": 6, "max_iterations": 2, **loop}),
        campaign_id="test-campaign",
    )
