"""Made-up predictions of a committee."""

from __future__ import annotations

import numpy as np

from atomate2_alpot.schemas import CommitteePrediction

VOIGT = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


def random_prediction(rng, n_members=3, sizes=(2, 5, 1, 3)) -> CommitteePrediction:
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    s = rng.normal(size=(n_members, len(sizes), 3, 3))
    return CommitteePrediction(
        energies=rng.normal(size=(n_members, len(sizes))) * 10,
        forces=rng.normal(size=(n_members, offsets[-1], 3)),
        stress=(s + s.transpose(0, 1, 3, 2)) / 2,
        reference_energies=rng.normal(size=(n_members, len(sizes))),
        offsets=offsets,
        members=tuple("abcdefgh"[:n_members]),
    )
