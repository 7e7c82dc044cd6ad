"""Errors of a committee against labels, in the forms that each paper calibrates against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atomate2_alpot.schemas import CommitteePrediction, Frames
from atomate2_alpot.uncertainty.disagreement import (
    VOIGT,
    Disagreement,
    check_prediction,
    component_disagreement,
    component_spread,
    frame_max,
    frame_mean,
)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MeanErrors:
    """Errors of the committee's mean (UQ on heterogeneous data, eqs. 4-6); NaN without a label.

    Parameters
    ----------
    energy : array, shape (S,)
        e_E = ``|E_DFT − <E>| / N`` in eV/atom; beside CBE.
    atoms : array, shape (ΣN,)
        e_i = ``|F_i_DFT − <F_i>|`` in eV/Å; beside ABF.
    forces : array, shape (S,)
        e_F = max_i e_i in eV/Å; beside CBF.
    """

    energy: Array
    atoms: Array
    forces: Array


@dataclass(frozen=True)
class Points:
    """What a calibration is fitted to: matching spreads and errors of one property.

    Parameters
    ----------
    spread : array, shape (n,)
        Disagreement, not negative.
    error : array, shape (n,)
        Error in the same unit; signed where it is one of a component.
    frame : array of int, shape (n,)
        Frame each point comes from.
    """

    spread: Array
    error: Array
    frame: NDArray[np.int64]


def mean_errors(frames: Frames, prediction: CommitteePrediction) -> MeanErrors:
    """Return the errors of the committee's mean; energies on the scale of the labels.

    Raises
    ------
    ValueError
        If frames and prediction do not match, or the prediction is not finite.
    """
    _check_match(frames, prediction)
    atoms = np.linalg.norm(prediction.forces.mean(axis=0) - frames.forces, axis=1)
    return MeanErrors(
        energy=np.abs(prediction.energies.mean(axis=0) - frames.energy) / frames.n_atoms,
        atoms=atoms,
        forces=frame_max(atoms, frames.offsets),
    )


def member_errors(frames: Frames, prediction: CommitteePrediction) -> Disagreement:
    """Return ε_α of TrainsPot, eq. (2): RMS over members of the deviation from the label.

    ε² = 1/M Σ_j (L_j − L_DFT)², averaged like :func:`~.disagreement.component_disagreement`
    over atoms and components; NaN where a frame has no label.

    Raises
    ------
    ValueError
        If frames and prediction do not match, or the prediction is not finite.
    """
    _check_match(frames, prediction)
    energy = (prediction.energies - frames.energy) / frames.n_atoms  # (M, S)
    forces = ((prediction.forces - frames.forces) ** 2).mean(axis=(0, 2))  # (ΣN,)
    stress = ((prediction.stress - frames.stress) ** 2).mean(axis=(0, 2, 3))  # (S,)
    return Disagreement(
        energy=np.sqrt((energy**2).mean(axis=0)),
        forces=np.sqrt(frame_mean(forces, frames.offsets)),
        stress=np.sqrt(stress),
    )


def component_points(frames: Frames, prediction: CommitteePrediction) -> dict[str, Points]:
    """Return σ̂ and ȳ − y of every labelled number: what CAGO calibrates, eqs. (2) and (5).

    Returns
    -------
    dict of str to Points
        ``energy`` (eV/atom, one point a frame), ``forces`` (eV/Å, three an atom), ``stress``
        (eV/Å³, six Voigt components a frame).

    Raises
    ------
    ValueError
        If frames and prediction do not match, or the prediction is not finite.
    """
    _check_match(frames, prediction)
    spread, index = component_spread(prediction), np.arange(len(frames))
    energy = (prediction.energies.mean(axis=0) - frames.energy) / frames.n_atoms
    forces = prediction.forces.mean(axis=0) - frames.forces
    stress = (prediction.stress.mean(axis=0) - frames.stress)[:, VOIGT[0], VOIGT[1]]
    pairs = {
        "energy": (spread.energy, energy, index),
        "forces": (spread.forces, forces, np.repeat(frames.frame_index, 3)),
        "stress": (spread.stress, stress, np.repeat(index, 6)),
    }
    return {name: labelled_points(s, e, frame) for name, (s, e, frame) in pairs.items()}


def frame_points(frames: Frames, prediction: CommitteePrediction) -> dict[str, Points]:
    """Return D and ε of every labelled frame: what TrainsPot fits a line to, eqs. (1)-(2).

    As :func:`~.disagreement.component_disagreement` and :func:`member_errors`, but D with the
    unbiased variance, so that the slope also holds for :func:`~.disagreement.component_spread`.

    Returns
    -------
    dict of str to Points
        ``energy`` (eV/atom), ``forces`` (eV/Å), ``stress`` (eV/Å³): one point a frame each.

    Raises
    ------
    ValueError
        If frames and prediction do not match, or the prediction is not finite.
    """
    error, spread = member_errors(frames, prediction), component_disagreement(prediction)
    unbiased = np.sqrt(prediction.n_members / (prediction.n_members - 1))
    index = np.arange(len(frames))
    return {
        name: labelled_points(unbiased * getattr(spread, name), getattr(error, name), index)
        for name in ("energy", "forces", "stress")
    }


def labelled_points(spread: Array, error: Array, frame: NDArray[np.int64]) -> Points:
    """Flatten spreads and errors of any one shape, leaving out those without a label (NaN)."""
    spread, error = spread.reshape(-1), error.reshape(-1)
    keep = np.isfinite(error)
    return Points(spread[keep], error[keep], frame[keep])


def _check_match(frames: Frames, prediction: CommitteePrediction) -> None:
    if not np.array_equal(frames.offsets, prediction.offsets):
        raise ValueError(
            f"{len(frames)} frames with {frames.offsets[-1]} atoms, but a prediction on "
            f"{len(prediction.n_atoms)} with {prediction.offsets[-1]}; predict these frames"
        )
    check_prediction(prediction)
