"""Extrapolation as a criterion: candidates that the training set does not span (AutoPot)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from atomate2_alpot.schemas import ActiveSetTable, CommitteePrediction, Frames
from atomate2_alpot.select.active import fit_active_sets
from atomate2_alpot.select.blocks import blocks
from atomate2_alpot.select.criteria import CalibratedQuery, QueryByCommittee
from atomate2_alpot.select.criterion import AllPhysical, Criterion, Judged, spread_columns
from atomate2_alpot.select.descriptors import Described
from atomate2_alpot.select.kinds import by_kind
from atomate2_alpot.select.known import Known
from atomate2_alpot.select.rows import BLOCK_ATOMS, feature_rows
from atomate2_alpot.uncertainty import ActiveSets


class ExtrapolationGrade(Criterion, Described):
    """Select a candidate whose grade γ, the largest of its atoms', exceeds a threshold.

    γ is relative to the active set of each element among the frames labelled so far: 1 or less
    interpolates, up to 2 extrapolates accurately, up to 10 reliably (AutoPot, §2.2). A candidate
    with an element that no labelled frame holds has γ = ∞ and is selected.
    """

    needs_training: ClassVar[bool] = True
    kind: Literal["grade"] = "grade"
    threshold: float = Field(2.0, ge=1, description="Select above this γ; up to 1 interpolates.")
    max_grade: float | None = Field(
        None, description="Reject above this γ (10 is risky), as max_grade; null = no limit."
    )
    clusters: Annotated[int, Field(ge=1)] | Literal["birch"] | None = Field(
        None,
        description="Local sets: so many k-means clusters of the labelled environments, or birch; "
        "the smallest γ counts (UQ on heterogeneous data). null = one set.",
    )
    filter_forces: bool = Field(
        False, description="Leave atoms with outlying labelled |F| out of the active set."
    )

    @model_validator(mode="after")
    def _room_between(self) -> Self:
        if self.max_grade is not None and self.max_grade <= self.threshold:
            raise ValueError(
                f"max_grade={self.max_grade:g} is not above threshold={self.threshold:g}: nothing "
                "could be selected"
            )
        return self

    @property
    def thresholds(self) -> dict[str, float]:
        """Threshold and limit on the grade."""
        limit = {} if self.max_grade is None else {"max_grade": self.max_grade}
        return {"grade": self.threshold, **limit}

    def reference(self, known: Known) -> ActiveSetTable:
        """Return the active sets of the training frames."""
        return fit_active_sets(known, self, self.clusters, self.filter_forces).to_table()

    def judge(self, frames: Frames, prediction: CommitteePrediction, known: Known) -> Judged:
        """Compare grades with their threshold."""
        grades = self.grade(frames, known)
        verdict = np.where(grades > self.threshold, "selected", "interpolates").astype(object)
        if self.max_grade is not None:
            verdict[np.isfinite(grades) & (grades > self.max_grade)] = "max_grade"
        verdict[np.isnan(grades)] = "not_described"
        columns = {**spread_columns(prediction, "std"), "grade": grades}
        return Judged(verdict, grades / self.threshold, columns)

    def grade(self, frames: Frames, known: Known) -> NDArray[np.float64]:
        """Return γ of each frame, shape (S,): infinite for an unseen element, NaN if not described.

        Raises
        ------
        ValueError
            If ``known`` has no active sets (see :meth:`reference`).
        """
        if known.active is None:
            raise ValueError("criterion grade needs `known.active`; make it with `reference`")
        sets = ActiveSets.from_table(known.active)
        grades = np.full(len(frames), np.nan)
        for first, block in blocks(frames, BLOCK_ATOMS):
            rows = feature_rows(block, self, known)
            if len(rows):
                worst = np.maximum.reduceat(sets.grade(rows), rows.offsets[:-1])
                grades[first + rows.frames] = worst
        return grades


CRITERIA: dict[str, type[Criterion]] = {
    "calibrated": CalibratedQuery,
    "committee": QueryByCommittee,
    "grade": ExtrapolationGrade,
    "physical": AllPhysical,
}
"""``kind`` in a config file -> class."""

AnyCriterion = Annotated[
    Annotated[
        QueryByCommittee | CalibratedQuery | ExtrapolationGrade | AllPhysical,
        Field(discriminator="kind"),
    ],
    BeforeValidator(by_kind(CRITERIA, "committee")),
]
"""A criterion as a field of settings; ``kind`` tells which."""
