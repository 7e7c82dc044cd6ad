"""Sequential D-optimal sampling: AutoPot's Algorithm 2.1 on the candidates that passed."""

from __future__ import annotations

import itertools
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from atomate2_alpot.schemas import Frames
from atomate2_alpot.select.active import fit_active_sets
from atomate2_alpot.select.descriptors import Described
from atomate2_alpot.select.known import NOTHING_KNOWN, Known
from atomate2_alpot.select.rows import feature_rows
from atomate2_alpot.select.samplers import Sample, mapped, shuffled
from atomate2_alpot.uncertainty import select_sequentially
from atomate2_alpot.uncertainty.sequential import THRESHOLDS


class SequentialSampler(Described):
    """Frames that extrapolate from those labelled so far, each judged after the ones before it.

    With falling thresholds on the grade γ, the active set is updated at once with each frame
    that is chosen; many others interpolate after that (AutoPot, Algorithm 2.1). Fewer than the
    budget are chosen when no more extrapolate.
    """

    needs_training: ClassVar[bool] = True
    needs_scores: ClassVar[bool] = False
    kind: Literal["sequential"] = "sequential"
    thresholds: tuple[float, ...] = Field(
        THRESHOLDS, min_length=1, description="Falling thresholds on γ, the last one 1 or more."
    )

    @field_validator("thresholds")
    @classmethod
    def _falling(cls, thresholds: tuple[float, ...]) -> tuple[float, ...]:
        falling = all(a > b for a, b in itertools.pairwise(thresholds))
        if not falling or thresholds[-1] < 1:
            raise ValueError(f"{list(thresholds)}: give falling numbers, the last one 1 or more")
        return thresholds

    def sample(
        self, frames: Frames, budget: int, seed: int, known: Known = NOTHING_KNOWN
    ) -> Sample:
        """Choose frames; those that cannot be described are left out and counted.

        Raises
        ------
        ValueError
            If no labelled frame, or no candidate, can be described.
        """
        active = fit_active_sets(known, self)
        order = shuffled(frames, seed)
        rows = feature_rows(frames.take(order), self, known)
        if not len(rows):
            raise ValueError(
                f"sampler sequential: descriptor {self.descriptor!r} describes none of "
                f"{len(frames)} frames; does it know their elements {frames.elements}?"
            )
        chosen = select_sequentially(active, rows, rows.offsets, self.thresholds, budget)
        taken = rows.frames[chosen.frames]
        finite = chosen.grades[np.isfinite(chosen.grades)]
        info = {
            **self.model_dump(mode="json"),
            "n_by_threshold": [int((chosen.thresholds == t).sum()) for t in self.thresholds],
            "largest_grade": float(finite.max()) if len(finite) else None,
            "n_with_unseen_element": len(chosen.grades) - len(finite),
            "n_not_described": len(frames) - len(rows.frames),
        }
        return mapped(frames, np.sort(order[taken]), info)
