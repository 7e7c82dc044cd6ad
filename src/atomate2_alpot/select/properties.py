"""Numbers that tell elements apart, for descriptors without a model."""

from __future__ import annotations

from functools import cache

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from numpy.typing import NDArray


@cache
def element_properties() -> NDArray[np.float64]:
    """Return number, group, period, electronegativity, covalent radius by Z, shape (119, 5).

    Electronegativities that are not defined (some noble gases) are set to zero.
    """
    import warnings

    from pymatgen.core import Element

    table = np.zeros((119, 5))
    for z in range(1, 119):
        element = Element(chemical_symbols[z])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            electronegativity = np.nan_to_num(element.X)
        table[z] = z, element.group, element.row, electronegativity, covalent_radii[z]
    return table
