"""Each formula against loops written out."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from predictions import VOIGT, random_prediction

from atomate2_alpot.schemas import CommitteePrediction, Frames, Labels, Prediction
from atomate2_alpot.uncertainty import pairwise_disagreement, std_disagreement
from atomate2_alpot.uncertainty.errors import error_metrics


def slow(p: CommitteePrediction, form: str) -> np.ndarray:
    """Energy, forces, stress of each frame, by loops over everything."""
    out = []
    for s in range(len(p.offsets) - 1):
        atoms = range(p.offsets[s], p.offsets[s + 1])
        n = len(atoms)
        e = [(p.energies[m, s] - p.reference_energies[m, s]) / n for m in range(p.n_members)]
        energy = np.sqrt(sum((x - sum(e) / len(e)) ** 2 for x in e) / len(e))
        if form == "std":
            total = 0.0
            for i in atoms:
                for c in range(3):
                    f = p.forces[:, i, c]
                    total += sum((x - f.mean()) ** 2 for x in f) / len(f)
            forces = np.sqrt(total / n)
            stress = np.sqrt(sum(np.var(p.stress[:, s, a, b]) for a, b in VOIGT))
        else:
            pairs = list(combinations(range(p.n_members), 2))
            forces = np.mean(
                [
                    np.sqrt(
                        np.mean(
                            [np.linalg.norm(p.forces[a, i] - p.forces[b, i]) ** 2 for i in atoms]
                        )
                    )
                    for a, b in pairs
                ]
            )
            stress = np.mean(
                [
                    np.sqrt(
                        sum((p.stress[a, s, i, j] - p.stress[b, s, i, j]) ** 2 for i, j in VOIGT)
                    )
                    for a, b in pairs
                ]
            )
        out.append((energy, forces, stress))
    return np.array(out).T


@pytest.mark.parametrize("n_members", [2, 3, 5])
@pytest.mark.parametrize(
    ("form", "function"), [("std", std_disagreement), ("pairwise", pairwise_disagreement)]
)
def test_spread_is_its_definition(rng, n_members, form, function):
    prediction = random_prediction(rng, n_members)
    found = function(prediction)
    np.testing.assert_allclose([found.energy, found.forces, found.stress], slow(prediction, form))


def test_members_that_differ_in_direction_alone_disagree():
    forces = np.array([[[1.0, 0, 0]], [[0, 1.0, 0]]])
    prediction = CommitteePrediction(
        np.zeros((2, 1)),
        forces,
        np.zeros((2, 1, 3, 3)),
        np.zeros((2, 1)),
        np.array([0, 1]),
        ("a", "b"),
    )
    assert std_disagreement(prediction).forces[0] == pytest.approx(np.sqrt(0.5))
    assert pairwise_disagreement(prediction).forces[0] == pytest.approx(np.sqrt(2))


def test_one_member_cannot_disagree(rng):
    with pytest.raises(ValueError, match="cannot disagree"):
        std_disagreement(random_prediction(rng, 1))


@pytest.mark.parametrize("name", ["energies", "forces", "stress"])
def test_nan_is_an_error_that_names_the_member(rng, name):
    prediction = random_prediction(rng)
    getattr(prediction, name)[1, 0] = np.nan
    with pytest.raises(ValueError, match=rf"{name} of member 1 \(b\)"):
        std_disagreement(prediction)


def test_no_frames_give_no_disagreement(rng):
    empty = random_prediction(rng).take_finite()[0]
    none = CommitteePrediction(
        empty.energies[:, :0],
        empty.forces[:, :0],
        empty.stress[:, :0],
        empty.reference_energies[:, :0],
        np.array([0]),
        empty.members,
    )
    assert len(std_disagreement(none).energy) == 0


def test_errors_are_their_definition(rng):
    frames = Frames.from_arrays(
        [13, 28, 13], rng.random((3, 3)) * 4, [np.eye(3) * 5] * 2, [2, 1]
    ).with_labels(Labels(rng.normal(size=2), rng.normal(size=(3, 3)), rng.normal(size=(2, 3, 3))))
    prediction = Prediction(rng.normal(size=2), rng.normal(size=(3, 3)), rng.normal(size=(2, 3, 3)))
    metrics = error_metrics(frames, prediction)
    e = [(prediction.energy[s] - frames.energy[s]) / n for s, n in enumerate((2, 1))]
    f = [prediction.forces[i, c] - frames.forces[i, c] for i in range(3) for c in range(3)]
    v = [prediction.stress[s][a] - frames.stress[s][a] for s in range(2) for a in VOIGT]
    for name, values in (("energy", e), ("forces", f), ("stress", v)):
        assert metrics[f"{name}_mae"] == pytest.approx(sum(abs(x) for x in values) / len(values))
        rmse = (sum(x * x for x in values) / len(values)) ** 0.5
        assert metrics[f"{name}_rmse"] == pytest.approx(rmse)


def test_errors_need_labels(rng):
    frames = Frames.from_arrays([13], [[0, 0, 0]], [np.eye(3) * 4], [1])
    with pytest.raises(ValueError, match="no frame is labelled"):
        error_metrics(frames, Prediction(np.zeros(1), np.zeros((1, 3)), np.zeros((1, 3, 3))))
