"""`PrototypeProposer`: decorated prototypes as the pool of candidates."""

from __future__ import annotations

from dataclasses import dataclass, field

from jobflow import Job, Maker, OutputReference

from atomate2_alpot.schemas import Shard
from atomate2_alpot.structures.jobs import build_space
from atomate2_alpot.structures.prototypes import (
    Prototypes,
    aflow_prototypes,
    prototypes_from_folder,
)
from atomate2_alpot.structures.radii import MP_ELEMENTS
from atomate2_alpot.structures.scramble import (
    FIRST_ITERATION,
    LATER_ITERATIONS,
    ScrambleSettings,
)
from atomate2_alpot.structures.space import CandidateSpace

AFLOW = "aflow"


@dataclass
class PrototypeProposer(Maker):
    """Propose decorations of prototypes, in a seeded random order.

    Parameters
    ----------
    name : str
        Name of the stage.
    elements : list of str
        Elements put on the prototypes.
    prototypes : str
        "aflow" (bundled with pymatgen), or a folder of POSCAR / CIF files.
    n_atoms, n_elements : tuple of int
        Bounds of the prototypes, both included.
    ternary_weight : float
        Fraction of the decorations of AFLOW's ternaries that is kept, so that they do not swamp
        the binaries; prototypes of a folder are weighted by how often they occur in it.
    candidates_per_iteration : int
        Candidates each iteration screens; never the same twice.
    n_test : int
        Candidates at the head of the order that are held out; the physical ones among them are
        the fixed test set.
    seed : int
        Seed of the space.
    first, later : ScrambleSettings
        Lattice factor, displacements, strains of iteration 1, and of later ones.
    """

    name: str = "propose"
    elements: list[str] = field(default_factory=lambda: list(MP_ELEMENTS))
    prototypes: str = AFLOW
    n_atoms: tuple[int, int] = (2, 8)
    n_elements: tuple[int, int] = (2, 3)
    ternary_weight: float = 1 / 3
    candidates_per_iteration: int = 10_000
    n_test: int = 200
    seed: int = 0
    first: ScrambleSettings = FIRST_ITERATION
    later: ScrambleSettings = LATER_ITERATIONS

    def __post_init__(self) -> None:
        for name in ("candidates_per_iteration", "n_test"):
            if getattr(self, name) < 1:
                raise ValueError(f"PrototypeProposer.{name}={getattr(self, name)}: give at least 1")
        for name in ("n_atoms", "n_elements"):
            low, high = getattr(self, name)
            if not 1 <= low <= high:
                raise ValueError(
                    f"PrototypeProposer.{name}={(low, high)}: give (smallest, largest), from 1"
                )

    def load_prototypes(self) -> Prototypes:
        """Load the prototypes."""
        bounds = (self.n_atoms[0], self.n_atoms[1]), (self.n_elements[0], self.n_elements[1])
        if self.prototypes == AFLOW:
            return aflow_prototypes(*bounds, self.ternary_weight)
        return prototypes_from_folder(self.prototypes, *bounds)

    def space(self) -> CandidateSpace:
        """Build the candidate space (seconds: permutations are matched).

        Raises
        ------
        ValueError
            If the space has no candidates left beside the test set.
        """
        space = CandidateSpace(
            self.load_prototypes(), self.elements, self.seed, self.first, self.later
        )
        if len(space) <= self.n_test:
            raise ValueError(
                f"the space has {len(space)} candidates, and n_test={self.n_test} are held out; "
                "give more elements or prototypes, or hold out fewer"
            )
        return space

    def make(self) -> Job:
        """Make the job whose output is the candidate space."""
        build = build_space(self)
        build.name = "build space"
        return build

    def shards(self, pool: OutputReference, iteration: int) -> list[Shard]:
        """Return the range that an iteration (from 1) screens; ranges never overlap."""
        start = self.n_test + (iteration - 1) * self.candidates_per_iteration
        return [Shard(source=pool, start=start, stop=start + self.candidates_per_iteration)]

    def test_shard(self, pool: OutputReference) -> Shard:
        """Return the range of the fixed test set."""
        return Shard(source=pool, start=0, stop=self.n_test)
