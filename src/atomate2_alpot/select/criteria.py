"""Query by committee: which candidates the members disagree on (MP-ALOE, METHODS.md §1)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from atomate2_alpot.schemas import CommitteePrediction, Frames, ScoreTable, Settings
from atomate2_alpot.uncertainty import DISAGREEMENTS

NOBLE_GASES: tuple[int, ...] = (2, 10, 18, 36, 54, 86)
LANTHANOIDS: tuple[int, ...] = tuple(range(57, 72))
ACTINOIDS: tuple[int, ...] = tuple(range(89, 104))


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
            One row per frame, in order; verdicts as documented there.

        Raises
        ------
        ValueError
            If a member is not finite for more than ``max_nonfinite_fraction`` of the frames.
        """
        self._check_members(prediction)
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

    def _check_members(self, prediction: CommitteePrediction) -> None:
        owner = np.repeat(np.arange(len(prediction.n_atoms)), prediction.n_atoms)
        for m, member in enumerate(prediction.members):
            bad = ~np.isfinite(prediction.energies[m])
            bad[owner[~np.isfinite(prediction.forces[m]).all(axis=1)]] = True
            if len(bad) and bad.mean() > self.max_nonfinite_fraction:
                raise ValueError(
                    f"committee member {m} ({member}) gave NaN or infinity for {bad.sum()} of "
                    f"{len(bad)} candidates, more than max_nonfinite_fraction="
                    f"{self.max_nonfinite_fraction:g}; replace the member or raise the limit"
                )


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
