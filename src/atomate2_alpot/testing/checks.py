"""Contract checks: what every predictor must satisfy, for our tests and users' own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from atomate2_alpot.potentials.base import Predictor
from atomate2_alpot.schemas import Frames, Prediction

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
    refused: Frames | None = None,
) -> None:
    """Assert what :class:`atomate2_alpot.potentials.Predictor` promises.

    Shapes and finite values; forces and stress are derivatives of the energy; neither the rest
    of a batch nor its order matters; permuted atoms permute forces; moving all atoms changes
    nothing; a frame that cannot be evaluated costs itself only.

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
        eV/atom, eV/Å and eV/Å³, between evaluation alone and in a batch; ten times as much after
        a move or permutation of atoms, which rounds differently.
    refused : Frames, optional
        A frame that the predictor cannot evaluate.

    All tolerances are relative where the largest value exceeds 1 in these units.

    Raises
    ------
    AssertionError
        Naming the property that does not hold.
    """
    together = predictor.predict(frames)
    _check_shapes(together, frames)
    for s in range(len(frames)):
        frame, row = frames[s], _row(together, frames, s)
        _same(predictor.predict(frame), row, frame, batch_tolerance, "batch")
        _check_symmetries(predictor, frame, row, 10 * batch_tolerance)
        forces, stress = numerical_forces(predictor, frame), numerical_stress(predictor, frame)
        _close(row.forces, forces, force_tolerance, "forces = -dE/dx")
        _close(row.stress[0], stress, stress_tolerance, "stress = dE/dε/V")
    backwards = predictor.predict(frames[::-1])
    for s in range(len(frames)):
        row = _row(backwards, frames[::-1], len(frames) - 1 - s)
        _same(row, _row(together, frames, s), frames[s], 10 * batch_tolerance, "order of frames")
    if refused is not None:
        _check_refusal(predictor, frames, refused, 10 * batch_tolerance)


def _check_shapes(prediction: Prediction, frames: Frames) -> None:
    n, atoms = len(frames), int(frames.offsets[-1])
    for name, shape in (("energy", (n,)), ("forces", (atoms, 3)), ("stress", (n, 3, 3))):
        values = getattr(prediction, name)
        assert values.shape == shape, f"{name}: shape {values.shape}, not {shape}"
        assert np.isfinite(values).all(), f"{name}: not all values are finite"


def _check_symmetries(
    predictor: Predictor, frame: Frames, row: Prediction, tolerance: float
) -> None:
    shift = np.array([0.37, -0.11, 0.59])
    moved = _rebuilt(frame, frame.numbers, frame.positions + shift)
    _same(predictor.predict(moved), row, frame, tolerance, "translation")
    order = np.roll(np.arange(len(frame.numbers)), 1)[::-1]
    permuted = _rebuilt(frame, frame.numbers[order], frame.positions[order])
    expected = Prediction(row.energy, row.forces[order], row.stress)
    _same(predictor.predict(permuted), expected, frame, tolerance, "permutation of atoms")


def _check_refusal(predictor: Predictor, frames: Frames, refused: Frames, tolerance: float) -> None:
    mixed = Frames.concat([frames[0], refused, frames[1]])
    prediction = predictor.predict(mixed)
    row = _row(prediction, mixed, 1)
    for name in ("energy", "forces", "stress"):
        assert np.isnan(getattr(row, name)).all(), f"refused frame: {name} is not NaN"
    for position, s in ((0, 0), (2, 1)):
        expected = predictor.predict(frames[s])
        _same(_row(prediction, mixed, position), expected, frames[s], tolerance, "beside a refusal")


def _rebuilt(frame: Frames, numbers: NDArray, positions: NDArray) -> Frames:
    return Frames.from_arrays(numbers, positions, frame.cell, frame.n_atoms, pbc=frame.pbc)


def _row(prediction: Prediction, frames: Frames, s: int) -> Prediction:
    own = slice(frames.offsets[s], frames.offsets[s + 1])
    return Prediction(
        prediction.energy[s : s + 1], prediction.forces[own], prediction.stress[s : s + 1]
    )


def _same(
    actual: Prediction, expected: Prediction, frame: Frames, tolerance: float, what: str
) -> None:
    n = int(frame.n_atoms[0])
    _close(actual.energy / n, expected.energy / n, tolerance, f"{what}: energy")
    _close(actual.forces, expected.forces, tolerance, f"{what}: forces")
    _close(actual.stress, expected.stress, tolerance, f"{what}: stress")


def _close(actual: NDArray, expected: NDArray, tolerance: float, what: str) -> None:
    scale = max(1.0, float(np.max(np.abs(expected))))
    error = float(np.max(np.abs(np.asarray(actual) - np.asarray(expected)))) / scale
    assert error <= tolerance, f"{what}: largest deviation {error:.3g} > {tolerance:g}"
