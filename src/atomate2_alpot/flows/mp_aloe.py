"""The recipe of MP-ALOE (Kuner et al., npj Comput. Mater. 11 (2025); METHODS.md §1)."""

from __future__ import annotations

from dataclasses import dataclass, field

from atomate2_alpot.flows.loop import ActiveLearningMaker
from atomate2_alpot.flows.stopping import LoopSettings
from atomate2_alpot.schemas import PotentialSpec
from atomate2_alpot.select.makers import CommitteeSelector
from atomate2_alpot.structures import MP_ELEMENTS
from atomate2_alpot.structures.makers import PrototypeProposer
from atomate2_alpot.train.mace_settings import MaceSettings
from atomate2_alpot.train.makers import MaceTrainer
from atomate2_alpot.validate.makers import TestSetAssessor

FIRST_COMMITTEE: tuple[PotentialSpec, ...] = (
    PotentialSpec(backend="mace", name="medium", functional="PBE"),
    PotentialSpec(backend="chgnet", name="0.3.0", functional="PBE"),
    PotentialSpec(backend="matgl", name="M3GNet-PES-MatPES-PBE-2025.2", functional="PBE"),
)
"""MACE-MP-0, CHGNet and M3GNet, as in the paper; matgl no longer serves the M3GNet that was
trained on MPtrj, so its successor (MatPES) stands for it."""


@dataclass
class MPAloeMaker(ActiveLearningMaker):
    """Prototype substitution, QBC and DIRECT sampling, labels, three MACE models; repeat.

    A step that is left out is filled with the paper's: ``elements`` on AFLOW prototypes, QBC
    with 100 meV/atom, 100 meV/Å, 100 meV/Å³, DIRECT with 5 frames per cluster, a random-split
    committee of three MACE models trained from scratch. The labeller has no default, for what
    labels cost is yours to choose.

    Parameters
    ----------
    name : str
        Name of the flow.
    elements : list of str
        Elements put on the prototypes; default the paper's 89.
    candidates_per_iteration : int
        Candidates screened in each iteration.
    seed : int
        Seed of every random choice.

    Notes
    -----
    Other fields are those of :class:`ActiveLearningMaker`.
    """

    name: str = "MP-ALOE"
    elements: list[str] = field(default_factory=lambda: list(MP_ELEMENTS))
    candidates_per_iteration: int = 10_000
    seed: int = 0
    committee: list[PotentialSpec] | None = field(default_factory=lambda: list(FIRST_COMMITTEE))
    loop: LoopSettings = field(default_factory=LoopSettings)

    def __post_init__(self) -> None:
        if self.proposer is None:
            self.proposer = PrototypeProposer(
                elements=self.elements,
                candidates_per_iteration=self.candidates_per_iteration,
                seed=self.seed,
            )
        if self.selector is None:
            self.selector = CommitteeSelector(seed=self.seed)
        if self.trainer is None:
            functional = self.labeller.functional if self.labeller is not None else None
            self.trainer = MaceTrainer(
                settings=MaceSettings.mp_aloe(), seed=self.seed, functional=functional
            )
        if self.assessor is None:
            self.assessor = TestSetAssessor()
