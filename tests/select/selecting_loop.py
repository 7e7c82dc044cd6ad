"""A loop in one process whose trained committees carry calibrations."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from fakes import FakeTrainer, fake_train, small_loop
from jobflow import Flow, job
from parts import LAWS

from atomate2_alpot.flows import ActiveLearningMaker
from atomate2_alpot.schemas import BLOBS, TrainingDoc


@dataclass
class CalibratingTrainer(FakeTrainer):
    """Two toys, with calibrations that somebody wrote down."""

    def make(self, dataset, iteration, previous=None) -> Flow:
        train = calibrated(dataset, iteration, previous)
        train.name = "collect committee"
        return Flow([train], output=train.output, name=self.name)


@job(data=BLOBS, output_schema=TrainingDoc)
def calibrated(dataset, iteration, previous):
    doc = fake_train.original(dataset, iteration, previous, agree=False)
    laws = {name: law.as_dict() for name, law in LAWS.items()}
    committee = doc.committee.model_copy(update={"calibrations": laws})
    return doc.model_copy(update={"committee": committee})


def selecting_loop(criterion, sampler, **loop) -> ActiveLearningMaker:
    maker = small_loop(**{"max_iterations": 1, **loop})
    selector = dataclasses.replace(maker.selector, criterion=criterion, sampler=sampler)
    return dataclasses.replace(maker, selector=selector, trainer=CalibratingTrainer())
