"""Query by committee: which candidates the members disagree on (MP-ALOE, METHODS.md §1)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from atomate2_alpot.schemas import CommitteePrediction, Frames, ScoreTable, Settings
from atomate2_alpot.uncertainty import DISAGREEMENTS

NOBLE_GASES: tuple[int, ...] = (2, 10, 18, 36, 54, 86)
LANTHANOIDS: tuple[int, ...] = tuple(range(57, 72))
ACTINOIDS: tuple[int, ...] = tuple(range(89, 104))

QUANTITIES: tuple[str, ...] = ("energy", "forces", "stress")

MIN_JUDGED: int = 50
"""Candidates below which one that a member cannot evaluate weighs no more than 1 in as many."""

Gaps = dict[str, dict[str, int]]
"""Member -> frames it could not evaluate, by quantity."""


class ElementFactors(Settings):
    """Factors on the thresholds of frames that hold certain elements; each counts once."""

    noble_gas: float = Field(5.0, gt=0, description="He Ne Ar Kr Xe Rn: they rarely bond.")
    helium: float = Field(3.0, gt=0, description="He, on top of noble_gas.")
    neon: float = Field(2.0, gt=0, description="Ne, on top of noble_gas.")
    technetium: float = Field(4.0, gt=0, description="Tc.")
    actinoid: float = Field(4.0, gt=0, description="Ac-Lr: frozen cores describe them badly.")
    lanthanoid: float = Field(3.0, gt=0, description="La-Lu: likewise.")

    def factors(self, frames: Frames) -> NDArray[np.float64]:
        """Return the product of the factors that apply to each frame, shape (S,)."""
        groups = (
            (NOBLE_GASES, self.noble_gas),
            ((2,), self.helium),
            ((10,), self.neon),
            ((43,), self.technetium),
            (ACTINOIDS, self.actinoid),
            (LANTHANOIDS, self.lanthanoid),
        )
        result = np.ones(len(frames))
        for members, factor in groups:
            atoms = np.isin(frames.numbers, members)
            present = np.bincount(frames.frame_index, weights=atoms, minlength=len(frames)) > 0
            result[present] *= factor
        return result


class QueryByCommittee(Settings):
    """Select a candidate when ANY of three disagreements exceeds its threshold.

    Defaults are MP-ALOE's. Candidates that the committee finds unphysical are rejected first.
    """

    energy: float = Field(0.1, gt=0, description="Threshold in eV/atom (formation energy).")
    forces: float = Field(0.1, gt=0, description="Threshold in eV/Å.")
    stress: float = Field(0.1, gt=0, description="Threshold in eV/Å³.")
    form: Literal["std", "pairwise"] = Field(
        "std", description="std: the paper's; pairwise: what its published code computes."
    )
    element_factors: ElementFactors | None = Field(
        default_factory=ElementFactors, description="Factors on all thresholds; null = none."
    )
    size_factor: bool = Field(
        True, description="Multiply the thresholds by sqrt(n_atoms / 2), as MP-ALOE's code does."
    )
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
    def thresholds(self) -> dict[str, float]:
        """The three base thresholds by criterion."""
        return {"energy": self.energy, "forces": self.forces, "stress": self.stress}

    def factor(self, frames: Frames) -> NDArray[np.float64]:
        """Return what each frame's thresholds are multiplied by, shape (S,)."""
        factor = np.sqrt(frames.n_atoms / 2) if self.size_factor else np.ones(len(frames))
        if self.element_factors is not None:
            factor = factor * self.element_factors.factors(frames)
        return factor

    def score(self, frames: Frames, prediction: CommitteePrediction) -> ScoreTable:
        """Judge every candidate.

        Parameters
        ----------
        frames : Frames
        prediction : CommitteePrediction
            On the same frames; NaN where a member could not evaluate one.

        Returns
        -------
        ScoreTable
            One row per frame, in order; verdicts as documented there. A frame that a member
            could not evaluate is ``not_finite``; whether these are too many is for
            :meth:`check_members` to say, when all are counted.
        """
        finite, rows = prediction.take_finite()
        spread = DISAGREEMENTS[self.form](finite)
        physical = _physical_medians(finite)
        factor = self.factor(frames)
        exceeds = np.zeros(rows.sum(), bool)
        for name, threshold in self.thresholds.items():
            exceeds |= getattr(spread, name) > threshold * factor[rows]
        verdict = np.where(exceeds, "selected", "agreed").astype(object)
        for name, values in physical.items():
            limit = getattr(self, name)
            if limit is not None:
                verdict[values > limit] = name
        columns = {
            "energy_spread": spread.energy,
            "forces_spread": spread.forces,
            "stress_spread": spread.stress,
            **physical,
        }
        return ScoreTable.from_columns(
            frame_id=frames.frame_id,
            candidate=frames.table["candidate"].to_pylist(),
            n_atoms=frames.n_atoms,
            threshold_factor=factor,
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


def _physical_medians(prediction: CommitteePrediction) -> dict[str, NDArray[np.float64]]:
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
