"""Equations of a linear ACE: what its coefficients must meet, frame by frame."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from atomate2_alpot.potentials.ace_basis import ACEBasis, Bonds, find_bonds
from atomate2_alpot.schemas import Frames
from atomate2_alpot.train.ace_settings import AceSettings
from atomate2_alpot.train.errors import TrainingError
from atomate2_alpot.uncertainty.disagreement import VOIGT

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]

QUANTITIES: tuple[str, ...] = ("energy", "forces", "stress")

CENTRES: int = 32
"""Atoms whose derivatives are held at a time."""

PROGRESS_STEPS: int = 6
"""Lines of progress that an assembly logs."""


@dataclass(frozen=True)
class Equations:
    """r equations ``values · c = target`` in eV, of one frame.

    Parameters
    ----------
    values : array, shape (r, Z·D)
    target : array, shape (r,)
        Energy without E0s, force components, stress components times the volume.
    weight : array, shape (r,)
        Of each equation in the fit.
    unit : array, shape (r,)
        Turns a residual into eV/atom, eV/Å or eV/Å³.
    quantity : array of int, shape (r,)
        Place in :data:`QUANTITIES`.
    """

    values: Array
    target: Array
    weight: Array
    unit: Array
    quantity: NDArray[np.int64]

    def take(self, which: NDArray[np.bool_]) -> Equations:
        """Return some of the equations."""
        return Equations(
            self.values[which],
            self.target[which],
            self.weight[which],
            self.unit[which],
            self.quantity[which],
        )


def equations(
    basis: ACEBasis, frames: Frames, e0s: Array, settings: AceSettings, name: str
) -> Iterator[Equations]:
    """Yield the equations of each frame's labels; what has no label has no equation.

    Parameters
    ----------
    basis : ACEBasis
    frames : Frames
        Labelled; of the basis' elements.
    e0s : array, shape (Z,)
        eV.
    settings : AceSettings
        For the weights.
    name : str
        What the log says is being assembled.

    Raises
    ------
    TrainingError
        If two atoms of a frame are in one place.
    """
    step = max(1, len(frames) // PROGRESS_STEPS)
    for s in range(len(frames)):
        frame = frames[s]
        with np.errstate(divide="ignore", invalid="ignore"):
            values = _derivatives(basis, frame)
        if not np.isfinite(values).all():
            raise TrainingError(
                f"{name}: two atoms of frame {frame.frame_id[0]} are in one place; take it out"
            )
        yield _labelled(frame, values, e0s, basis, settings)
        if (s + 1) % step == 0 and s + 1 < len(frames):
            logger.info("%s: equations of %d/%d frames", name, s + 1, len(frames))


def _labelled(
    frame: Frames, values: Array, e0s: Array, basis: ACEBasis, settings: AceSettings
) -> Equations:
    n, volume = int(frame.n_atoms[0]), float(frame.volume[0])
    species = np.searchsorted(basis.elements, frame.numbers)
    stress = frame.stress[0][VOIGT[0], VOIGT[1]] * (volume if volume > 0 else np.nan)
    sizes = [1, 3 * n, 6]
    found = Equations(
        values=values,
        target=np.concatenate([frame.energy - e0s[species].sum(), frame.forces.ravel(), stress]),
        weight=np.repeat(
            [
                settings.energy_weight / n**0.5,
                settings.forces_weight,
                settings.stress_weight / n**0.5,
            ],
            sizes,
        ),
        unit=np.repeat([1 / n, 1, 1 / volume if volume > 0 else 0], sizes),
        quantity=np.repeat(np.arange(3), sizes),
    )
    return found.take(np.isfinite(found.target))


def _derivatives(basis: ACEBasis, frame: Frames) -> Array:
    """Return E, F and V·σ of one frame by the coefficients, shape (1 + 3N + 6, Z·D)."""
    n, n_elements, d = len(frame.numbers), len(basis.elements), basis.n_functions
    energy = np.zeros((n_elements, d))
    forces = np.zeros((n_elements, n, 3 * d))
    virial = np.zeros((n_elements, 3, 3, d))
    for bonds in find_bonds(frame, basis.elements, basis.cutoff, CENTRES):
        values, slopes = basis.slopes(bonds)
        np.add.at(energy, bonds.species, values)
        flat = slopes.reshape(-1, 3 * d)
        for z in np.unique(bonds.species):
            own = bonds.pairs[0] == z
            forces[z] += _incidence(bonds, own, n) @ flat[own]
            virial[z] += (bonds.vector[own].T @ flat[own]).reshape(3, 3, d)
    stress = (virial + virial.swapaxes(1, 2))[:, VOIGT[0], VOIGT[1]] / 2
    rows = [energy[:, None], forces.reshape(n_elements, 3 * n, d), stress]
    return np.concatenate(rows, axis=1).transpose(1, 0, 2).reshape(-1, n_elements * d)


def _incidence(bonds: Bonds, own: NDArray[np.bool_], n_atoms: int) -> csr_matrix:
    """From bonds to forces, shape (N, e): a bond's slope pulls its centre along, its end back."""
    centre, end = bonds.centre[own] + bonds.atoms.start, bonds.neighbour[own]
    edges = np.arange(len(centre))
    signs = np.repeat([1.0, -1.0], len(centre))
    place = (np.concatenate([centre, end]), np.concatenate([edges, edges]))
    return csr_matrix((signs, place), (n_atoms, len(centre)))
