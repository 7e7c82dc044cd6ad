"""Training one member of a committee and describing the result."""

from __future__ import annotations

import logging
from pathlib import Path
from time import perf_counter
from typing import Literal

from pydantic import Field

from atomate2_alpot.potentials import Committee, load_predictor
from atomate2_alpot.potentials.references import references_from_labels
from atomate2_alpot.schemas import (
    Artifact,
    CommitteeDoc,
    Document,
    Frames,
    MemberTrainingDoc,
    PotentialSpec,
    SplitTable,
    TrainingDoc,
)
from atomate2_alpot.train.calibrate import CalibrationSettings, calibrate
from atomate2_alpot.train.e0 import resolve_e0s
from atomate2_alpot.train.run import TrainingRun, fitter_for
from atomate2_alpot.train.settings import TrainerSettings
from atomate2_alpot.train.splits import CALIBRATE, Fractions, assign_splits, split_frames
from atomate2_alpot.uncertainty.errors import error_metrics

logger = logging.getLogger(__name__)

StartFrom = Literal["previous"] | PotentialSpec | None


class SplitDoc(Document):
    """The whole dataset and the set of each frame for each member."""

    frames: Frames
    splits: SplitTable


class SplitPlan(Document):
    """How the dataset is dealt out."""

    n_members: int
    fractions: Fractions
    held_out: float = Field(0.0, description="Fraction that no member sees.")
    seed: int


class MemberPlan(Document):
    """How one member is trained."""

    member: int
    iteration: int
    seed: int
    settings: TrainerSettings
    e0s: dict[str, float] | None = Field(None, description="eV by symbol; None = from the data.")
    start_from: StartFrom = Field(
        None, description="Weights to fine-tune; previous = this member's of the iteration before."
    )
    functional: str | None = None


def split_dataset(datasets: list[Frames], plan: SplitPlan, previous: SplitTable | None) -> SplitDoc:
    """Merge datasets (first of each ``frame_id``; labelled frames only) and split them."""
    frames = Frames.concat(datasets).unique()
    frames = frames[frames.is_labelled]
    splits = assign_splits(frames, **dict(plan), previous=previous)
    return SplitDoc(frames=frames, splits=splits)


def train_member(
    data: SplitDoc, plan: MemberPlan, previous: TrainingDoc | None, folder: Path
) -> MemberTrainingDoc:
    """Train one member in a folder.

    Parameters
    ----------
    data : SplitDoc
    plan : MemberPlan
    previous : TrainingDoc or None
        Where ``start_from="previous"`` takes its weights; from scratch if there is none.
    folder : Path
        Each run gets a folder of its own in it, which the same run takes up again after a kill:
        engines that run jobs in one shared folder must not mix two runs' checkpoints.

    Raises
    ------
    TrainingError
        If the trainer fails.
    """
    begin = perf_counter()
    sets = split_frames(data.frames, data.splits, plan.member)
    name, start = f"member-{plan.member}", _start_spec(plan, previous)
    kind = plan.settings.kind
    fitter = fitter_for(kind)
    start_from, own = (None, {}) if start is None else fitter.starting_point(start)
    e0s, source = resolve_e0s(data.frames, plan.e0s)
    if kept := {e: v for e, v in own.items() if e not in e0s}:  # elements that only the start knows
        source += f"; {', '.join(kept)} of {start.label}"  # type: ignore[union-attr]
    run = TrainingRun(
        train=sets["train"],
        valid=sets["valid"],
        settings=plan.settings,
        e0s={**e0s, **kept},
        seed=plan.seed,
        name=name,
        start_from=start_from,
    )
    logger.info("training %s of iteration %d on %d frames", name, plan.iteration, len(run.train))
    model, epochs = fitter.fit(run, folder / f"{name}-{run.fingerprint()}")
    artifact = Artifact.from_file(model)
    spec = PotentialSpec(backend=kind, artifact=artifact, functional=plan.functional)
    test = sets["test"]
    metrics = error_metrics(test, load_predictor(spec).predict(test)) if len(test) else {}
    return MemberTrainingDoc(
        member=plan.member,
        seed=plan.seed,
        trainer=kind,
        settings=plan.settings.model_dump(),
        n_train=len(run.train),
        n_valid=len(run.valid),
        n_test=len(test),
        e0s=run.e0s,
        e0_source=source,
        epochs=epochs,
        metrics=metrics,
        spec=spec,
        seconds=perf_counter() - begin,
        started_from=None if start is None else start.label,
    )


def collect_committee(
    data: SplitDoc,
    members: list[MemberTrainingDoc],
    iteration: int,
    calibration: CalibrationSettings | None,
) -> TrainingDoc:
    """Join trained members into a committee, on the energy scale of the labels.

    It is calibrated on the frames that no member has seen, if settings are given for that.
    """
    references = references_from_labels(data.frames)
    committee = CommitteeDoc(
        members=[m.spec for m in members],
        references=[references] * len(members),
        reference_source="labels",
    )
    if calibration is not None:
        unseen = split_frames(data.frames, data.splits, 0)[CALIBRATE]
        fitted = calibrate(Committee.from_doc(committee), unseen, calibration)
        committee = committee.model_copy(update={"calibrations": fitted})
    return TrainingDoc(
        iteration=iteration,
        committee=committee,
        members=members,
        splits=data.splits,
    )


def _start_spec(plan: MemberPlan, previous: TrainingDoc | None) -> PotentialSpec | None:
    if plan.start_from == "previous":
        return None if previous is None else previous.committee.members[plan.member]
    return plan.start_from
