"""Random displacements and strains (MP-ALOE, METHODS.md §1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pymatgen.core import Lattice, Structure
from scipy.special import ndtr, ndtri

from atomate2_alpot.schemas import Settings
from atomate2_alpot.structures.lattice import LATTICE_FACTOR

N_STRAINS: int = 6
"""The second-order strain states of atomate2's elastic workflow: xx yy zz, 2 yz, 2 xz, 2 xy."""


class ScrambleSettings(Settings):
    """How far candidates are moved from their prototypes; defaults are MP-ALOE's."""

    lattice_factor: float = Field(
        LATTICE_FACTOR, gt=0, description="Factor on lengths after the lattice guess."
    )
    sigma: float = Field(
        0.020,
        ge=0,
        description="Standard deviation of each component of an atom's displacement, in "
        "fractional units, times the number of atoms (σ = sigma / n_atoms).",
    )
    displacement_cut: float = Field(3.0, gt=0, description="Truncation of displacements, in σ.")
    strain_sigma: float = Field(
        0.02, ge=0, lt=0.2, description="Standard deviation of each of the six strains."
    )
    strain_cut: float = Field(2.0, gt=0, description="Truncation of strains, in σ.")


FIRST_ITERATION = ScrambleSettings(lattice_factor=0.92, sigma=0.005)
"""MP-ALOE's first iteration: denser, less disordered."""

LATER_ITERATIONS = ScrambleSettings()


def truncated_normal(uniform: NDArray[np.float64], cut: float) -> NDArray[np.float64]:
    """Turn uniform numbers in (0, 1) into standard normal ones truncated at ±``cut``."""
    low = ndtr(-cut)
    return ndtri(low + uniform * (1 - 2 * low))


def strain_deformations(strains: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the deformation that applies six strain states in turn.

    State k with magnitude m is the Green-Lagrange strain of atomate2's elastic workflow (Voigt
    m e_k for k = xx, yy, zz and 2 m e_k for yz, xz, xy), its deformation the upper-triangular
    F with FᵀF = 1 + 2E.

    Parameters
    ----------
    strains : array, shape (..., 6)

    Returns
    -------
    array, shape (..., 3, 3)
        F₆ F₅ F₄ F₃ F₂ F₁; a lattice of row vectors L becomes L Fᵀ.
    """
    total = np.broadcast_to(np.eye(3), (*strains.shape[:-1], 3, 3)).copy()
    for k in range(N_STRAINS):
        step = np.broadcast_to(np.eye(3), total.shape).copy()
        magnitude = strains[..., k]
        if k < 3:
            step[..., k, k] = np.sqrt(1 + 2 * magnitude)
        else:
            row, column = ((1, 2), (0, 2), (0, 1))[k - 3]
            step[..., row, column] = 2 * magnitude
            step[..., column, column] = np.sqrt(1 - 4 * magnitude**2)
        total = step @ total
    return total


def scramble_arrays(
    fractional: NDArray[np.float64],
    cells: NDArray[np.float64],
    uniform: NDArray[np.float64],
    settings: ScrambleSettings,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Displace and strain many cells with the same number of atoms.

    Parameters
    ----------
    fractional : array, shape (B, N, 3)
    cells : array, shape (B, 3, 3)
        Lattice vectors as rows, Å.
    uniform : array, shape (B, 3 N + 6)
        Random numbers in (0, 1): displacements first, then strains.
    settings : ScrambleSettings

    Returns
    -------
    fractional : array, shape (B, N, 3)
    cells : array, shape (B, 3, 3)
    """
    n = fractional.shape[1]
    moves = truncated_normal(uniform[:, : 3 * n], settings.displacement_cut)
    moves = moves.reshape(-1, n, 3) * (settings.sigma / n)
    strains = truncated_normal(uniform[:, 3 * n :], settings.strain_cut) * settings.strain_sigma
    return fractional + moves, cells @ np.swapaxes(strain_deformations(strains), -1, -2)


def scramble(
    structure: Structure, rng: np.random.Generator, settings: ScrambleSettings = LATER_ITERATIONS
) -> Structure:
    """Displace every atom and apply six random strains in turn.

    Each fractional coordinate moves by a truncated normal (±3σ) with σ = 0.020 / n_atoms; then
    six strain modes act in turn, each with a magnitude from a truncated normal (±2σ), σ = 0.02.

    Parameters
    ----------
    structure : Structure
    rng : numpy.random.Generator
    settings : ScrambleSettings
        ``lattice_factor`` is not used here.
    """
    n = len(structure)
    fractional, cells = scramble_arrays(
        structure.frac_coords[None],
        structure.lattice.matrix[None],
        rng.random((1, 3 * n + N_STRAINS)),
        settings,
    )
    return Structure(Lattice(cells[0]), structure.species, fractional[0])
