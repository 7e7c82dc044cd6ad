"""Spread of a committee, per frame, per atom and per component.

Symbols: M members, S frames, N atoms of a frame; e formation energy per atom, F force on an
atom, s stress. Which measure to use when: ``docs/uncertainty.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from atomate2_alpot.schemas import CommitteePrediction

Array = NDArray[np.float64]

VOIGT: tuple[list[int], list[int]] = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])
"""Rows and columns of xx yy zz yz xz xy."""


@dataclass(frozen=True)
class Disagreement:
    """Spread per frame.

    Parameters
    ----------
    energy : array, shape (S,)
        eV/atom, of formation energies.
    forces : array, shape (S,)
        eV/Å.
    stress : array, shape (S,)
        eV/Å³.
    """

    energy: Array
    forces: Array
    stress: Array


@dataclass(frozen=True)
class ComponentSpread:
    """Unbiased standard deviation of every predicted number.

    Parameters
    ----------
    energy : array, shape (S,)
        eV/atom, of formation energies.
    forces : array, shape (ΣN, 3)
        eV/Å.
    stress : array, shape (S, 6)
        eV/Å³, Voigt order xx yy zz yz xz xy.
    """

    energy: Array
    forces: Array
    stress: Array


# --- per frame ---------------------------------------------------------------------------------


def std_disagreement(prediction: CommitteePrediction) -> Disagreement:
    """Return standard deviations over the committee (MP-ALOE, Methods, "Query By Committee").

    With the population standard deviation over members (1/M):

    - energy: std of the formation energy per atom;
    - forces: sqrt of the mean over atoms of Σ_xyz var(F), a vector's spread, so that members
      that differ in direction alone disagree;
    - stress: sqrt of Σ over the six Voigt components of var(s).

    Raises
    ------
    ValueError
        If there are fewer than two members, or a value is not finite.
    """
    check_prediction(prediction)
    return _deviations(prediction, ddof=0)


def component_disagreement(prediction: CommitteePrediction) -> Disagreement:
    """Return D_α of TrainsPot, eq. (1): spread averaged over atoms *and* components.

    Population variances (1/M) as in :func:`std_disagreement`, but forces average over the 3N
    components of a frame and stress over the nine of the tensor, so that a threshold reads as
    one on a component: ``D_F = std_disagreement(...).forces / sqrt(3)``. Averages are of
    variances, for D and for the error of :func:`~.committee_errors.member_errors` alike.

    Raises
    ------
    ValueError
        If there are fewer than two members, or a value is not finite.
    """
    check_prediction(prediction)
    force_var = prediction.forces.var(axis=0).mean(axis=1)  # (ΣN,)
    return Disagreement(
        energy=prediction.formation_energies.std(axis=0),
        forces=np.sqrt(frame_mean(force_var, prediction.offsets)),
        stress=np.sqrt(prediction.stress.var(axis=0).mean(axis=(1, 2))),
    )


def unbiased_disagreement(prediction: CommitteePrediction) -> Disagreement:
    """Return :func:`std_disagreement` with the unbiased variance 1/(M−1) (CAGO, eq. 2).

    Raises
    ------
    ValueError
        If there are fewer than two members, or a value is not finite.
    """
    check_prediction(prediction)
    return _deviations(prediction, ddof=1)


def pairwise_disagreement(prediction: CommitteePrediction) -> Disagreement:
    """Return the spread that MP-ALOE's published code computes (METHODS.md §1).

    - energy: std of the formation energy per atom over members, as in the paper;
    - forces: mean over pairs of members (a, b) of ``sqrt(mean over atoms of |F_a − F_b|²)``;
    - stress: mean over pairs of the Euclidean norm of the difference of the six Voigt components.

    Raises
    ------
    ValueError
        If there are fewer than two members, or a value is not finite.
    """
    check_prediction(prediction)
    voigt = prediction.stress[..., VOIGT[0], VOIGT[1]]  # (M, S, 6)
    forces = np.zeros(len(prediction.n_atoms))
    stress = np.zeros(len(prediction.n_atoms))
    pairs = list(combinations(range(prediction.n_members), 2))
    for a, b in pairs:
        squared = ((prediction.forces[a] - prediction.forces[b]) ** 2).sum(axis=1)  # (ΣN,)
        forces += np.sqrt(frame_mean(squared, prediction.offsets))
        stress += np.linalg.norm(voigt[a] - voigt[b], axis=1)
    return Disagreement(
        energy=prediction.formation_energies.std(axis=0),
        forces=forces / len(pairs),
        stress=stress / len(pairs),
    )


def max_disagreement(prediction: CommitteePrediction) -> Disagreement:
    """Return the largest deviation of a member from the mean (UQ on heterogeneous data).

    - energy: CBE, eq. (1), ``max_k |e_k − <e>|``, here per atom so that frames of different
      sizes compare;
    - forces: CBF, eqs. (2)-(3), ``max_i max_k |F_i^k − <F_i>|``;
    - stress: likewise, ``max_k`` of the norm of the six Voigt components (not in the paper).

    ABF, eq. (2), is ``atom_disagreement(prediction, "max")``.

    Raises
    ------
    ValueError
        If there are fewer than two members, or a value is not finite.
    """
    per_atom = atom_disagreement(prediction, "max")
    energy = prediction.formation_energies
    voigt = prediction.stress[..., VOIGT[0], VOIGT[1]]
    return Disagreement(
        energy=np.abs(energy - energy.mean(axis=0)).max(axis=0),
        forces=frame_max(per_atom, prediction.offsets),
        stress=np.linalg.norm(voigt - voigt.mean(axis=0), axis=2).max(axis=0),
    )


DISAGREEMENTS: dict[str, Callable[[CommitteePrediction], Disagreement]] = {
    "std": std_disagreement,
    "component": component_disagreement,
    "unbiased": unbiased_disagreement,
    "pairwise": pairwise_disagreement,
    "max": max_disagreement,
}
"""Form in a config file -> function."""


# --- per atom and per component ----------------------------------------------------------------


def _atom_pairwise(forces: Array) -> Array:
    pairs = list(combinations(range(len(forces)), 2))
    return sum(np.linalg.norm(forces[a] - forces[b], axis=1) for a, b in pairs) / len(pairs)


ATOM_FORMS: dict[str, Callable[[Array], Array]] = {
    "std": lambda f: np.sqrt(f.var(axis=0).sum(axis=1)),
    "component": lambda f: np.sqrt(f.var(axis=0).mean(axis=1)),
    "unbiased": lambda f: np.sqrt(f.var(axis=0, ddof=1).sum(axis=1)),
    "pairwise": _atom_pairwise,
    "max": lambda f: np.linalg.norm(f - f.mean(axis=0), axis=2).max(axis=0),
}
"""Form -> spread of the forces (M, ΣN, 3) on each atom, (ΣN,)."""


def atom_disagreement(prediction: CommitteePrediction, form: str = "max") -> Array:
    """Return the spread of the force on each atom, in eV/Å, shape (ΣN,).

    Parameters
    ----------
    prediction : CommitteePrediction
    form : {"std", "component", "unbiased", "pairwise", "max"}
        What a frame of this atom alone would have; ``max`` is ABF (UQ on heterogeneous data,
        eq. 2), ``unbiased`` the σ̂_F of CAGO, eq. (9).

    Raises
    ------
    ValueError
        If the form is unknown, there are fewer than two members, or a value is not finite.
    """
    if form not in ATOM_FORMS:
        raise ValueError(f"form is {form!r}; give one of {sorted(ATOM_FORMS)}")
    check_prediction(prediction)
    return ATOM_FORMS[form](prediction.forces)


def component_spread(prediction: CommitteePrediction) -> ComponentSpread:
    """Return σ̂ of every predicted number, σ̂² = 1/(M−1) Σ_m (y_m − ȳ)² (CAGO, eq. 2).

    Raises
    ------
    ValueError
        If there are fewer than two members, or a value is not finite.
    """
    check_prediction(prediction)
    return ComponentSpread(
        energy=prediction.formation_energies.std(axis=0, ddof=1),
        forces=prediction.forces.std(axis=0, ddof=1),
        stress=prediction.stress[..., VOIGT[0], VOIGT[1]].std(axis=0, ddof=1),
    )


# --- parts -------------------------------------------------------------------------------------


def _deviations(prediction: CommitteePrediction, ddof: int) -> Disagreement:
    force_var = prediction.forces.var(axis=0, ddof=ddof).sum(axis=1)  # (ΣN,)
    voigt = prediction.stress[..., VOIGT[0], VOIGT[1]]
    return Disagreement(
        energy=prediction.formation_energies.std(axis=0, ddof=ddof),
        forces=np.sqrt(frame_mean(force_var, prediction.offsets)),
        stress=np.sqrt(voigt.var(axis=0, ddof=ddof).sum(axis=1)),
    )


def frame_mean(per_atom: Array, offsets: NDArray[np.int64]) -> Array:
    """Average values over the atoms of each frame; (ΣN,) -> (S,)."""
    if len(offsets) == 1:
        return np.zeros(0)
    return np.add.reduceat(per_atom, offsets[:-1]) / np.diff(offsets)


def frame_max(per_atom: Array, offsets: NDArray[np.int64]) -> Array:
    """Return the largest value among the atoms of each frame; (ΣN,) -> (S,)."""
    if len(offsets) == 1:
        return np.zeros(0)
    return np.maximum.reduceat(per_atom, offsets[:-1])


def check_prediction(prediction: CommitteePrediction) -> None:
    """Raise ``ValueError`` where a spread would be none, wrong, or silently a partial mean."""
    if prediction.n_members < 2:
        raise ValueError(
            f"a committee of {prediction.n_members} ({prediction.members}) cannot disagree; give "
            "two members or more"
        )
    if (prediction.n_atoms < 1).any():
        empty = int(np.argmax(prediction.n_atoms < 1))
        raise ValueError(f"frame {empty} has no atoms; leave it out")
    for name in ("energies", "reference_energies", "forces", "stress"):
        values = getattr(prediction, name)
        if len(values) != len(prediction.members):
            raise ValueError(
                f"{name} of {len(values)} members in a committee of {len(prediction.members)} "
                f"({prediction.members}); a missing member changes every spread, so predict "
                "with all of them"
            )
        bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if bad.any():
            member = int(np.argmax(bad))
            raise ValueError(
                f"{name} of member {member} ({prediction.members[member]}) hold NaN or infinity; "
                "take those frames out first (CommitteePrediction.take_finite)"
            )
