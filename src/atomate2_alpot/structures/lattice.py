"""The lattice guess: how large a decorated prototype should be (MP-ALOE, METHODS.md §1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure

from atomate2_alpot.structures.prototype import Prototype, as_prototype
from atomate2_alpot.structures.radii import radii_of

SEARCH_RADIUS: float = 9.0
"""Å, in the unscaled prototype; grown where a pair of sites has no image within it."""

LATTICE_FACTOR: float = 0.96
"""Lengths are multiplied by this after the closest pair touches (0.92 in iteration 1)."""


def pair_distances(structure: Structure) -> NDArray[np.float64]:
    """Return the shortest periodic distance between every two sites.

    Parameters
    ----------
    structure : Structure

    Returns
    -------
    array, shape (N, N)
        Å; the diagonal is the distance of a site to its own nearest image.
    """
    from matscipy.neighbours import neighbour_list

    n, cutoff = len(structure), SEARCH_RADIUS
    while True:
        i, j, d = neighbour_list(
            "ijd",
            positions=structure.cart_coords,
            cell=structure.lattice.matrix,
            pbc=np.ones(3, bool),
            cutoff=cutoff,
        )
        shortest = np.full((n, n), np.inf)
        np.minimum.at(shortest, (i, j), d)
        if np.isfinite(shortest).all():
            return shortest
        cutoff *= 1.5


def lattice_scale(
    radii: NDArray[np.float64], distances: NDArray[np.float64], factor: float = LATTICE_FACTOR
) -> NDArray[np.float64]:
    """Return the factor on lengths: max over pairs of (r_i + r_j) / d_min(i, j), times ``factor``.

    Parameters
    ----------
    radii : array, shape (..., N)
        Å.
    distances : array, shape (N, N)
        Of :func:`pair_distances`.
    factor : float

    Returns
    -------
    array, shape (...)
    """
    ratios = (radii[..., :, None] + radii[..., None, :]) / distances
    return factor * ratios.max(axis=(-2, -1))


def guess_lattice(item: Structure | Prototype, factor: float = LATTICE_FACTOR) -> Structure:
    """Scale a decorated structure isotropically to a plausible volume.

    The cell is scaled so that the closest pair of sites, measured in sums of atomic radii, just
    touches; lengths are then multiplied by ``factor``.

    Parameters
    ----------
    item : Structure or Prototype
    factor : float
        0.96; MP-ALOE took 0.92 in its first iteration.

    Raises
    ------
    ValueError
        If the structure is disordered, an element has no radius, or ``factor`` is not positive.
    """
    if factor <= 0:
        raise ValueError(f"factor={factor}: give a positive number (0.96, or 0.92 at first)")
    structure = as_prototype(item).structure
    numbers = np.array([site.specie.Z for site in structure])
    scale = float(lattice_scale(radii_of(numbers), pair_distances(structure), factor))
    return Structure(
        Lattice(structure.lattice.matrix * scale), structure.species, structure.frac_coords
    )
