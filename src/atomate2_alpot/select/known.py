"""What is known when candidates are judged and chosen, besides the candidates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from atomate2_alpot.schemas import ActiveSetTable, CommitteeDoc, Frames


@dataclass(frozen=True)
class Known:
    """What criteria and samplers may ask for.

    Parameters
    ----------
    training : Frames
        Frames labelled so far, without the test set: what extrapolation is measured from.
    committee : CommitteeDoc, optional
        The committee that screens, with its calibrations.
    active : ActiveSetTable, optional
        Active sets of the training frames, for a criterion that grades.
    scores : mapping of str to float
        By ``frame_id``: what the criterion found, over its threshold (``ScoreTable.score``).
    """

    training: Frames = field(default_factory=Frames.empty)
    committee: CommitteeDoc | None = None
    active: ActiveSetTable | None = None
    scores: Mapping[str, float] = field(default_factory=dict)


NOTHING_KNOWN = Known()
