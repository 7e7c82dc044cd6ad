"""A MACE that trains in seconds, and frames to train it on."""

from __future__ import annotations

import numpy as np

from atomate2_alpot.schemas import Frames, Labels
from atomate2_alpot.testing import ToyPotential
from atomate2_alpot.train import MaceSettings, fit_e0s
from atomate2_alpot.train.run import TrainingRun

TINY = MaceSettings(
    num_channels=4,
    correlation=1,
    max_ell=1,
    num_interactions=1,
    r_max=4.0,
    max_num_epochs=3,
    eval_interval=1,
)


def toy_frames(n: int, seed: int = 0) -> Frames:
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        cell = np.eye(3) * 3.2 + rng.normal(0, 0.15, (3, 3))
        numbers = rng.choice([13, 28], 2)
        frames.append(
            Frames.from_arrays(numbers, np.array([[0, 0, 0], [0.5] * 3]) @ cell, [cell], [2])
        )
    batch = Frames.concat(frames)
    labels = ToyPotential(5).predict(batch)
    return batch.with_labels(Labels(labels.energy, labels.forces, labels.stress))


def run_of(frames: Frames, **update) -> TrainingRun:
    options = {"settings": TINY, "e0s": fit_e0s(frames), "seed": 1, "name": "tiny", **update}
    return TrainingRun(train=frames[:16], valid=frames[16:], **options)
