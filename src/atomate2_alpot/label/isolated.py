"""Isolated atoms: the E0s of a reference method, with each atom's ground-state spin."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from ase.data import atomic_numbers, ground_state_magnetic_moments
from atomate2.vasp.jobs.base import BaseVaspMaker
from jobflow import Maker
from pymatgen.core import Element, Lattice, Structure
from pymatgen.io.vasp import Kpoints

from atomate2_alpot.label.engine import makers_within
from atomate2_alpot.label.gpaw import GpawStaticMaker
from atomate2_alpot.label.limits import LabelLimits
from atomate2_alpot.label.makers import LabelMaker
from atomate2_alpot.schemas import Frames

BOX: tuple[float, float, float] = (11.0, 12.0, 13.0)
"""Å. Three different edges, so that the box does not keep p and d shells spherical."""

ATOM_INCAR: dict[str, Any] = {
    "ISPIN": 2,
    "ISYM": 0,
    "ISMEAR": 0,
    "SIGMA": 0.01,
    "KSPACING": None,
    "NSW": 0,
    "IBRION": -1,
    "EDIFFG": None,
    "ISIF": 2,
    "LREAL": False,
    "LORBIT": None,
}
"""What turns a crystal's settings into an atom's: Γ only, no symmetry, hardly any smearing."""


def isolated_atoms(elements: Sequence[str]) -> Frames:
    """Return one frame per element: an atom alone in a box, not periodic.

    Parameters
    ----------
    elements : sequence of str

    Raises
    ------
    ValueError
        If a word is no element.
    """
    unknown = [e for e in elements if not Element.is_valid_symbol(e)]
    if unknown:
        raise ValueError(f"{unknown} are not elements; use symbols such as 'Fe'")
    box = np.diag(BOX)
    return Frames.from_arrays(
        [Element(e).Z for e in elements],
        np.tile(box.sum(axis=0) / 2, (len(elements), 1)),
        np.tile(box, (len(elements), 1, 1)),
        [1] * len(elements),
        pbc=[[False] * 3] * len(elements),
        origin={"prototype": ["isolated atom"] * len(elements)},
    )


TERMS: dict[str, int] = {"Ce": 0, "Es": 3, "Lr": 1}
"""Unpaired electrons where ASE's table contradicts the number of electrons (NIST: Ce ^1G, Es ^4I,
Lr ^2P)."""


def unpaired_electrons(symbol: str) -> int:
    """Return the number of unpaired electrons in an atom's ground state (ASE's table)."""
    if symbol in TERMS:
        return TERMS[symbol]
    return round(float(ground_state_magnetic_moments[atomic_numbers[symbol]]))


@dataclass
class IsolatedAtomMaker(Maker):
    """An engine's Maker with the settings of an isolated atom.

    Parameters
    ----------
    name : str
    maker : Maker
        VASP Makers get ``ATOM_INCAR``, a Γ point and NUPDOWN; CP2K's a Γ point and MULTIPLICITY;
        GPAW gets Hund's rule; of others the static is taken as it is.
    """

    name: str = "isolated atom"
    maker: Maker = field(default_factory=Maker)

    def make(self, structure: Structure) -> Any:
        """Make the calculation of one atom."""
        symbol = structure[0].specie.symbol
        return _for_atom(self.maker, symbol).make(_in_periodic_box(structure))


def atom_labeller(labeller: LabelMaker) -> LabelMaker:
    """Return the labeller that computes E0s on the energy scale of another one.

    Parameters
    ----------
    labeller : LabelMaker

    Returns
    -------
    LabelMaker
        Same functional; its flow labels what :func:`isolated_atoms` gives.
    """
    return dataclasses.replace(
        labeller,
        name="isolated atoms",
        maker=IsolatedAtomMaker(maker=cast("Maker", labeller.maker)),
        which="last",
        limits=LabelLimits(max_force=None, max_stress=None, max_energy=None),
        retries=[],
    )


def _in_periodic_box(structure: Structure) -> Structure:
    """Return the atom as engines want it: atomate2's ASE documents hold no open structure."""
    lattice = Lattice(structure.lattice.matrix)
    return Structure(lattice, [structure[0].specie], [structure[0].frac_coords])


def _for_atom(maker: Maker, symbol: str) -> Maker:
    unpaired = unpaired_electrons(symbol)
    if isinstance(maker, GpawStaticMaker):
        options = {**maker.calculator_kwargs, "hund": True, "spinpol": True, "kpts": (1, 1, 1)}
        return dataclasses.replace(maker, calculator_kwargs=options)
    if any(type(made).__module__.startswith("atomate2.cp2k") for made in makers_within(maker)):
        from atomate2.cp2k import powerups as cp2k

        told: Any = cp2k.update_user_input_settings(maker, {"multiplicity": unpaired + 1})
        return cast("Maker", cp2k.update_user_kpoints_settings(told, Kpoints()))
    from atomate2.vasp.powerups import update_user_incar_settings, update_user_kpoints_settings

    incar = {**ATOM_INCAR, "NUPDOWN": unpaired, "MAGMOM": {symbol: unpaired}}
    maker = update_user_incar_settings(maker, incar)
    return update_user_kpoints_settings(maker, Kpoints(), class_filter=BaseVaspMaker)
