"""The recipe of MP-ALOE (Kuner et al., npj Comput. Mater. 11 (2025); METHODS.md §1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from atomate2_alpot.flows.loop import ActiveLearningMaker
from atomate2_alpot.flows.stopping import LoopSettings
from atomate2_alpot.schemas import CommitteeDoc, PotentialSpec
from atomate2_alpot.select.makers import CommitteeSelector
from atomate2_alpot.select.samplers import DirectSampler
from atomate2_alpot.structures import MP_ELEMENTS
from atomate2_alpot.structures.makers import PrototypeProposer
from atomate2_alpot.train.mace_settings import MaceSettings
from atomate2_alpot.train.makers import CommitteeTrainer
from atomate2_alpot.validate.makers import TestSetAssessor

FIRST_COMMITTEE: tuple[PotentialSpec, ...] = (
    PotentialSpec(backend="mace", name="medium", functional="PBE"),
    PotentialSpec(backend="chgnet", name="0.3.0", functional="PBE"),
    PotentialSpec(backend="matgl", name="M3GNet-PES-MatPES-PBE-2025.2", functional="PBE"),
)
"""MACE-MP-0, CHGNet and M3GNet, as in the paper; matgl no longer serves the M3GNet that was
trained on MPtrj, so its successor (MatPES) stands for it."""


FEATURES = PotentialSpec(backend="matgl", name="M3GNet-Eform-MP-2019.4.1")
"""DIRECT describes frames by the readout of the M3GNet of formation energies, as in the paper."""

K_PER_CLUSTER = 5
LABELS_PER_ITERATION = 125_000

CANDIDATES_PER_ITERATION = 1_000_000
"""The paper has ~500 000 that pass the committee, not how many it looked at."""

CHUNK_SIZE = 10_000

SHARED: tuple[str, ...] = ("elements", "candidates_per_iteration", "seed")
"""Fields that a proposer has too."""


@dataclass
class MPAloeMaker(ActiveLearningMaker):
    """Prototype substitution, QBC and DIRECT sampling, labels, three MACE models; repeat.

    A step that is left out is filled with the paper's:

    - proposer: ``elements`` on prototypes of 2-8 atoms and 2-3 elements, lattice guess x 0.96
      (0.92 in iteration 1), scrambled;
    - selector: QBC with 100 meV/atom, 100 meV/Å, 100 meV/Å³; DIRECT with 5 frames per cluster on
      the features of :data:`FEATURES` (matgl; for one that needs no model, give a
      ``CommitteeSelector`` with ``DirectSampler(k_per_cluster=5)``);
    - committee of iteration 1: :data:`FIRST_COMMITTEE`;
    - trainer: three MACE models from scratch, split 90/5/5, 100 epochs;
    - loop: 125 000 labels an iteration.

    The labeller has no default, for what labels cost is yours to choose: the paper's is
    ``label.presets.mp_aloe()``.

    Parameters
    ----------
    name : str
        Name of the flow.
    elements : list of str, optional
        Elements put on the prototypes; default the paper's 89.
    candidates_per_iteration : int, optional
        Candidates screened in each iteration; default a million.
    seed : int, optional
        Seed of every random choice of the steps that are left out; default the proposer's, or 0.

    Raises
    ------
    ValueError
        If ``elements``, ``candidates_per_iteration`` or ``seed`` contradicts a ``proposer`` that
        is given.

    Notes
    -----
    Other fields are those of :class:`ActiveLearningMaker`. What differs from the paper: prototypes
    are AFLOW's, with a third of the decorations of ternaries, where the paper took the ICSD's and
    MP's; E0s are fitted where the dataset has no isolated atoms and the trainer no ``e0s``; near-
    equilibrium structures of MP are not added; the ground-state crystals and a fixed test set are
    labelled first. Engines carry some 500 jobs in one flow: choose ``batch_size`` of the labeller
    or ``loop.labels_per_iteration`` by that.
    """

    name: str = "MP-ALOE"
    elements: list[str] | None = None
    candidates_per_iteration: int | None = None
    seed: int | None = None
    committee: list[PotentialSpec] | CommitteeDoc | None = field(
        default_factory=lambda: list(FIRST_COMMITTEE)
    )
    loop: LoopSettings = field(
        default_factory=lambda: LoopSettings(labels_per_iteration=LABELS_PER_ITERATION)
    )

    def __post_init__(self) -> None:
        if self.proposer is None:
            self.proposer = PrototypeProposer(
                elements=list(MP_ELEMENTS if self.elements is None else self.elements),
                candidates_per_iteration=CANDIDATES_PER_ITERATION
                if self.candidates_per_iteration is None
                else self.candidates_per_iteration,
                seed=self.seed or 0,
            )
        self._check_shared()
        seed = getattr(self.proposer, "seed", 0) if self.seed is None else self.seed
        if self.selector is None:
            sampler = DirectSampler(
                descriptor="model", spec=FEATURES, k_per_cluster=K_PER_CLUSTER, threshold_init=0.1
            )
            self.selector = CommitteeSelector(sampler=sampler, chunk_size=CHUNK_SIZE, seed=seed)
        if self.trainer is None:
            functional = self.labeller.functional if self.labeller is not None else None
            self.trainer = CommitteeTrainer(
                settings=MaceSettings.mp_aloe(),
                calibration=None,
                seed=seed,
                functional=functional,
            )
        if self.assessor is None:
            self.assessor = TestSetAssessor()

    def _check_shared(self) -> None:
        """Refuse a field that the proposer has otherwise: it would be ignored."""
        for name in SHARED:
            asked, has = getattr(self, name), getattr(self.proposer, name, None)
            if isinstance(asked, Sequence) and isinstance(has, Sequence):
                asked, has = list(asked), list(has)
            if asked is not None and asked != has:
                raise ValueError(
                    f"MPAloeMaker.{name}={asked!r}, but the proposer that is given has {name}="
                    f"{has!r}; leave {name} out, or set it in the proposer"
                )
