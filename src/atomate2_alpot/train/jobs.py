"""Jobs of the train stage."""

from __future__ import annotations

from pathlib import Path

from jobflow import job

from atomate2_alpot.schemas import (
    BLOBS,
    Frames,
    MemberTrainingDoc,
    TrainingDoc,
)
from atomate2_alpot.train.calibrate import CalibrationSettings
from atomate2_alpot.train.member import (
    MemberPlan,
    SplitDoc,
    SplitPlan,
    collect_committee,
    split_dataset,
    train_member,
)


@job(data=BLOBS, output_schema=SplitDoc)
def split(datasets: list[Frames], plan: SplitPlan, previous: TrainingDoc | None = None) -> SplitDoc:
    """Merge the dataset and split it for every member; see :func:`split_dataset`."""
    kept = None if previous is None else previous.splits
    return split_dataset(datasets, plan, kept)


@job(data=BLOBS, output_schema=MemberTrainingDoc)
def train(data: SplitDoc, plan: MemberPlan, previous: TrainingDoc | None) -> MemberTrainingDoc:
    """Train one member where the job runs; see :func:`train_member`."""
    return train_member(data, plan, previous, Path.cwd() / "training")


@job(data=BLOBS, output_schema=TrainingDoc)
def collect(
    data: SplitDoc,
    members: list[MemberTrainingDoc],
    iteration: int,
    calibration: CalibrationSettings | None,
) -> TrainingDoc:
    """Join and calibrate trained members; see :func:`collect_committee`."""
    return collect_committee(data, members, iteration, calibration)
