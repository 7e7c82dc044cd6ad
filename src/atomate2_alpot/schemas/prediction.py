"""What potentials and committees say about a batch of frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Prediction:
    """One potential on S frames with ΣN atoms; NaN rows where it cannot evaluate a frame.

    Parameters
    ----------
    energy : array, shape (S,)
        Total energies in eV.
    forces : array, shape (ΣN, 3)
        Forces in eV/Å.
    stress : array, shape (S, 3, 3)
        Stresses in eV/Å³, positive under tension.
    """

    energy: NDArray[np.float64]
    forces: NDArray[np.float64]
    stress: NDArray[np.float64]


@dataclass(frozen=True)
class CommitteePrediction:
    """M potentials on S frames with ΣN atoms.

    Parameters
    ----------
    energies : array, shape (M, S)
        Total energies in eV, each on its member's own energy scale.
    forces : array, shape (M, ΣN, 3)
        Forces in eV/Å.
    stress : array, shape (M, S, 3, 3)
        Stresses in eV/Å³, positive under tension.
    reference_energies : array, shape (M, S)
        Energy in eV of the same atoms in each member's elemental reference states; zeros when
        the committee has no references.
    offsets : array of int, shape (S + 1,)
        First atom of each frame and the total.
    members : tuple of str
        Labels of the members.
    """

    energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    stress: NDArray[np.float64]
    reference_energies: NDArray[np.float64]
    offsets: NDArray[np.int64]
    members: tuple[str, ...]

    @property
    def n_members(self) -> int:
        """M."""
        return len(self.energies)

    @property
    def n_atoms(self) -> NDArray[np.int64]:
        """Atoms of each frame, shape (S,)."""
        return np.diff(self.offsets)

    @property
    def formation_energies(self) -> NDArray[np.float64]:
        """Energy above the elemental references in eV/atom, shape (M, S).

        Only these compare between members: functionals, pseudopotentials and corrections shift
        total energies by constants per element (MP-ALOE's code; METHODS.md §1).
        """
        return (self.energies - self.reference_energies) / self.n_atoms

    def take_finite(self) -> tuple[CommitteePrediction, NDArray[np.bool_]]:
        """Return the prediction on the frames where every member is finite, and their mask."""
        atom_ok = np.isfinite(self.forces).all(axis=(0, 2))
        frame_ok = np.isfinite(self.energies).all(axis=0) & np.isfinite(self.stress).all(
            axis=(0, 2, 3)
        )
        owner = np.repeat(np.arange(len(self.n_atoms)), self.n_atoms)
        frame_ok &= np.bincount(owner, weights=~atom_ok, minlength=len(self.n_atoms)) == 0
        atoms = frame_ok[owner]
        return (
            CommitteePrediction(
                energies=self.energies[:, frame_ok],
                forces=self.forces[:, atoms],
                stress=self.stress[:, frame_ok],
                reference_energies=self.reference_energies[:, frame_ok],
                offsets=np.concatenate([[0], np.cumsum(self.n_atoms[frame_ok])]),
                members=self.members,
            ),
            frame_ok,
        )
