"""Errors of a committee against numbers computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from atomate2_alpot.schemas import CommitteeDoc, Frames, Labels, PotentialSpec
from atomate2_alpot.testing import ToyPotential
from atomate2_alpot.uncertainty import PowerLawCalibration
from atomate2_alpot.validate import assess_committee

COMMITTEE = CommitteeDoc(
    members=[PotentialSpec(backend="toy", kwargs={"seed": s}) for s in (1, 2, 3)]
)


@pytest.fixture
def labelled(rng) -> Frames:
    cells = np.eye(3) * 3 + rng.normal(0, 0.2, (12, 3, 3))
    positions = np.concatenate([np.array([[0, 0, 0], [0.5, 0.5, 0.4]]) @ c for c in cells])
    frames = Frames.from_arrays(rng.choice([13, 28, 8], 24), positions, cells, [2] * 12)
    truth = ToyPotential(9).predict(frames)
    return frames.with_labels(Labels(truth.energy, truth.forces, truth.stress))


def test_metrics_are_those_of_the_mean_and_of_each_member(labelled):
    doc = assess_committee(COMMITTEE, labelled, iteration=3)
    members = [ToyPotential(s).predict(labelled) for s in (1, 2, 3)]
    mean = np.mean([m.energy for m in members], axis=0)
    assert doc.metrics["energy_mae"] == pytest.approx(np.abs(mean - labelled.energy).mean() / 2)
    forces = np.mean([m.forces for m in members], axis=0) - labelled.forces
    assert doc.metrics["forces_rmse"] == pytest.approx(np.sqrt((forces**2).mean()))
    for member, metrics in zip(members, doc.member_metrics, strict=True):
        assert metrics["forces_mae"] == pytest.approx(
            np.abs(member.forces - labelled.forces).mean()
        )
    spread = np.std([m.forces for m in members], axis=0)
    rho = spearmanr(np.abs(forces).ravel(), spread.ravel()).statistic
    assert doc.spread_correlation["forces"] == pytest.approx(rho)
    assert (doc.iteration, doc.n_frames) == (3, 12)


def test_parity_table_holds_every_component(labelled):
    parity = assess_committee(COMMITTEE, labelled, 1).parity
    quantity = parity.column("quantity")
    assert {q: int((quantity == q).sum()) for q in set(quantity)} == {
        "energy": 12,
        "forces": 72,
        "stress": 72,
    }
    energies = parity.column("reference")[quantity == "energy"]
    np.testing.assert_allclose(energies, labelled.energy / 2, rtol=1e-5)


def test_unlabelled_frames_are_left_out_and_none_is_an_error(labelled):
    bare = Frames.from_arrays([13], [[0, 0, 0]], [np.eye(3) * 3], [1])
    assert assess_committee(COMMITTEE, Frames.concat([labelled, bare]), 1).n_frames == 12
    with pytest.raises(ValueError, match="none of 1 frames is labelled"):
        assess_committee(COMMITTEE, bare, 1)


def test_calibrations_stand_the_test_by_their_definition(labelled):
    law = PowerLawCalibration(3.0, 0.7)
    committee = COMMITTEE.model_copy(update={"calibrations": {"forces": law.as_dict()}})
    found = assess_committee(committee, labelled, 1).calibration
    forces = np.array([ToyPotential(s).predict(labelled).forces for s in (1, 2, 3)])
    error = (forces.mean(axis=0) - labelled.forces).ravel()
    spread = forces.std(axis=0, ddof=1).ravel()
    assert set(found) == {"forces"}
    assert found["forces"]["n_points"] == 72
    assert found["forces"]["z_std_spread"] == pytest.approx((error / spread).std())
    assert found["forces"]["z_std"] == pytest.approx((error / (3 * spread**0.7)).std())
    assert assess_committee(COMMITTEE, labelled, 1).calibration == {}
