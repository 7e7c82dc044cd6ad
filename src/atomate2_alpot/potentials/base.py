"""The contract of every backend, and the registry that loads them lazily."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from atomate2_alpot.schemas import Frames, PotentialSpec, Prediction


@runtime_checkable
class Predictor(Protocol):
    """A loaded potential."""

    elements: frozenset[int] | None
    """Atomic numbers it knows; None when it does not say."""

    def predict(self, frames: Frames) -> Prediction:
        """Evaluate all frames; NaN rows where a frame cannot be evaluated."""
        ...


@runtime_checkable
class FeaturePredictor(Predictor, Protocol):
    """A potential that also describes frames by its own learned features."""

    def features(self, frames: Frames) -> NDArray[np.float64]:
        """Return one feature vector per frame, shape (S, D)."""
        ...


@runtime_checkable
class AtomFeaturePredictor(Predictor, Protocol):
    """A potential that also describes the environment of each atom."""

    def atom_features(self, frames: Frames) -> NDArray[np.float64]:
        """Return one feature vector per atom, shape (ΣN, D); D is the same for all elements.

        NaN for all atoms of a frame that cannot be described.
        """
        ...


BACKENDS: dict[str, str] = {
    "ace": "atomate2_alpot.potentials.ace",
    "ase": "atomate2_alpot.potentials.ase",
    "chgnet": "atomate2_alpot.potentials.chgnet",
    "mace": "atomate2_alpot.potentials.mace",
    "matgl": "atomate2_alpot.potentials.matgl",
    "mtp": "atomate2_alpot.potentials.mtp",
    "toy": "atomate2_alpot.testing.toy",
}
"""Backend name -> module with a function ``load(spec) -> Predictor``; imported on use."""

PACKAGES: dict[str, str] = {
    "ace": "'atomate2-alpot[ace]'",
    "chgnet": "'atomate2-alpot[chgnet]'",
    "mace": "mace-torch",
    "mtp": "'atomate2-alpot[mtp]'",
}
"""Backend name -> what pip installs for it, where that is not the backend's own name."""


class PotentialError(RuntimeError):
    """A potential that cannot be found, loaded or used; the message says what to do."""


def load_predictor(spec: PotentialSpec) -> Predictor:
    """Load the potential that a recipe describes.

    Parameters
    ----------
    spec : PotentialSpec

    Raises
    ------
    PotentialError
        If the backend is unknown, its package is not installed, or the model cannot be found.
    """
    module_name = BACKENDS.get(spec.backend)
    if module_name is None:
        near = get_close_matches(spec.backend, BACKENDS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise PotentialError(
            f"unknown backend {spec.backend!r}{hint} (registered backends: {sorted(BACKENDS)})"
        )
    try:
        load: Callable[[PotentialSpec], Predictor] = import_module(module_name).load
        return load(spec)
    except ImportError as error:  # most backends import their package while they load
        package = PACKAGES.get(spec.backend, spec.backend)
        raise PotentialError(
            f"backend {spec.backend!r} needs a package that is not installed or does not load "
            f"({error}); install it with: pip install {package}"
        ) from error
