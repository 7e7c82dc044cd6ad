"""Stage 1, propose: prototypes, their decorations, plausible lattices, random distortions."""

from __future__ import annotations

from atomate2_alpot.structures.lattice import guess_lattice, lattice_scale, pair_distances
from atomate2_alpot.structures.permutations import distinct_permutations, permutation_indices
from atomate2_alpot.structures.prototypes import (
    Prototype,
    Prototypes,
    aflow_prototypes,
    frequency_weight,
    prototypes_from_folder,
    prototypes_from_mp,
)
from atomate2_alpot.structures.radii import MP_ELEMENTS
from atomate2_alpot.structures.scramble import (
    FIRST_ITERATION,
    LATER_ITERATIONS,
    ScrambleSettings,
    scramble,
)
from atomate2_alpot.structures.space import CandidateSpace

__all__ = [
    "FIRST_ITERATION",
    "LATER_ITERATIONS",
    "MP_ELEMENTS",
    "CandidateSpace",
    "Prototype",
    "Prototypes",
    "ScrambleSettings",
    "aflow_prototypes",
    "distinct_permutations",
    "frequency_weight",
    "guess_lattice",
    "lattice_scale",
    "pair_distances",
    "permutation_indices",
    "prototypes_from_folder",
    "prototypes_from_mp",
    "scramble",
]
