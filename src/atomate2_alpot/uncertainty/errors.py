"""Errors of predictions against labels, with one definition for every table and figure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atomate2_alpot.schemas import Frames, Prediction
from atomate2_alpot.uncertainty.disagreement import VOIGT

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Quantity:
    """Reference and prediction of one quantity, flattened over what it has components of.

    Parameters
    ----------
    frame : array of int, shape (n,)
        Frame each value belongs to.
    reference, predicted : array, shape (n,)
    """

    frame: NDArray[np.int64]
    reference: Array
    predicted: Array

    @property
    def error(self) -> Array:
        """Prediction minus reference."""
        return self.predicted - self.reference


def compare(frames: Frames, prediction: Prediction) -> dict[str, Quantity]:
    """Put labels and predictions side by side; components without a label are left out.

    Parameters
    ----------
    frames : Frames
    prediction : Prediction
        On the same frames.

    Returns
    -------
    dict of str to Quantity
        ``energy`` in eV/atom, one value per frame; ``forces`` in eV/Å, three per atom;
        ``stress`` in eV/Å³, six Voigt components per frame.
    """
    n_atoms, index = frames.n_atoms, np.arange(len(frames))
    stress = frames.stress[:, VOIGT[0], VOIGT[1]]
    pairs = {
        "energy": (index, frames.energy / n_atoms, prediction.energy / n_atoms),
        "forces": (
            np.repeat(frames.frame_index, 3),
            frames.forces.reshape(-1),
            prediction.forces.reshape(-1),
        ),
        "stress": (
            np.repeat(index, 6),
            stress.reshape(-1),
            prediction.stress[:, VOIGT[0], VOIGT[1]].reshape(-1),
        ),
    }
    result = {}
    for name, (frame, reference, predicted) in pairs.items():
        labelled = np.isfinite(reference)
        result[name] = Quantity(frame[labelled], reference[labelled], predicted[labelled])
    return result


def error_metrics(frames: Frames, prediction: Prediction) -> dict[str, float]:
    """Return MAE and RMSE of energy per atom, force and stress components (units.METRICS).

    Raises
    ------
    ValueError
        If a prediction is not finite where there is a label, or there is no label at all.
    """
    metrics: dict[str, float] = {}
    for name, quantity in compare(frames, prediction).items():
        if not len(quantity.reference):
            continue
        error = quantity.error
        if not np.isfinite(error).all():
            bad = np.unique(quantity.frame[~np.isfinite(error)])
            raise ValueError(f"{name}: no finite prediction for labelled frames {bad[:3].tolist()}")
        metrics[f"{name}_mae"] = float(np.abs(error).mean())
        metrics[f"{name}_rmse"] = float(np.sqrt((error**2).mean()))
    if not metrics:
        raise ValueError("no frame is labelled; errors need labels")
    return metrics
