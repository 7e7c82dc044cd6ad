"""What every trainer is given, and the registry that finds the one for some settings."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

import numpy as np

from atomate2_alpot.potentials.base import PACKAGES
from atomate2_alpot.schemas import EpochTable, Frames, PotentialSpec, Settings
from atomate2_alpot.train.errors import TrainingError

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class TrainingRun(Generic[S]):
    """One training run.

    Parameters
    ----------
    train, valid : Frames
        Labelled. The test set is none of the trainer's business.
    settings : Settings
        Of the trainer that its ``kind`` names.
    e0s : dict of str to float
        eV by symbol, for every element of both sets.
    seed : int
    name : str
        Names files and messages.
    start_from : Path or None
        Model file to continue from.
    """

    train: Frames
    valid: Frames
    settings: S
    e0s: dict[str, float]
    seed: int
    name: str
    start_from: Path | None = None

    def check_e0s(self) -> None:
        """Raise ``TrainingError`` if an element of either set has no E0."""
        for kind, frames in {"train": self.train, "valid": self.valid}.items():
            missing = [e for e in frames.elements if e not in self.e0s]
            if missing:
                raise TrainingError(f"e0s: no value for {missing} of the {kind} set of {self.name}")

    def fingerprint(self) -> str:
        """Return 16 hex digits that differ between runs on other data or with other settings."""
        content = hashlib.sha256()
        for frames in (self.train, self.valid):
            content.update("".join(frames.frame_id).encode())
            for labels in (frames.energy, frames.forces, frames.stress):
                content.update(np.ascontiguousarray(labels).tobytes())
        if self.start_from is not None:
            content.update(self.start_from.read_bytes())
        rest = [self.settings.model_dump(), self.e0s, self.seed, self.name]
        content.update(json.dumps(rest, sort_keys=True).encode())
        return content.hexdigest()[:16]


class Fitter(Protocol):
    """What the module of a trainer offers; its backend of potentials has the same name."""

    def fit(self, run: TrainingRun[Any], folder: Path) -> tuple[Path, EpochTable]:
        """Train in a folder, taking up what a killed run of the same fingerprint left there.

        Returns the model file, which the backend loads on any machine, and validation metrics
        by epoch. Raises ``TrainingError``.
        """
        ...

    def starting_point(self, spec: PotentialSpec) -> tuple[Path, dict[str, float]]:
        """Return the model file that a recipe names, and E0s it keeps, eV by symbol."""
        ...


FITTERS: dict[str, str] = {
    "ace": "atomate2_alpot.train.ace",
    "mace": "atomate2_alpot.train.mace",
    "mtp": "atomate2_alpot.train.mtp",
}
"""``kind`` of settings -> module that is a :class:`Fitter`; imported on use."""


CLOSED_FORM: frozenset[str] = frozenset({"ace"})
"""Kinds that are solved in one step: they cannot start from another model."""


def fitter_for(kind: str) -> Fitter:
    """Return the trainer for settings of a kind.

    Raises
    ------
    TrainingError
        If the package it needs is not there, naming what to install.
    """
    try:
        return cast(Fitter, import_module(FITTERS[kind]))
    except ImportError as error:
        raise TrainingError(
            f"settings.kind={kind!r} needs a package that is not installed or does not load "
            f"({error}); install it with: pip install {PACKAGES.get(kind, kind)}"
        ) from error
