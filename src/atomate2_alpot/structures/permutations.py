"""Symmetry-distinct assignments of elements to the kinds of site of a prototype."""

from __future__ import annotations

from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from atomate2_alpot.structures.prototype import Prototype, as_prototype

TOLERANCE: float = 0.01
"""``ltol`` and ``stol`` of the matcher (MP-ALOE, METHODS.md §1)."""


def site_classes(structure: Structure) -> tuple[list[str], NDArray[np.int64]]:
    """Return a structure's elements by first appearance, and the index of each site's."""
    symbols = [site.specie.symbol for site in structure]
    elements = list(dict.fromkeys(symbols))
    return elements, np.array([elements.index(s) for s in symbols])


def permutation_indices(item: Structure | Prototype) -> list[tuple[int, ...]]:
    """Return the symmetry-distinct permutations of k elements over k kinds of site.

    Parameters
    ----------
    item : Structure or Prototype

    Returns
    -------
    list of tuple of int
        ``p[c]`` is the element (of the k) that kind ``c`` gets; the identity comes first. Two
        assignments are one when ``StructureMatcher(primitive_cell=False, ltol=0.01,
        stol=0.01)`` maps their structures on each other. Only kinds with equally many sites can
        change places, so most pairs need no matching.
    """
    structure = as_prototype(item).structure
    elements, classes = site_classes(structure)
    counts = np.bincount(classes)
    matcher = StructureMatcher(primitive_cell=False, ltol=TOLERANCE, stol=TOLERANCE)
    distinct: list[tuple[tuple[int, ...], tuple[int, ...], Structure]] = []
    for p in permutations(range(len(elements))):
        # sites of each element: assignments of different compositions are never one
        composition = tuple(int(counts[p.index(e)]) for e in range(len(elements)))
        candidate = _assign(structure, [elements[e] for e in p], classes)
        if not any(
            composition == other and matcher.fit(candidate, kept) for _, other, kept in distinct
        ):
            distinct.append((p, composition, candidate))
    return [p for p, _, _ in distinct]


def distinct_permutations(item: Structure | Prototype) -> list[Structure]:
    """Return one structure per symmetry-distinct assignment of a structure's own elements.

    Parameters
    ----------
    item : Structure or Prototype
        Ordered.

    Returns
    -------
    list of Structure
        Same lattice and sites; the first is the structure as given.

    Raises
    ------
    ValueError
        If it is disordered.
    """
    structure = as_prototype(item).structure
    elements, classes = site_classes(structure)
    return [
        _assign(structure, [elements[e] for e in p], classes)
        for p in permutation_indices(structure)
    ]


def _assign(structure: Structure, species: list[str], classes: NDArray[np.int64]) -> Structure:
    return Structure(
        Lattice(structure.lattice.matrix), [species[c] for c in classes], structure.frac_coords
    )
