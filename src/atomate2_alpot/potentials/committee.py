"""A committee of potentials whose energies compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from atomate2_alpot.potentials.base import PotentialError, Predictor, load_predictor
from atomate2_alpot.schemas import (
    CommitteeDoc,
    CommitteePrediction,
    Frames,
    PotentialSpec,
    Prediction,
)


class Committee:
    """An ordered committee: recipes, and each member's elemental references.

    Members are loaded at their first prediction.

    Parameters
    ----------
    specs : sequence of PotentialSpec
    references : sequence of dict, optional
        Per member: energy in eV/atom of each element's reference state, by symbol. Without
        them, members of different functionals do not compare in energy.

    Raises
    ------
    ValueError
        If there is no member, or not one reference each.
    """

    def __init__(
        self,
        specs: Sequence[PotentialSpec],
        references: Sequence[dict[str, float]] | None = None,
        reference_source: str | None = None,
    ) -> None:
        self._hold(
            CommitteeDoc(
                members=list(specs),
                references=None if references is None else list(references),
                reference_source=reference_source,
            )
        )

    @classmethod
    def from_doc(cls, doc: CommitteeDoc) -> Self:
        """Build from a document, with the calibrations that it carries."""
        committee = cls.__new__(cls)
        committee._hold(doc)
        return committee

    def _hold(self, doc: CommitteeDoc) -> None:
        self.doc = doc
        self._predictors: list[Predictor | None] = [None] * len(doc.members)

    @property
    def members(self) -> list[PotentialSpec]:
        """The recipes, in order."""
        return self.doc.members

    def __len__(self) -> int:
        return len(self.members)

    def predictor(self, index: int) -> Predictor:
        """Return a loaded member."""
        loaded = self._predictors[index]
        if loaded is None:
            loaded = self._predictors[index] = load_predictor(self.members[index])
        return loaded

    def check_elements(self, symbols: Sequence[str]) -> None:
        """Raise ``PotentialError`` if a member does not know an element, naming both.

        A word that is no element's symbol is an error before any member is loaded.
        """
        if wrong := [s for s in symbols if s not in atomic_numbers]:
            raise PotentialError(f"{wrong} are not chemical elements; give symbols such as 'Fe'")
        for index, spec in enumerate(self.members):
            known = self.predictor(index).elements
            unknown = [s for s in symbols if known is not None and atomic_numbers[s] not in known]
            if unknown:
                covered = sorted(known or ())
                raise PotentialError(
                    f"committee member {index} ({spec.label}) does not know {unknown}; it covers "
                    f"{[chemical_symbols[z] for z in covered]}. Leave these elements out, or "
                    "replace the member"
                )

    def predict(self, frames: Frames, allow_nonfinite: bool = False) -> CommitteePrediction:
        """Evaluate every member on every frame.

        Parameters
        ----------
        frames : Frames
        allow_nonfinite : bool
            Leave NaN where a member cannot evaluate a frame, instead of raising.

        Returns
        -------
        CommitteePrediction

        Raises
        ------
        PotentialError
            If a member lacks an element or a reference, or returns NaN or infinity.
        """
        self.check_elements(frames.elements)
        predictions = [self.predictor(i).predict(frames) for i in range(len(self))]
        if not allow_nonfinite:
            for index, prediction in enumerate(predictions):
                self._require_finite(index, prediction, frames)
        return CommitteePrediction(
            energies=np.stack([p.energy for p in predictions]),
            forces=np.stack([p.forces for p in predictions]),
            stress=np.stack([p.stress for p in predictions]),
            reference_energies=self.reference_energies(frames),
            offsets=frames.offsets,
            members=tuple(m.label for m in self.members),
        )

    def reference_energies(self, frames: Frames) -> NDArray[np.float64]:
        """Return the energy of each frame's atoms in the reference states, eV, shape (M, S)."""
        if self.doc.references is None:
            return np.zeros((len(self), len(frames)))
        composition = frames.composition()
        rows = []
        for spec, reference in zip(self.members, self.doc.references, strict=True):
            missing = [e for e in frames.elements if e not in reference]
            if missing:
                raise PotentialError(
                    f"committee member {spec.label} has no elemental reference for {missing}; "
                    f"references cover {sorted(reference)}"
                )
            rows.append(composition @ np.array([reference[e] for e in frames.elements]))
        return np.array(rows)

    def _require_finite(self, index: int, prediction: Prediction, frames: Frames) -> None:
        bad = ~np.isfinite(prediction.energy) | ~np.isfinite(prediction.stress).all(axis=(1, 2))
        bad[frames.frame_index[~np.isfinite(prediction.forces).all(axis=1)]] = True
        if bad.any():
            worst = [frames.frame_id[s] for s in np.flatnonzero(bad)[:3]]
            raise PotentialError(
                f"committee member {index} ({self.members[index].label}) gave NaN or infinity for "
                f"{bad.sum()} of {len(frames)} frames (first: {worst}); remove these frames or "
                "replace the member"
            )
