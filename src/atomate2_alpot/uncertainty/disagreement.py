"""Spread of a committee per frame, in the two forms of MP-ALOE.

Symbols: M members, S frames, N atoms of a frame; e formation energy per atom, F force on an
atom, s stress.
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
    _check(prediction)
    force_var = prediction.forces.var(axis=0).sum(axis=1)  # (ΣN,)
    stress_var = prediction.stress[..., VOIGT[0], VOIGT[1]].var(axis=0).sum(axis=1)  # (S,)
    return Disagreement(
        energy=prediction.formation_energies.std(axis=0),
        forces=np.sqrt(_frame_mean(force_var, prediction.offsets)),
        stress=np.sqrt(stress_var),
    )


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
    _check(prediction)
    voigt = prediction.stress[..., VOIGT[0], VOIGT[1]]  # (M, S, 6)
    forces = np.zeros(len(prediction.n_atoms))
    stress = np.zeros(len(prediction.n_atoms))
    pairs = list(combinations(range(prediction.n_members), 2))
    for a, b in pairs:
        squared = ((prediction.forces[a] - prediction.forces[b]) ** 2).sum(axis=1)  # (ΣN,)
        forces += np.sqrt(_frame_mean(squared, prediction.offsets))
        stress += np.linalg.norm(voigt[a] - voigt[b], axis=1)
    return Disagreement(
        energy=prediction.formation_energies.std(axis=0),
        forces=forces / len(pairs),
        stress=stress / len(pairs),
    )


DISAGREEMENTS: dict[str, Callable[[CommitteePrediction], Disagreement]] = {
    "std": std_disagreement,
    "pairwise": pairwise_disagreement,
}
"""Form in a config file -> function."""


def _frame_mean(per_atom: Array, offsets: NDArray[np.int64]) -> Array:
    """Average values over the atoms of each frame; ``per_atom`` has shape (ΣN,)."""
    if len(offsets) == 1:
        return np.zeros(0)
    return np.add.reduceat(per_atom, offsets[:-1]) / np.diff(offsets)


def _check(prediction: CommitteePrediction) -> None:
    if prediction.n_members < 2:
        raise ValueError(
            f"a committee of {prediction.n_members} ({prediction.members}) cannot disagree; give "
            "two members or more"
        )
    for name in ("energies", "forces", "stress"):
        values = getattr(prediction, name)
        bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if bad.any():
            member = int(np.argmax(bad))
            raise ValueError(
                f"{name} of member {member} ({prediction.members[member]}) hold NaN or infinity; "
                "take those frames out first (CommitteePrediction.take_finite)"
            )
