"""Atomic radii of the lattice guess (MP-ALOE, METHODS.md §1)."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

MISSING_ELEMENTS: tuple[int, ...] = (84, 85, 86, 87, 88)

MP_ELEMENTS: tuple[str, ...] = tuple(
    chemical_symbols[z] for z in range(1, 95) if z not in MISSING_ELEMENTS
)
"""The paper's 89 elements: Z = 1 to 94 without Po, At, Rn, Fr, Ra."""

NOBLE_GAS_RADII: dict[str, float] = {
    "He": 0.31 * 2 * 1.4,
    "Ne": 0.38 * 2 * 1.4,
    "Ar": 0.71 * 2 * 1.25,
    "Kr": 0.88 * 2,
    "Xe": 1.08 * 2,
}
"""Å. pymatgen has no atomic radius for most of these, or one that is far too small."""

RADIUS_FACTORS: dict[str, float] = {"H": 3.0, "K": 0.9, "Rb": 0.9, "Cs": 0.9}


@cache
def radii_table() -> NDArray[np.float64]:
    """Return the radius in Å by atomic number, shape (119,); NaN where there is none."""
    from pymatgen.core import Element

    table = np.full(119, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for z in range(1, 119):
            element = Element.from_Z(z)
            symbol, radius = element.symbol, element.atomic_radius
            if symbol in NOBLE_GAS_RADII:
                table[z] = NOBLE_GAS_RADII[symbol]
            elif radius:
                table[z] = float(radius) * RADIUS_FACTORS.get(symbol, 1.0)
    return table


def radii_of(numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return radii in Å of atomic numbers, of the same shape.

    Raises
    ------
    ValueError
        Naming an element without a radius.
    """
    radii = radii_table()[numbers]
    if np.isnan(radii).any():
        missing = sorted({chemical_symbols[z] for z in np.unique(numbers[np.isnan(radii)])})
        raise ValueError(f"no atomic radius for {missing}; leave them out of `elements`")
    return radii
