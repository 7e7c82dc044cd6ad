"""One prototype: a structure whose elements are placeholders."""

from __future__ import annotations

from dataclasses import dataclass

from monty.json import MSONable
from pymatgen.core import Element, Structure


@dataclass(frozen=True)
class Prototype(MSONable):
    """A structure whose elements are placeholders.

    Parameters
    ----------
    structure : Structure
        Ordered; its elements mark the symmetry-distinct kinds of site. Oxidation states are
        dropped: Fe2+ and Fe3+ are one element.
    name : str
        Shown in documents and reports.
    weight : float
        Fraction of its decorations that a candidate space keeps, 0 to 1.

    Raises
    ------
    ValueError
        If the structure is disordered or the weight out of range, naming the prototype.
    """

    structure: Structure
    name: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.weight <= 1:
            raise ValueError(f"prototype {self.name}: weight={self.weight}; give 0 < weight ≤ 1")
        structure = without_oxidation_states(self.structure)
        if not structure.is_ordered:
            raise ValueError(
                f"prototype {self.name} ({structure.formula}) is disordered; order it first, for "
                "example with pymatgen's OrderDisorderedStructureTransformation"
            )
        object.__setattr__(self, "structure", structure)  # frozen


def without_oxidation_states(structure: Structure) -> Structure:
    """Return the structure with elements on its sites; the one given stays as it is."""
    if all(isinstance(e, Element) for e in structure.composition):
        return structure
    plain = structure.copy()
    plain.remove_oxidation_states()
    return plain


def as_prototype(item: Structure | Prototype) -> Prototype:
    """Return a prototype; a bare structure gets its formula as name and weight 1."""
    return (
        item
        if isinstance(item, Prototype)
        else Prototype(item, item.composition.anonymized_formula)
    )
