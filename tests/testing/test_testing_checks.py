"""The checks of predictors find each kind of broken predictor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from atomate2_alpot.schemas import Frames, Prediction
from atomate2_alpot.testing import ToyPotential, check_predictor


@pytest.fixture
def frames(rng) -> Frames:
    batch = []
    for n in (2, 3):
        cell = np.eye(3) * (18.0 * n) ** (1 / 3) + rng.normal(0, 0.15, (3, 3))
        fractional = np.array([[0, 0, 0], [0.5, 0.5, 0.45], [0.5, 0.05, 0.5]])[:n]
        batch.append(Frames.from_arrays([13, 28, 13][:n], fractional @ cell, [cell], [n]))
    return Frames.concat(batch)


class Broken:
    """A toy whose predictions pass through a fault."""

    elements = None

    def __init__(self, fault: Callable[[Frames, Prediction], Prediction]) -> None:
        self.fault = fault

    def predict(self, frames: Frames) -> Prediction:
        return self.fault(frames, ToyPotential(1).predict(frames))


def replaced(prediction: Prediction, **update) -> Prediction:
    fields = {k: getattr(prediction, k) for k in ("energy", "forces", "stress")}
    return Prediction(**{**fields, **update})


FAULTS = {
    "forces: shape": lambda f, p: replaced(p, forces=p.forces[:-1]),
    "not all values are finite": lambda f, p: replaced(p, energy=p.energy * np.nan),
    "batch: energy": lambda f, p: replaced(p, energy=p.energy + len(f)),
    "translation: energy": lambda f, p: replaced(p, energy=p.energy + f.positions[0, 0]),
    "permutation of atoms: energy": lambda f, p: replaced(
        p, energy=p.energy + f.numbers[f.offsets[:-1]]
    ),
    "forces = -dE/dx": lambda f, p: replaced(p, forces=-p.forces),
    "stress = dE/dε/V": lambda f, p: replaced(p, stress=-p.stress),
}


@pytest.mark.parametrize("said", FAULTS)
def test_every_fault_is_found_by_its_name(said, frames):
    with pytest.raises(AssertionError, match=said.replace("(", r"\(")):
        check_predictor(Broken(FAULTS[said]), frames)


def test_a_sound_predictor_passes(frames):
    check_predictor(ToyPotential(1), frames)


def test_a_refusal_that_spoils_its_neighbours_is_found(frames):
    def fault(batch: Frames, prediction: Prediction) -> Prediction:
        if 95 not in batch.numbers:
            return prediction
        return replaced(prediction, energy=prediction.energy * np.nan)

    alone = Frames.from_arrays([95], np.zeros((1, 3)), [np.eye(3) * 3], [1])
    with pytest.raises(AssertionError, match="refus"):
        check_predictor(Broken(fault), frames, refused=alone)
