"""Contract checks: what every predictor must satisfy, for our tests and users' own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from atomate2_alpot.potentials.base import Predictor
from atomate2_alpot.schemas import Frames

FORCE_STEP: float = 4e-3
"""Å. Wide enough that a float32 energy still changes by more than its rounding."""

STRAIN_STEP: float = 1.5e-3


def numerical_forces(predictor: Predictor, frame: Frames, h: float = FORCE_STEP) -> NDArray:
    """Return −dE/dx of one frame by central differences, eV/Å, shape (N, 3)."""
    n = int(frame.n_atoms[0])
    moves = np.zeros((2 * 3 * n, n, 3))
    for k, (atom, axis) in enumerate(np.ndindex(n, 3)):
        moves[2 * k, atom, axis], moves[2 * k + 1, atom, axis] = h, -h
    moved = Frames.from_arrays(
        np.tile(frame.numbers, len(moves)),
        (frame.positions + moves).reshape(-1, 3),
        np.repeat(frame.cell, len(moves), axis=0),
        [n] * len(moves),
        pbc=np.repeat(frame.pbc, len(moves), axis=0),
    )
    energy = predictor.predict(moved).energy
    return -(energy[0::2] - energy[1::2]).reshape(n, 3) / (2 * h)


def numerical_stress(predictor: Predictor, frame: Frames, h: float = STRAIN_STEP) -> NDArray:
    """Return dE/dε / V of one frame by central differences, eV/Å³, shape (3, 3)."""
    stress = np.zeros((3, 3))
    for a, b in np.ndindex(3, 3):
        strained = []
        for sign in (1, -1):
            deform = np.eye(3)
            deform[a, b] += sign * h / 2
            deform[b, a] += sign * h / 2
            strained.append(
                Frames.from_arrays(
                    frame.numbers,
                    frame.positions @ deform,
                    frame.cell @ deform,
                    frame.n_atoms,
                    pbc=frame.pbc,
                )
            )
        energy = predictor.predict(Frames.concat(strained)).energy
        stress[a, b] = (energy[0] - energy[1]) / (2 * h) / frame.volume[0]
    return stress


def check_predictor(
    predictor: Predictor,
    frames: Frames,
    force_tolerance: float = 5e-3,
    stress_tolerance: float = 5e-4,
    batch_tolerance: float = 1e-5,
) -> None:
    """Assert that forces and stress are derivatives of the energy, and batches do not matter.

    Parameters
    ----------
    predictor : Predictor
    frames : Frames
        Two or more, of different sizes.
    force_tolerance : float
        eV/Å, against central differences.
    stress_tolerance : float
        eV/Å³, against central differences.
    batch_tolerance : float
        eV/atom, eV/Å and eV/Å³, between evaluation alone and in a batch.

    All tolerances are relative where the largest value exceeds 1 in these units.

    Raises
    ------
    AssertionError
        Naming the property that does not hold.
    """
    together = predictor.predict(frames)
    for s in range(len(frames)):
        alone = predictor.predict(frames[s])
        own = slice(frames.offsets[s], frames.offsets[s + 1])
        n = frames.n_atoms[s]
        _close(alone.energy[0] / n, together.energy[s] / n, batch_tolerance, "batch: energy")
        _close(alone.forces, together.forces[own], batch_tolerance, "batch: forces")
        _close(alone.stress[0], together.stress[s], batch_tolerance, "batch: stress")
        forces = numerical_forces(predictor, frames[s])
        _close(alone.forces, forces, force_tolerance, "forces = -dE/dx")
        stress = numerical_stress(predictor, frames[s])
        _close(alone.stress[0], stress, stress_tolerance, "stress = dE/dε/V")
    backwards = predictor.predict(frames[::-1])
    _close(backwards.energy[::-1], together.energy, batch_tolerance * 10, "order: energy")


def _close(actual: NDArray, expected: NDArray, tolerance: float, what: str) -> None:
    scale = max(1.0, float(np.max(np.abs(expected))))
    error = float(np.max(np.abs(np.asarray(actual) - np.asarray(expected)))) / scale
    assert error <= tolerance, f"{what}: largest deviation {error:.3g} > {tolerance:g}"
