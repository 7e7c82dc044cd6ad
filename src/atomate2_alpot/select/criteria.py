"""Query by committee: on raw disagreement (MP-ALOE) or on the estimated error (TrainsPot, CAGO)."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from atomate2_alpot.schemas import CommitteeDoc, CommitteePrediction, Frames, Settings
from atomate2_alpot.select.criterion import (
    QUANTITIES,
    Criterion,
    Judged,
    spread_columns,
)
from atomate2_alpot.select.known import Known
from atomate2_alpot.uncertainty import (
    Calibration,
    calibrated_threshold,
    calibration_from_dict,
    component_spread,
)
from atomate2_alpot.uncertainty.disagreement import frame_max, frame_mean

Array = NDArray[np.float64]

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

    def factors(self, frames: Frames) -> Array:
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


class RawThresholds(Settings):
    """Thresholds on the disagreement itself; ANY of the three selects. Defaults are MP-ALOE's."""

    energy: float = Field(0.1, gt=0, description="Threshold in eV/atom (formation energy).")
    forces: float = Field(0.1, gt=0, description="Threshold in eV/Å.")
    stress: float = Field(0.1, gt=0, description="Threshold in eV/Å³.")
    form: Literal["std", "pairwise", "component", "unbiased", "max"] = Field(
        "std",
        description="std: the paper's; pairwise: what its published code computes; component: per "
        "component (TrainsPot's D); unbiased: std with 1/(M-1); max: CBE and CBF.",
    )
    element_factors: ElementFactors | None = Field(
        default_factory=ElementFactors, description="Factors on all thresholds; null = none."
    )
    size_factor: bool = Field(
        True, description="Multiply the thresholds by sqrt(n_atoms / 2), as MP-ALOE's code does."
    )


class QueryByCommittee(Criterion, RawThresholds):
    """Select a candidate when ANY of three disagreements exceeds its threshold.

    Defaults are MP-ALOE's. Candidates that the committee finds unphysical are rejected first.
    """

    kind: Literal["committee"] = "committee"

    @property
    def thresholds(self) -> dict[str, float]:
        """The three base thresholds by quantity."""
        return {name: getattr(self, name) for name in QUANTITIES}

    def factor(self, frames: Frames) -> Array:
        """Return what each frame's thresholds are multiplied by, shape (S,)."""
        factor = np.sqrt(frames.n_atoms / 2) if self.size_factor else np.ones(len(frames))
        if self.element_factors is not None:
            factor = factor * self.element_factors.factors(frames)
        return factor

    def judge(
        self,
        frames: Frames,
        prediction: CommitteePrediction,
        known: Known,  # noqa: ARG002
    ) -> Judged:
        """Compare disagreements with their thresholds."""
        columns = spread_columns(prediction, self.form)
        limits = {n: t * self.factor(frames) for n, t in self.thresholds.items()}
        exceeds = np.any([columns[f"{n}_spread"] > limit for n, limit in limits.items()], axis=0)
        verdict = np.where(exceeds, "selected", "agreed").astype(object)
        ratios = [columns[f"{n}_spread"] / limit for n, limit in limits.items()]
        return Judged(verdict, np.max(ratios, axis=0), columns)


class CalibratedQuery(Criterion):
    """Select a candidate when ANY estimated error exceeds its target.

    The committee's own calibrations turn the spread of each component into a standard deviation
    σ; that σ > ε is the disagreement above τ = a·ε_thr of TrainsPot (§II A 6) said the other way
    round. Targets default to the paper's. Choose from what passes at random, as it does, or by
    any sampler.
    """

    kind: Literal["calibrated"] = "calibrated"
    energy: float | None = Field(0.001, gt=0, description="Target error, eV/atom; null = none.")
    forces: float | None = Field(0.1, gt=0, description="Target error, eV/Å; null = none.")
    stress: float | None = Field(0.001, gt=0, description="Target error, eV/Å³; null = none.")
    form: Literal["component", "vector", "max"] = Field(
        "component",
        description="What of a frame is compared. component: root mean square over components, as "
        "an RMSE; vector: of force vectors; max: the atom with the largest σ (CBF).",
    )
    element_factors: ElementFactors | None = Field(
        None, description="Factors on all targets; null = none."
    )
    fallback: RawThresholds | None = Field(
        None,
        description="Thresholds on the disagreement itself, for a committee that has no "
        "calibration, as a pretrained one in iteration 1; null = that is an error.",
    )

    @model_validator(mode="after")
    def _some_target(self) -> Self:
        if not self.targets:
            raise ValueError("energy, forces and stress are all null: give a target error")
        return self

    @property
    def targets(self) -> dict[str, float]:
        """Target errors by quantity, for those that have one."""
        found = {name: getattr(self, name) for name in QUANTITIES}
        return {name: target for name, target in found.items() if target is not None}

    @property
    def thresholds(self) -> dict[str, float]:
        """The targets, under the names of what is compared with them."""
        return {f"{name}_sigma": target for name, target in self.targets.items()}

    def used(self, committee: CommitteeDoc | None) -> Criterion:
        """Return this criterion, or the fallback's if a calibration is missing.

        Raises
        ------
        ValueError
            If a calibration is missing and there is no fallback, or an estimated error does not
            grow with the disagreement.
        """
        have = {} if committee is None else _calibrations(committee)
        missing = [name for name in self.targets if name not in have]
        if missing and self.fallback is not None:
            fields = {n: getattr(self.fallback, n) for n in RawThresholds.model_fields}
            return QueryByCommittee(**self.limits, **fields)
        if missing:
            members = [] if committee is None else [m.label for m in committee.members]
            raise ValueError(
                f"select.criterion (calibrated): the committee {members} has no calibration of "
                f"{missing}. Give `fallback`, thresholds on its raw disagreement; set "
                f"{missing[0]}: null; or use criterion kind `committee`"
            )
        for name, target in self.targets.items():
            try:
                calibrated_threshold(have[name], target)
            except ValueError as error:
                raise ValueError(f"select.criterion (calibrated), {name}: {error}") from error
        return self

    def factor(self, frames: Frames) -> Array:
        """Return what each frame's targets are multiplied by, shape (S,)."""
        if self.element_factors is None:
            return np.ones(len(frames))
        return self.element_factors.factors(frames)

    def judge(self, frames: Frames, prediction: CommitteePrediction, known: Known) -> Judged:
        """Compare estimated errors with their targets."""
        if known.committee is None:
            raise ValueError("a calibrated criterion needs `known.committee`, whose calibrations")
        sigma = self.sigma(prediction, _calibrations(known.committee))
        ratio = np.max([sigma[n] / target for n, target in self.targets.items()], axis=0)
        ratio = ratio / self.factor(frames)
        verdict = np.where(ratio > 1, "selected", "agreed").astype(object)
        form = {"vector": "unbiased"}.get(self.form, self.form)
        columns = {f"{name}_sigma": values for name, values in sigma.items()}
        return Judged(verdict, ratio, {**spread_columns(prediction, form), **columns})

    def sigma(
        self, prediction: CommitteePrediction, calibrations: dict[str, Calibration]
    ) -> dict[str, Array]:
        """Return the estimated error of each frame, for the quantities that are calibrated.

        Each component's σ is squared, and these are averaged over the 3N components of the forces
        and the six of the stress (``component``), over atoms and summed over xyz (``vector``), or
        the largest over atoms is taken (``max``); for the latter two the six are summed.

        Returns
        -------
        dict of str to array, shape (S,)
            ``energy`` in eV/atom, ``forces`` in eV/Å, ``stress`` in eV/Å³.
        """
        spread = component_spread(prediction)
        square = {n: c.apply(getattr(spread, n)) ** 2 for n, c in calibrations.items()}
        found = {}
        if "energy" in square:
            found["energy"] = np.sqrt(square["energy"])
        if "forces" in square:
            atoms, offsets = square["forces"].sum(axis=1), prediction.offsets
            per_frame = frame_max if self.form == "max" else frame_mean
            share = 3 if self.form == "component" else 1
            found["forces"] = np.sqrt(per_frame(atoms, offsets) / share)
        if "stress" in square:
            share = 6 if self.form == "component" else 1
            found["stress"] = np.sqrt(square["stress"].sum(axis=1) / share)
        return found


def _calibrations(committee: CommitteeDoc) -> dict[str, Calibration]:
    given = committee.calibrations or {}
    return {name: calibration_from_dict(d) for name, d in given.items()}
