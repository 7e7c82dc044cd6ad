"""Candidates in bulk against the same definition written plainly with pymatgen."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
from pymatgen.analysis.elasticity import Strain
from pymatgen.core import Lattice, Structure

from atomate2_alpot.structures import MP_ELEMENTS, CandidateSpace, aflow_prototypes
from atomate2_alpot.structures.radii import radii_of

N_PLAIN, N_BULK = 100, 20_000


def plain(structure: Structure, rng: np.random.Generator) -> Structure:
    """Guess and scramble one structure as one would write it first."""
    radii = radii_of(np.array([s.specie.Z for s in structure]))
    best = 0.0
    for i, site in enumerate(structure):
        for neighbour in structure.get_neighbors(site, 9.0):
            best = max(best, (radii[i] + radii[neighbour.index]) / neighbour.nn_distance)
    matrix = structure.lattice.matrix * best * 0.96
    sigma = 0.02 / len(structure)
    moves = np.clip(rng.normal(0, sigma, (len(structure), 3)), -3 * sigma, 3 * sigma)
    for k in range(6):
        voigt = np.zeros(6)
        voigt[k] = np.clip(rng.normal(0, 0.02), -0.04, 0.04) * (1 if k < 3 else 2)
        matrix = matrix @ np.array(Strain.from_voigt(voigt).get_deformation_matrix("upper")).T
    return Structure(Lattice(matrix), structure.species, structure.frac_coords + moves)


def main() -> None:
    prototypes = aflow_prototypes()
    CandidateSpace(prototypes, MP_ELEMENTS)  # permutations are matched once per process
    tracemalloc.start()
    start = time.perf_counter()
    space = CandidateSpace(prototypes, MP_ELEMENTS)
    build, memory = time.perf_counter() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    start = time.perf_counter()
    space.propose(0, N_BULK, 2)
    bulk = (time.perf_counter() - start) / N_BULK
    structures = [space[int(i)] for i in np.linspace(0, len(space) - 1, N_PLAIN)]
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    for structure in structures:
        plain(structure, rng)
    slow = (time.perf_counter() - start) / N_PLAIN
    print(f"space of {len(space)} candidates: {build:.2f} s, {memory / 1e6:.1f} MB")
    print(f"{'':28}{'ms per structure':>18}")
    print(f"{'plain pymatgen':28}{1e3 * slow:18.2f}")
    print(f"{'CandidateSpace, in bulk':28}{1e3 * bulk:18.3f}   {slow / bulk:.0f} times faster")


if __name__ == "__main__":
    main()
