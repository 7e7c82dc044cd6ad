"""`CommitteeTrainer`: a committee of models on random splits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jobflow import Flow, Maker

from atomate2_alpot.train.calibrate import CalibrationSettings
from atomate2_alpot.train.jobs import collect, split, train
from atomate2_alpot.train.mace_settings import MaceSettings
from atomate2_alpot.train.member import MemberPlan, SplitPlan, StartFrom
from atomate2_alpot.train.run import CLOSED_FORM
from atomate2_alpot.train.settings import TrainerSettings
from atomate2_alpot.train.splits import Fractions


@dataclass
class CommitteeTrainer(Maker):
    """Train a committee whose members differ by split and seed (MP-ALOE, METHODS.md §1).

    What kind of potential is trained, the settings say.

    Parameters
    ----------
    name : str
        Name of the flow.
    settings : MaceSettings, MtpSettings or AceSettings
        Of every member.
    n_members : int
        Size of the committee.
    fractions : tuple of float
        Of train, valid, test in each member's own random split of what is not held out.
    calibration : CalibrationSettings or None
        Frames that no member sees, and how the committee's spread is calibrated with them; None
        trains on all frames, and the committee carries no calibration.
    seed : int
        Member m of iteration i trains with seed + m, split by (seed, m).
    e0s : dict or None
        Atomic energies in eV by symbol; None takes isolated atoms in the dataset, or fits.
    start_from : None, "previous" or PotentialSpec
        None trains from scratch; "previous" fine-tunes the weights of the iteration before; a
        recipe of a model of this kind (foundation model by name, or a file) fine-tunes that.
    functional : str or None
        Stored with the trained potentials.
    """

    name: str = "train"
    settings: TrainerSettings = field(default_factory=MaceSettings)
    n_members: int = 3
    fractions: Fractions = (0.9, 0.05, 0.05)
    calibration: CalibrationSettings | None = field(default_factory=CalibrationSettings)
    seed: int = 0
    e0s: dict[str, float] | None = None
    start_from: StartFrom = None
    functional: str | None = None

    def __post_init__(self) -> None:
        if self.n_members < 2:
            raise ValueError(
                f"CommitteeTrainer.n_members={self.n_members}: a committee needs at least 2"
            )
        if abs(sum(self.fractions) - 1) > 1e-9:
            raise ValueError(
                f"CommitteeTrainer.fractions={self.fractions}: train, valid, test must sum to 1"
            )
        kind = self.settings.kind
        backend = getattr(self.start_from, "backend", kind)
        if backend != kind:
            raise ValueError(f"CommitteeTrainer.start_from: backend {backend!r} is not {kind}")
        if self.start_from is not None and kind in CLOSED_FORM:
            raise ValueError(
                f"CommitteeTrainer.start_from: a potential of kind {kind!r} is solved in one step "
                "and starts from nothing; leave it out"
            )

    def make(self, dataset: list[Any], iteration: int, previous: Any = None) -> Flow:
        """Make the flow; its output is a ``TrainingDoc``.

        Parameters
        ----------
        dataset : list of Frames or references
            Labelled frames of all iterations so far.
        iteration : int
        previous : TrainingDoc or reference, optional
            Keeps its splits, and its weights with ``start_from="previous"``.
        """
        plan = SplitPlan(
            n_members=self.n_members,
            fractions=self.fractions,
            held_out=self.calibration.fraction if self.calibration else 0.0,
            seed=self.seed,
        )
        divide = split(dataset, plan, previous)
        divide.name = "split"
        members = []
        for m in range(self.n_members):
            member_plan = MemberPlan(
                member=m,
                iteration=iteration,
                seed=self.seed + m,
                settings=self.settings,
                e0s=self.e0s,
                start_from=self.start_from,
                functional=self.functional,
            )
            needed = previous if self.start_from == "previous" else None
            member = train(divide.output, member_plan, needed)
            member.name = "train member"
            members.append(member)
        outputs = [m.output for m in members]
        gather = collect(divide.output, outputs, iteration, self.calibration)
        gather.name = "collect committee"
        return Flow([divide, *members, gather], output=gather.output, name=self.name)
