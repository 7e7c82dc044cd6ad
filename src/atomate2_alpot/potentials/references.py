"""Elemental references: what makes energies of different members compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray

from atomate2_alpot.potentials.base import PotentialError
from atomate2_alpot.potentials.committee import Committee
from atomate2_alpot.schemas import Frames

LATTICES: dict[str, tuple[NDArray[np.float64], NDArray[np.float64], float]] = {
    "fcc": (0.5 * (1 - np.eye(3)), np.zeros((1, 3)), np.sqrt(0.5)),
    "bcc": (0.5 * (1 - 2 * np.eye(3)), np.zeros((1, 3)), np.sqrt(0.75)),
    "diamond": (0.5 * (1 - np.eye(3)), np.array([[0, 0, 0], [0.25] * 3]), np.sqrt(3) / 4),
    "dimer": (4.0 * np.eye(3), np.array([[0, 0, 0], [1.0, 0, 0]]), 1.0),
}
"""Cell, Cartesian basis and nearest-neighbour distance of each lattice, for lattice constant 1.

The dimer is for elements whose reference state is molecular; four bond lengths apart it still
has neighbours within the cutoff of graph networks, which refuse isolated atoms."""

STRETCHES: tuple[float, ...] = (0.8, 0.88, 0.96, 1.04, 1.13, 1.23, 1.34)
"""Nearest-neighbour distances tried, in units of twice the covalent radius, ascending."""

MAX_DEVIATION: float = 20.0
"""eV/atom. Energies further than this from an element's median are extrapolation, not physics."""


@dataclass(frozen=True)
class CrystalSurvey:
    """What a committee says about simple elemental crystals.

    Parameters
    ----------
    references : list of dict
        Per member: lowest energy in eV/atom over the minima of its energy-volume curves.
    ground_states : Frames
        Per element, the crystal that the members together find lowest.
    """

    references: list[dict[str, float]]
    ground_states: Frames


def elemental_crystals(elements: Sequence[str]) -> Frames:
    """Build simple crystals of each element at several volumes.

    Parameters
    ----------
    elements : sequence of str

    Returns
    -------
    Frames
        ``len(LATTICES) * len(STRETCHES)`` frames per element; origin column ``prototype`` is
        the lattice.

    Raises
    ------
    ValueError
        If a symbol is not an element.
    """
    unknown = [e for e in elements if e not in atomic_numbers]
    if unknown:
        raise ValueError(f"elements: {unknown} are not elements; use symbols such as 'Fe'")
    frames = []
    for element, (name, lattice), stretch in product(elements, LATTICES.items(), STRETCHES):
        cell, basis, nearest = lattice
        z = atomic_numbers[element]
        scale = 2 * covalent_radii[z] * stretch / nearest
        frames.append(
            Frames.from_arrays(
                [z] * len(basis),
                scale * basis,
                [scale * cell],
                [len(basis)],
                origin={"prototype": [name]},
            )
        )
    return Frames.concat(frames)


def survey_crystals(committee: Committee, elements: Sequence[str]) -> CrystalSurvey:
    """Evaluate simple crystals of each element once, for references and ground states.

    Only minima inside an energy-volume curve count: universal potentials extrapolate to
    thousands of eV below zero under compression (CHGNet 0.2.0 on dense oxygen).

    Parameters
    ----------
    committee : Committee
        Members' own references are not used.
    elements : sequence of str

    Raises
    ------
    PotentialError
        If a member evaluates no crystal of an element.
    """
    crystals = elemental_crystals(elements)
    energies = committee.predict(crystals, allow_nonfinite=True).energies / crystals.n_atoms
    shape = len(committee), len(elements), len(LATTICES), len(STRETCHES)
    curves = energies.reshape(shape)  # (M, elements, lattices, stretches)
    references: list[dict[str, float]] = [{} for _ in committee.members]
    chosen = []
    for e, element in enumerate(elements):
        depths = np.stack([_minima(curves[m, e]) for m in range(len(committee))])
        for m, spec in enumerate(committee.members):
            if not np.isfinite(depths[m]).any():
                raise PotentialError(
                    f"committee member {m} ({spec.label}) evaluates no simple crystal of "
                    f"{element}; give elemental references, or leave {element} out"
                )
            references[m][element] = float(depths[m].min())
        above = depths - depths.min(axis=(1, 2), keepdims=True)  # (M, lattices, stretches)
        # a crystal that is no minimum for a member counts as 1 eV above that member's lowest
        score = np.where(np.isfinite(above), above, 1.0).mean(axis=0)
        chosen.append(e * score.size + int(np.argmin(score)))
    return CrystalSurvey(references, crystals.take(chosen))


def _minima(curves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keep the interior minima of energy-volume curves, +∞ elsewhere.

    Parameters
    ----------
    curves : array, shape (lattices, stretches)
        eV/atom; NaN where a crystal could not be evaluated.

    Returns
    -------
    array of the same shape
        If no curve has a minimum (closed shells), the widest close-packed crystal stands.
    """
    finite = np.isfinite(curves)
    if not finite.any():
        return np.full_like(curves, np.inf)
    sane = finite & (np.abs(curves - np.median(curves[finite])) < MAX_DEVIATION)
    energy = np.where(sane, curves, np.inf)
    left, here, right = energy[:, :-2], energy[:, 1:-1], energy[:, 2:]
    inside = np.zeros_like(sane)
    inside[:, 1:-1] = (here < left) & (here < right) & sane[:, :-2] & sane[:, 2:]
    if not inside.any():
        lattice = int(np.argmax(sane.any(axis=1)))
        inside[lattice, np.flatnonzero(sane[lattice])[-1]] = True
    return np.where(inside, curves, np.inf)


def references_by_least_squares(frames: Frames, energies: NDArray[np.float64]) -> dict[str, float]:
    """Fit one energy per element to total energies, by minimum-norm least squares.

    Parameters
    ----------
    frames : Frames
    energies : array, shape (S,)
        Total energies in eV; non-finite ones are left out.

    Returns
    -------
    dict of str to float
        eV/atom by symbol.

    Raises
    ------
    ValueError
        If no energy is finite.
    """
    finite = np.isfinite(energies)
    if not finite.any():
        raise ValueError("elemental references: no frame has a finite energy; label some first")
    composition = frames.composition()[finite]
    # per atom, so that a large cell does not count more than a small one
    atoms = composition.sum(axis=1)
    per_atom = energies[finite] / atoms
    solution, *_ = np.linalg.lstsq(composition / atoms[:, None], per_atom, rcond=None)
    return dict(zip(frames.elements, solution.tolist(), strict=True))


def references_from_labels(frames: Frames) -> dict[str, float]:
    """Return elemental references on the scale of the labels.

    Single-element labelled frames give their lowest energy per atom; elements without one are
    fitted by least squares to what the others leave of the remaining labels.

    Parameters
    ----------
    frames : Frames
        Labelled frames; unlabelled ones are left out. An isolated atom (one atom, not periodic)
        counts only where its element occurs in no other frame: its energy is an E0, eV above that
        of the crystal.
    """
    labelled = frames[frames.is_labelled]
    isolated = labelled.is_isolated_atom
    elsewhere = set(labelled[~isolated].elements)
    kept = [
        s for s in range(len(labelled)) if not isolated[s] or _symbol(labelled, s) not in elsewhere
    ]
    labelled = labelled.take(np.array(kept, dtype=int))
    composition, energies = labelled.composition(), labelled.energy
    pure = (composition > 0).sum(axis=1) == 1
    references: dict[str, float] = {}
    for column, element in enumerate(labelled.elements):
        own = pure & (composition[:, column] > 0)
        if own.any():
            references[element] = float((energies[own] / composition[own, column]).min())
    open_elements = [e for e in labelled.elements if e not in references]
    if open_elements:
        known = np.array([references.get(e, 0.0) for e in labelled.elements])
        columns = [labelled.elements.index(e) for e in open_elements]
        rest = energies - composition @ known
        rows = composition[:, columns].sum(axis=1) > 0
        weight = composition[rows].sum(axis=1)
        solution, *_ = np.linalg.lstsq(
            composition[rows][:, columns] / weight[:, None], rest[rows] / weight, rcond=None
        )
        references.update(zip(open_elements, solution.tolist(), strict=True))
    return {e: references[e] for e in labelled.elements}


def _symbol(frames: Frames, row: int) -> str:
    return frames[row].elements[0]
