"""`CandidateSpace`: all decorations of all prototypes, as a space and not as a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from ase.data import atomic_numbers
from monty.json import MSONable
from numpy.typing import ArrayLike, NDArray
from pymatgen.core import Lattice, Structure

from atomate2_alpot.schemas import Frames
from atomate2_alpot.structures.kinds import DecorationKind
from atomate2_alpot.structures.lattice import lattice_scale
from atomate2_alpot.structures.ordering import shuffled
from atomate2_alpot.structures.prototype import Prototype, as_prototype
from atomate2_alpot.structures.radii import radii_of
from atomate2_alpot.structures.scramble import (
    FIRST_ITERATION,
    LATER_ITERATIONS,
    N_STRAINS,
    ScrambleSettings,
    scramble_arrays,
)


class CandidateSpace(MSONable):
    """Every decoration of every prototype with elements of a list, built when looked at.

    ``len(space)`` is exact, ``space[i]`` costs the same for every i, and candidate i is random
    with a generator seeded by (seed, i): any process, any chunk gives the same candidate.

    Parameters
    ----------
    prototypes : list of Prototype or Structure
        A prototype of weight w keeps the fraction w of its decorations, at random.
    elements : list of str
        Symbols to put on the prototypes.
    seed : int
        Seed of everything random here.
    first, later : ScrambleSettings
        Lattice factor, displacements and strains of iteration 1, and of later ones.
    permutations : list, optional
        Symmetry-distinct permutations per prototype, if they are known.

    Raises
    ------
    ValueError
        If there is no prototype or a disordered one, or an element is unknown, repeated, or
        without a radius, or there are fewer elements than a prototype has kinds of site.
    """

    def __init__(
        self,
        prototypes: Sequence[Prototype | Structure],
        elements: Sequence[str],
        seed: int = 0,
        first: ScrambleSettings = FIRST_ITERATION,
        later: ScrambleSettings = LATER_ITERATIONS,
        permutations: list[list[list[int]]] | None = None,
    ) -> None:
        self.prototypes = [as_prototype(p) for p in prototypes]
        self.elements = list(elements)
        self.seed = seed
        self.first, self.later = first, later
        self._numbers = _check_elements(self.elements)
        if not self.prototypes:
            raise ValueError("prototypes: the list is empty; use aflow_prototypes()")
        known: list[Any] = permutations or [None for _ in self.prototypes]
        self.kinds = [DecorationKind.of(p, q) for p, q in zip(self.prototypes, known, strict=True)]
        for kind in self.kinds:
            if kind.n_kinds > len(self.elements):
                raise ValueError(
                    f"elements: {self.elements} are fewer than the {kind.n_kinds} kinds of site of "
                    f"prototype {kind.name}; give more elements or lower n_elements"
                )
        sizes = [kind.n_kept(len(self.elements)) for kind in self.kinds]
        self._starts = np.concatenate([[0], np.cumsum(sizes)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> Structure:
        """Return candidate ``index`` as a structure (settings of later iterations)."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"candidate {index} of {len(self)}")
        return self.frames([index % len(self)]).to_structures()[0]

    def frames(self, indices: ArrayLike, iteration: int = 2) -> Frames:
        """Build candidates in bulk.

        Parameters
        ----------
        indices : array of int, shape (n,)
            Each in [0, len(self)).
        iteration : int
            1 takes the settings ``first``, others ``later``.

        Returns
        -------
        Frames
            In the order of ``indices``, with origin columns prototype, candidate, iteration.
        """
        index = np.asarray(indices, dtype=np.int64).reshape(-1)
        if len(index) and (index.min() < 0 or index.max() >= len(self)):
            raise IndexError(f"candidates {index.min()} to {index.max()} of {len(self)}")
        settings = self.first if iteration == 1 else self.later
        owner = np.searchsorted(self._starts, index, side="right") - 1
        rows, parts = [], []
        for k in np.unique(owner):
            own = np.flatnonzero(owner == k)
            rows.append(own)
            parts.append(self._decorate(int(k), index[own], settings, iteration))
        if not parts:
            return Frames.empty()
        back = np.argsort(np.concatenate(rows), kind="stable")
        return Frames.concat(parts).take(back)

    def propose(self, start: int, stop: int, iteration: int) -> Frames:
        """Build candidates ``start`` to ``stop`` of the seeded order, clipped at its end."""
        places = np.arange(start, min(stop, len(self)))
        return self.frames(shuffled(places, len(self), (self.seed, 0)), iteration)

    def as_dict(self) -> dict[str, Any]:
        """Return the MSONable document, permutations included."""
        return {
            "@module": type(self).__module__,
            "@class": type(self).__name__,
            "species": [[s.specie.symbol for s in p.structure] for p in self.prototypes],
            "lattices": [p.structure.lattice.matrix.tolist() for p in self.prototypes],
            "fractional": [p.structure.frac_coords.tolist() for p in self.prototypes],
            "names": [p.name for p in self.prototypes],
            "weights": [p.weight for p in self.prototypes],
            "permutations": [kind.permutations.tolist() for kind in self.kinds],
            "elements": self.elements,
            "seed": self.seed,
            "first": self.first.model_dump(),
            "later": self.later.model_dump(),
        }

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Self:
        """Rebuild from :meth:`as_dict`, without matching anything."""
        # fractional coordinates as they are: a round trip through Cartesian ones moves last bits
        columns = (d[key] for key in ("lattices", "species", "fractional", "names", "weights"))
        prototypes = [
            Prototype(Structure(Lattice(lattice), species, fractional), name, weight)
            for lattice, species, fractional, name, weight in zip(*columns, strict=True)
        ]
        return cls(
            prototypes,
            d["elements"],
            d["seed"],
            first=ScrambleSettings(**d["first"]),
            later=ScrambleSettings(**d["later"]),
            permutations=d["permutations"],
        )

    def _decorate(
        self, k: int, index: NDArray[np.int64], settings: ScrambleSettings, iteration: int
    ) -> Frames:
        kind, n_elements = self.kinds[k], len(self.elements)
        decorations = shuffled(index - self._starts[k], kind.n_all(n_elements), (self.seed, 1, k))
        numbers = kind.species(decorations, self._numbers)  # (B, N)
        scale = lattice_scale(radii_of(numbers), kind.distances, settings.lattice_factor)
        n_random = 3 * len(kind.classes) + N_STRAINS
        uniform = np.stack(
            [np.random.default_rng((self.seed, int(i))).random(n_random) for i in index]
        )
        fractional, cells = scramble_arrays(
            np.broadcast_to(kind.fractional, (len(index), *kind.fractional.shape)),
            scale[:, None, None] * kind.cell,
            uniform,
            settings,
        )
        return Frames.from_arrays(
            numbers.reshape(-1),
            (fractional @ cells).reshape(-1, 3),
            cells,
            np.full(len(index), len(kind.classes)),
            origin={
                "prototype": [kind.name] * len(index),
                "candidate": index.tolist(),
                "iteration": [iteration] * len(index),
            },
        )


def _check_elements(elements: list[str]) -> NDArray[np.int64]:
    unknown = [e for e in elements if e not in atomic_numbers]
    if unknown:
        raise ValueError(f"elements: {unknown} are not elements; use symbols such as 'Fe'")
    repeated = sorted({e for e in elements if elements.count(e) > 1})
    if repeated:
        raise ValueError(f"elements: {repeated} are listed twice; list each once")
    numbers = np.array([atomic_numbers[e] for e in elements], dtype=np.int64)
    radii_of(numbers)
    return numbers
