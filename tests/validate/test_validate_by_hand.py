"""Assessment against arithmetic written out here: ranks, Voigt components, missing labels."""

from __future__ import annotations

import numpy as np
import pytest
from jobflow import run_locally
from monty.json import MontyDecoder

from atomate2_alpot.potentials import PotentialError
from atomate2_alpot.schemas import CommitteeDoc, Frames, Labels, PotentialSpec
from atomate2_alpot.testing import ToyPotential
from atomate2_alpot.validate import TestSetAssessor, assess_committee

SEEDS = (1, 2, 3)
COMMITTEE = CommitteeDoc(members=[PotentialSpec(backend="toy", kwargs={"seed": s}) for s in SEEDS])
SIX = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


def bare(rng, sizes=(1, 2, 3, 4, 2, 3, 1, 4)) -> Frames:
    cells = 4 * np.eye(3) + rng.normal(0, 0.2, (len(sizes), 3, 3))
    sites = np.array([[0, 0, 0], [0.5, 0.5, 0.1], [0.5, 0.05, 0.5], [0, 0.5, 0.55]])
    return Frames.from_arrays(
        rng.choice([8, 13, 28], sum(sizes)),
        np.concatenate([sites[:n] @ c for n, c in zip(sizes, cells, strict=True)]),
        cells,
        sizes,
    )


@pytest.fixture
def frames(rng) -> Frames:
    batch = bare(rng)
    truth = ToyPotential(9).predict(batch)
    return batch.with_labels(Labels(truth.energy, truth.forces, truth.stress))


def flat(frames: Frames, energy, forces, stress) -> dict[str, list[float]]:
    """Every value that counts, one by one, in plain loops."""
    return {
        "energy": [e / n for e, n in zip(energy, frames.n_atoms, strict=True)],
        "forces": [x for row in forces for x in row],
        "stress": [s[a][b] for s in stress for a, b in SIX],
    }


def ranks(values) -> np.ndarray:
    """Ranks with ties at their mean."""
    values = np.asarray(values)
    return np.array([np.sum(values < v) + (np.sum(values == v) + 1) / 2 for v in values])


def spearman(a, b) -> float:
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


@pytest.mark.parametrize("quantity", ["energy", "forces", "stress"])
def test_every_figure_is_the_one_worked_out_by_hand(frames, quantity):
    doc = assess_committee(COMMITTEE, frames, 1)
    truth = np.array(flat(frames, frames.energy, frames.forces, frames.stress)[quantity])
    members = []
    for seed in SEEDS:
        p = ToyPotential(seed).predict(frames)
        members.append(flat(frames, p.energy, p.forces, p.stress)[quantity])
    members = np.array(members)
    mean = members.sum(axis=0) / len(SEEDS)
    spread = np.sqrt(((members - mean) ** 2).sum(axis=0) / len(SEEDS))
    for predicted, metrics in [(mean, doc.metrics), *zip(members, doc.member_metrics, strict=True)]:
        error = predicted - truth
        assert metrics[f"{quantity}_mae"] == pytest.approx(sum(abs(error)) / len(error))
        assert metrics[f"{quantity}_rmse"] == pytest.approx((sum(error**2) / len(error)) ** 0.5)
    rho = spearman(np.abs(mean - truth), spread)
    assert doc.spread_correlation[quantity] == pytest.approx(rho, abs=1e-9)
    rows = doc.parity[doc.parity.column("quantity") == quantity]
    np.testing.assert_allclose(rows.column("reference"), truth, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(rows.column("predicted"), mean, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(rows.column("spread"), spread, rtol=1e-4, atol=1e-7)


def test_known_errors_give_known_metrics(rng):
    """Labels that miss a single member by a constant: nothing left to compute."""
    batch = bare(rng)
    one = CommitteeDoc(members=COMMITTEE.members[:1])
    p = ToyPotential(1).predict(batch)
    wrong = Labels(p.energy + 0.25 * batch.n_atoms, p.forces - 0.5, p.stress + 2.0)
    doc = assess_committee(one, batch.with_labels(wrong), 1)
    expected = {"energy": 0.25, "forces": 0.5, "stress": 2.0}
    for name, value in expected.items():
        assert doc.metrics[f"{name}_mae"] == pytest.approx(value)
        assert doc.metrics[f"{name}_rmse"] == pytest.approx(value)
    assert doc.member_metrics == [doc.metrics]
    assert all(np.isnan(rho) for rho in doc.spread_correlation.values())  # one has no spread


def test_neither_the_order_of_members_nor_of_frames_matters(frames):
    other = CommitteeDoc(members=COMMITTEE.members[::-1])
    one, two = assess_committee(COMMITTEE, frames, 1), assess_committee(other, frames[::-1], 1)
    assert two.metrics == pytest.approx(one.metrics)
    for a, b in zip(one.member_metrics, two.member_metrics[::-1], strict=True):
        assert b == pytest.approx(a)


def test_what_has_no_label_has_no_error(frames):
    energies = frames.with_labels(Labels(frames.energy))
    doc = assess_committee(COMMITTEE, energies, 1)
    whole = assess_committee(COMMITTEE, frames, 1)
    assert doc.metrics == pytest.approx(
        {k: whole.metrics[k] for k in ("energy_mae", "energy_rmse")}
    )
    assert set(doc.parity.column("quantity")) == {"energy"}


def test_stress_of_some_frames_only_is_the_error_of_those(frames):
    stress = frames.stress.copy()
    stress[::2] = np.nan
    some = assess_committee(
        COMMITTEE, frames.with_labels(Labels(frames.energy, frames.forces, stress)), 1
    )
    half = assess_committee(COMMITTEE, frames[1::2], 1)
    assert some.metrics["stress_mae"] == pytest.approx(half.metrics["stress_mae"])
    ids = some.parity.column("frame_id")[some.parity.column("quantity") == "stress"]
    assert list(dict.fromkeys(ids)) == frames.frame_id[1::2]


@pytest.mark.parametrize("n", [0, 3])
def test_a_test_set_without_labels_is_an_error_that_counts_it(rng, n):
    with pytest.raises(ValueError, match=f"test set: none of {n} frames is labelled"):
        assess_committee(COMMITTEE, bare(rng)[:n], 1)


def test_a_member_that_fails_on_a_frame_is_named(frames):
    broken = PotentialSpec(backend="toy", kwargs={"seed": 4, "nan_fraction": 1.0})
    committee = CommitteeDoc(members=[*COMMITTEE.members, broken])
    with pytest.raises(PotentialError, match=r"member 3 .*seed=4.*NaN or infinity"):
        assess_committee(committee, frames, 1)


def test_the_maker_gives_what_the_function_gives(frames, job_store):
    job = TestSetAssessor().make(COMMITTEE, frames, 4)
    run_locally(job, store=job_store, log=False, raise_immediately=True)
    doc = MontyDecoder().process_decoded(job_store.get_output(job.uuid, load=True))
    plain = assess_committee(COMMITTEE, frames, 4)
    assert doc.metrics == plain.metrics
    assert doc.parity == plain.parity
    assert (doc.iteration, doc.n_frames) == (4, 8)
