"""Moment tensor potentials, evaluated by motep's compiled engine: a file or an artifact."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from motep.potentials.mtp.base import Jacobian
from motep.potentials.mtp.data import MTPData
from numpy.typing import NDArray

from atomate2_alpot.potentials.base import PotentialError
from atomate2_alpot.potentials.coverage import blank, covered, spread
from atomate2_alpot.potentials.mtp_engine import Surroundings, evaluate, surroundings
from atomate2_alpot.potentials.mtp_file import MtpModel, read_model
from atomate2_alpot.potentials.options import check_options
from atomate2_alpot.schemas import Frames, PotentialSpec, Prediction
from atomate2_alpot.settings import SETTINGS

OPTIONS: frozenset[str] = frozenset({"elements"})


class MtpPredictor:
    """A moment tensor potential.

    Parameters
    ----------
    model : MtpModel
    """

    def __init__(self, model: MtpModel) -> None:
        self.model = model
        self.elements: frozenset[int] | None = frozenset(int(z) for z in model.data.species)

    @property
    def _data(self) -> MTPData:
        return self.model.data

    def predict(self, frames: Frames) -> Prediction:
        """Evaluate frames; NaN for an element it does not know, and a stress without a cell."""
        known = covered(frames, self.elements)
        inside = frames[known]
        near = surroundings(inside, float(self._data.radial_basis.max))
        return spread(predict_with(self._data, inside, near), frames, known)

    def features(self, frames: Frames) -> NDArray[np.float64]:
        """Return ∂E/∂θ of each frame, shape (S, D): motep's configuration mode.

        θ are the moment, species and radial coefficients (Podryabinkin and Shapeev, Comput.
        Mater. Sci. 140, 171, 2017, eq. 7). Scaling a radial function up and the moments made of
        it down changes nothing: D − (number of radial functions) directions at most are
        independent, and an :class:`~atomate2_alpot.uncertainty.ActiveSet` needs ``complete``.
        NaN where the potential lacks an element.
        """
        known = covered(frames, self.elements)
        out = np.full((len(frames), self._n_features), np.nan)
        for s, rows in zip(np.flatnonzero(known), self._describe(frames[known]), strict=True):
            out[s] = rows.sum(axis=0)
        return out

    def atom_features(self, frames: Frames) -> NDArray[np.float64]:
        """Return ∂E_i/∂θ of each atom, shape (ΣN, D): motep's neighbourhood mode.

        Atoms of a frame sum to its :meth:`features`; NaN as there.
        """
        known = covered(frames, self.elements)
        out = np.full((len(frames.numbers), self._n_features), np.nan)
        for s, rows in zip(np.flatnonzero(known), self._describe(frames[known]), strict=True):
            out[frames.offsets[s] : frames.offsets[s + 1]] = rows
        return out

    @property
    def _n_features(self) -> int:
        return int(self._data.number_of_parameters_optimized)

    def _describe(self, frames: Frames) -> Iterator[NDArray[np.float64]]:
        """Yield ∂E_i/∂θ of the atoms of each frame, shape (N, D)."""
        for frame in surroundings(frames, float(self._data.radial_basis.max)):
            jacobian: Jacobian = evaluate(self._data, frame, "train").jac_energies(frame.atoms)
            yield jacobian.parameters.T


def predict_with(data: MTPData, frames: Frames, near: Iterable[Surroundings]) -> Prediction:
    """Evaluate frames of known elements with their neighbours, one for each frame."""
    out = blank(frames)
    for s, frame in enumerate(near):
        results = evaluate(data, frame, "run").results
        out.energy[s] = results["energy"]
        out.forces[frames.offsets[s] : frames.offsets[s + 1]] = results["forces"]
        out.stress[s] = results["stress"][[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
    return out


def load(spec: PotentialSpec) -> MtpPredictor:
    """Load a model; option ``elements``, by type, for a file that does not say.

    Raises
    ------
    PotentialError
        If there is no such file, or it holds no trained potential.
    """
    check_options(spec, OPTIONS)
    return MtpPredictor(read_model(find_model(spec), spec.kwargs.get("elements")))


def find_model(spec: PotentialSpec) -> Path:
    """Return the file of a recipe: its artifact, or a path.

    Raises
    ------
    PotentialError
        Naming the model and where it was looked for.
    """
    if spec.artifact is not None:
        return spec.artifact.unpack(SETTINGS.CACHE_DIR)
    if spec.name is None:
        raise PotentialError("backend 'mtp' has no released models; name an .mtp file")
    candidates = [Path(spec.name).expanduser(), SETTINGS.MODEL_DIR.expanduser() / spec.name]
    for path in candidates:
        if path.is_file():
            return path
    raise PotentialError(
        f"mtp model {spec.name!r}: no such file (looked for {[str(p) for p in candidates]})"
    )
