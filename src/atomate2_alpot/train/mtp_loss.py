"""The loss of a moment tensor potential, and its normal equations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from motep.potentials.mtp.data import MTPData
from numpy.typing import NDArray

from atomate2_alpot.potentials.mtp import predict_with
from atomate2_alpot.potentials.mtp_engine import Surroundings, evaluate, surroundings
from atomate2_alpot.schemas import Frames, Prediction
from atomate2_alpot.train.mtp_settings import MtpSettings

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LabelledSet:
    """Labelled frames and their neighbours, which training needs many times.

    Parameters
    ----------
    frames : Frames
    near : list of Surroundings
        One for each frame.
    """

    frames: Frames
    near: list[Surroundings]

    @classmethod
    def of(cls, frames: Frames, cutoff: float) -> LabelledSet:
        """Find the neighbours within a cutoff in Å."""
        return cls(frames, list(surroundings(frames, cutoff)))

    def take(self, rows: NDArray[np.int64]) -> LabelledSet:
        """Return some of the frames."""
        return LabelledSet(self.frames[rows], [self.near[int(r)] for r in rows])

    def predict(self, data: MTPData) -> Prediction:
        """Evaluate the frames."""
        return predict_with(data, self.frames, self.near)


@dataclass(frozen=True)
class NormalEquations:
    """A loss Σ r², half its gradient Jᵀr, and half its Gauss-Newton Hessian JᵀJ."""

    loss: float
    gradient: Array
    hessian: Array


def has_forces(frames: Frames) -> NDArray[np.bool_]:
    """Tell which frames have forces, shape (S,)."""
    return np.isfinite(frames.forces[frames.offsets[:-1], 0])


def has_stress(frames: Frames) -> NDArray[np.bool_]:
    """Tell which frames have a stress, shape (S,)."""
    return np.isfinite(frames.stress[:, 0, 0])


def loss_of(frames: Frames, prediction: Prediction, settings: MtpSettings) -> float:
    """Return the loss of :class:`MtpSettings`; frames without a label add nothing to its term."""
    n = frames.n_atoms
    squares = ((prediction.forces - frames.forces) ** 2).sum(axis=1)
    forces = np.add.reduceat(squares, frames.offsets[:-1]) / n
    stress = ((prediction.stress - frames.stress) ** 2).sum(axis=(1, 2)) * (frames.volume / n) ** 2
    per_frame = settings.energy_weight * ((prediction.energy - frames.energy) / n) ** 2
    per_frame += settings.forces_weight * np.where(has_forces(frames), forces, 0)
    per_frame += settings.stress_weight * np.where(has_stress(frames), stress, 0)
    return float(per_frame.mean())


def normal_equations(
    data: MTPData, labelled: LabelledSet, settings: MtpSettings
) -> NormalEquations:
    """Linearise the same loss in the free parameters of a potential (``data.optimized``)."""
    size = data.number_of_parameters_optimized
    gradient, hessian, loss = np.zeros(size), np.zeros((size, size)), 0.0
    frames = labelled.frames
    forces = frames.split_atoms(frames.forces)
    for s, near in enumerate(labelled.near):
        targets = float(frames.energy[s]), forces[s], frames.stress[s]
        for residual, jacobian in _rows(data, near, targets, settings):
            loss += float(residual @ residual)
            gradient += jacobian @ residual
            hessian += jacobian @ jacobian.T
    n = len(frames)
    return NormalEquations(loss / n, gradient / n, hessian / n)


def _rows(
    data: MTPData, near: Surroundings, targets: tuple[float, Array, Array], settings: MtpSettings
) -> Iterator[tuple[Array, Array]]:
    """Yield weighted residuals, shape (k,), and their derivatives, (P, k), of what is labelled."""
    atoms, n = near.atoms, len(near.atoms)
    engine = evaluate(data, near, "train")
    energy, forces, stress = targets
    weight = np.sqrt(settings.energy_weight) / n
    slope = engine.jac_energy(atoms).parameters
    yield weight * np.array([engine.results["energy"] - energy]), weight * slope[:, None]
    if settings.forces_weight and np.isfinite(forces).all():
        weight = np.sqrt(settings.forces_weight / n)
        slope = engine.jac_forces(atoms).parameters
        yield (
            weight * (engine.results["forces"] - forces).ravel(),
            weight * slope.reshape(len(slope), -1),
        )
    if settings.stress_weight and np.isfinite(stress).all():
        weight = np.sqrt(settings.stress_weight) * atoms.get_volume() / n
        slope = engine.jac_stress(atoms).parameters
        found = engine.results["stress"][[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
        yield weight * (found - stress).ravel(), weight * slope.reshape(len(slope), -1)
