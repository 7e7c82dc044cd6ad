"""What every criterion does: unphysical candidates are rejected, blind members named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from atomate2_alpot.schemas import (
    ActiveSetTable,
    CommitteeDoc,
    CommitteePrediction,
    Frames,
    ScoreTable,
    Settings,
)
from atomate2_alpot.select.known import NOTHING_KNOWN, Known
from atomate2_alpot.uncertainty import DISAGREEMENTS

Array = NDArray[np.float64]

QUANTITIES: tuple[str, ...] = ("energy", "forces", "stress")

MIN_JUDGED: int = 50
"""Candidates below which one that a member cannot evaluate weighs no more than 1 in as many."""

Gaps = dict[str, dict[str, int]]
"""Member -> frames it could not evaluate, by quantity."""


@dataclass(frozen=True)
class Judged:
    """What a criterion found for S candidates that every member could evaluate.

    Parameters
    ----------
    verdict : array of str, shape (S,)
        ``selected`` or why not.
    score : array, shape (S,), optional
        What was compared, over its threshold.
    columns : mapping of str to array
        More columns of :class:`ScoreTable`.
    """

    verdict: NDArray[np.object_]
    score: Array | None = None
    columns: Mapping[str, Array] = field(default_factory=dict)


class Criterion(Settings):
    """Base of the criteria: who is worth a label, were it not for the budget."""

    needs_training: ClassVar[bool] = False
    gives_scores: ClassVar[bool] = True

    formation_energy: float | None = Field(
        0.25, description="Reject above this median formation energy, eV/atom; null = off."
    )
    max_force: float | None = Field(
        50.0, gt=0, description="Reject above this median of the largest |F|, eV/Å; null = off."
    )
    mean_stress: float | None = Field(
        0.5, gt=0, description="Reject above this median |mean normal stress|, eV/Å³; null = off."
    )
    max_nonfinite_fraction: float = Field(
        0.1,
        ge=0,
        le=1,
        description="A member that returns NaN for more of the candidates than this is an error; "
        "below it these candidates are rejected as not_finite.",
    )

    @property
    def limits(self) -> dict[str, Any]:
        """The settings that all criteria share."""
        return {name: getattr(self, name) for name in Criterion.model_fields}

    @property
    def thresholds(self) -> dict[str, float]:
        """The base thresholds of what is compared."""
        return {}

    def used(self, committee: CommitteeDoc | None) -> Criterion:  # noqa: ARG002
        """Return the criterion that judges with this committee.

        Raises
        ------
        ValueError
            If the committee lacks what the criterion needs.
        """
        return self

    def reference(self, known: Known) -> ActiveSetTable:
        """Return the active sets of the training frames that :meth:`score` will ask for."""
        raise NotImplementedError(f"{type(self).__name__} measures from no training frames")

    def factor(self, frames: Frames) -> Array:
        """Return what each frame's thresholds are multiplied by, shape (S,)."""
        return np.ones(len(frames))

    def judge(self, frames: Frames, prediction: CommitteePrediction, known: Known) -> Judged:
        """Judge candidates by what the criterion compares; all predictions are finite."""
        raise NotImplementedError

    def score(
        self, frames: Frames, prediction: CommitteePrediction, known: Known = NOTHING_KNOWN
    ) -> ScoreTable:
        """Judge every candidate.

        Parameters
        ----------
        frames : Frames
        prediction : CommitteePrediction
            On the same frames; NaN where a member could not evaluate one.
        known : Known
            What the criterion needs beside them.

        Returns
        -------
        ScoreTable
            One row per frame, in order; verdicts as documented there. A frame that a member
            could not evaluate is ``not_finite``; whether these are too many is for
            :meth:`check_members` to say, when all are counted.
        """
        finite, rows = prediction.take_finite()
        judged = self.judge(frames[rows], finite, known)
        physical = physical_medians(finite)
        verdict = judged.verdict.copy()
        for name, values in physical.items():
            limit = getattr(self, name)
            if limit is not None:
                verdict[values > limit] = name
        columns = {**physical, **judged.columns}
        if judged.score is not None:
            columns["score"] = judged.score
        return ScoreTable.from_columns(
            frame_id=frames.frame_id,
            candidate=frames.table["candidate"].to_pylist(),
            n_atoms=frames.n_atoms,
            threshold_factor=self.factor(frames),
            verdict=_spread_out(verdict, rows, "not_finite").tolist(),
            **{name: _spread_out(v, rows, np.nan).astype(float) for name, v in columns.items()},
        )

    def check_members(self, gaps: Gaps, n_screened: int) -> None:
        """Refuse a member that could not evaluate too many of all screened candidates.

        Parameters
        ----------
        gaps : dict
            Of :func:`count_gaps`, summed over everything that was screened.
        n_screened : int
            A few candidates say little: fewer than :data:`MIN_JUDGED` are judged as that many.

        Raises
        ------
        ValueError
            If a member is not finite for more than ``max_nonfinite_fraction`` of the candidates,
            or for every one, naming it and the quantity.
        """
        allowed = self.max_nonfinite_fraction * max(n_screened, MIN_JUDGED)
        for member, counts in gaps.items():
            bad = counts["any"]
            blind = bad == n_screened > 1 and self.max_nonfinite_fraction < 1
            if bad > allowed or blind:
                each = ", ".join(f"{q} of {counts[q]}" for q in QUANTITIES if counts[q])
                raise ValueError(
                    f"committee member {member} gave NaN or infinity for {bad} of {n_screened} "
                    f"candidates ({each}), more than max_nonfinite_fraction="
                    f"{self.max_nonfinite_fraction:g}; replace the member or raise the limit"
                )


class AllPhysical(Criterion):
    """Pass every candidate that is not unphysical: the sampler alone decides."""

    gives_scores: ClassVar[bool] = False
    kind: Literal["physical"] = "physical"

    def judge(
        self,
        frames: Frames,
        prediction: CommitteePrediction,
        known: Known,  # noqa: ARG002
    ) -> Judged:
        """Pass all."""
        verdict = np.full(len(frames), "selected", dtype=object)
        return Judged(verdict, columns=spread_columns(prediction, "std"))


def spread_columns(prediction: CommitteePrediction, form: str) -> dict[str, Array]:
    """Return the disagreement of a form as columns of :class:`ScoreTable`."""
    spread = DISAGREEMENTS[form](prediction)
    return {f"{name}_spread": getattr(spread, name) for name in QUANTITIES}


def count_gaps(prediction: CommitteePrediction) -> Gaps:
    """Count the frames that each member could not evaluate.

    Returns
    -------
    dict
        For each member that has any, as "index (label)": how many frames are not finite in
        energy, forces, stress, and in any of them.
    """
    owner = np.repeat(np.arange(len(prediction.n_atoms)), prediction.n_atoms)
    gaps: Gaps = {}
    for m, member in enumerate(prediction.members):
        forces = np.zeros(len(prediction.n_atoms), bool)
        forces[owner[~np.isfinite(prediction.forces[m]).all(axis=1)]] = True
        bad = {
            "energy": ~np.isfinite(prediction.energies[m]),
            "forces": forces,
            "stress": ~np.isfinite(prediction.stress[m]).all(axis=(1, 2)),
        }
        any_bad = np.any(list(bad.values()), axis=0)
        if any_bad.any():
            counts = {name: int(rows.sum()) for name, rows in bad.items()}
            gaps[f"{m} ({member})"] = {**counts, "any": int(any_bad.sum())}
    return gaps


def add_gaps(parts: Iterable[Gaps]) -> Gaps:
    """Sum what :func:`count_gaps` found in parts."""
    total: Gaps = {}
    for part in parts:
        for member, counts in part.items():
            so_far = total.get(member, {})
            total[member] = {name: so_far.get(name, 0) + n for name, n in counts.items()}
    return total


def physical_medians(prediction: CommitteePrediction) -> dict[str, Array]:
    """Return medians over members of what the unphysical-structure filter looks at, each (S,)."""
    norms = np.linalg.norm(prediction.forces, axis=2)  # (M, ΣN)
    starts = prediction.offsets[:-1]
    largest = np.maximum.reduceat(norms, starts, axis=1) if len(starts) else norms[:, :0]
    normal = np.abs(np.trace(prediction.stress, axis1=2, axis2=3)) / 3  # (M, S)
    return {
        "formation_energy": np.median(prediction.formation_energies, axis=0),
        "max_force": np.median(largest, axis=0),
        "mean_stress": np.median(normal, axis=0),
    }


def _spread_out(values: NDArray, rows: NDArray[np.bool_], fill: float | str) -> NDArray:
    """Put values back to the rows they belong to, ``fill`` elsewhere."""
    out = np.full(len(rows), fill, dtype=object)
    out[rows] = values
    return out
