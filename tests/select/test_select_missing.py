"""What a member or a descriptor cannot evaluate costs itself, and is counted."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from jobflow import run_locally
from monty.json import MontyDecoder

from atomate2_alpot.potentials import Committee
from atomate2_alpot.schemas import (
    CommitteeDoc,
    CommitteePrediction,
    Frames,
    PotentialSpec,
    Shard,
)
from atomate2_alpot.select import DirectSampler, Known, QueryByCommittee, RandomSampler, samplers
from atomate2_alpot.select.criterion import add_gaps, count_gaps
from atomate2_alpot.select.makers import CommitteeSelector
from atomate2_alpot.select.screening import (
    ScreenedRange,
    choose_frames,
    join_screens,
    screen_range,
)
from atomate2_alpot.structures import CandidateSpace, aflow_prototypes

CHOICE = {"iteration": 1, "budget": 5, "seed": 0}
ALL_PHYSICAL = QueryByCommittee(
    energy=0.02, forces=0.02, stress=0.02, formation_energy=None, max_force=None, mean_stress=None
)


def toy(seed: int, **kwargs) -> PotentialSpec:
    return PotentialSpec(backend="toy", kwargs={"seed": seed, **kwargs})


@pytest.fixture(scope="module")
def space() -> CandidateSpace:
    return CandidateSpace(aflow_prototypes((2, 4)), ["Al", "Ni", "O"], seed=1)


@pytest.fixture(scope="module")
def frames(space) -> Frames:
    return space.propose(0, 60, 2)


@pytest.fixture(scope="module")
def sound(frames) -> CommitteePrediction:
    return Committee([toy(1), toy(2)]).predict(frames)


def broken(prediction: CommitteePrediction, quantity: str, which: list[int]) -> CommitteePrediction:
    """Make member 1 give NaN in one quantity of some frames."""
    values = getattr(prediction, quantity).copy()
    if quantity == "forces":
        values[1, prediction.offsets[which], 0] = np.nan
    else:
        values[1, which] = np.nan
    return dataclasses.replace(prediction, **{quantity: values})


def screen(frames: Frames, prediction: CommitteePrediction) -> ScreenedRange:
    scores = ALL_PHYSICAL.score(frames, prediction)
    passed = frames[scores.column("verdict") == "selected"]
    gaps = count_gaps(prediction)
    return ScreenedRange(n_screened=len(frames), scores=scores, passed=passed, seconds=0, gaps=gaps)


@pytest.mark.parametrize("quantity", ["energies", "forces", "stress"])
def test_candidates_that_a_member_cannot_evaluate_are_rejected_and_counted(frames, sound, quantity):
    name = {"energies": "energy"}.get(quantity, quantity)
    prediction = broken(sound, quantity, [3, 7, 8])
    verdict = ALL_PHYSICAL.score(frames, prediction).column("verdict")
    assert np.flatnonzero(verdict == "not_finite").tolist() == [3, 7, 8]
    zeros = {"energy": 0, "forces": 0, "stress": 0}
    ((member, counts),) = count_gaps(prediction).items()
    assert member.startswith("1 (toy")
    assert counts == {**zeros, name: 3, "any": 3}
    assert add_gaps([count_gaps(prediction)] * 2)[member]["any"] == 6
    assert count_gaps(sound) == {}


@pytest.mark.parametrize("quantity", ["energies", "forces", "stress"])
def test_a_member_that_is_blind_for_a_quantity_is_named(frames, sound, quantity):
    blind = screen(frames, broken(sound, quantity, list(range(60))))
    message = rf"member 1 \(toy.* for 60 of 60 .*{quantity[:5]}.* of 60\), more than"
    with pytest.raises(ValueError, match=message):
        choose_frames([blind], ALL_PHYSICAL, RandomSampler(), [], CHOICE)


def test_one_bad_candidate_in_a_small_range_does_not_stop_a_campaign(frames, sound):
    ranges = [screen(frames, sound), screen(frames[:5], _first(broken(sound, "stress", [2]), 5))]
    assert ranges[1].gaps
    done = choose_frames(ranges, ALL_PHYSICAL, RandomSampler(), [], CHOICE)
    assert done.verdicts["not_finite"] == 1
    alone = choose_frames(ranges[1:], ALL_PHYSICAL, RandomSampler(), [], CHOICE)
    assert alone.n_screened == 5


def _first(prediction: CommitteePrediction, n: int) -> CommitteePrediction:
    atoms = prediction.offsets[n]
    return dataclasses.replace(
        prediction,
        energies=prediction.energies[:, :n],
        forces=prediction.forces[:, :atoms],
        stress=prediction.stress[:, :n],
        reference_energies=prediction.reference_energies[:, :n],
        offsets=prediction.offsets[: n + 1],
    )


def test_the_fraction_is_judged_on_all_ranges_together(frames, sound):
    bad = screen(frames, broken(sound, "forces", list(range(9))))  # 15 %
    good = screen(frames, sound)
    choose_frames([join_screens([bad, good])], ALL_PHYSICAL, RandomSampler(), [], CHOICE)
    with pytest.raises(ValueError, match=r"for 9 of 60 .*max_nonfinite_fraction=0.1"):
        choose_frames([bad], ALL_PHYSICAL, RandomSampler(), [], CHOICE)
    patient = ALL_PHYSICAL.model_copy(update={"max_nonfinite_fraction": 1.0})
    choose_frames([bad], patient, RandomSampler(), [], CHOICE)


@pytest.mark.parametrize("chunk_size", [5, 60])
def test_the_verdict_on_members_does_not_depend_on_the_chunks(space, job_store, chunk_size):
    committee = CommitteeDoc(members=[toy(1), toy(2, nan_fraction=0.1)])
    gaps = screen_range(space, 0, 60, 1, ALL_PHYSICAL, Known(committee=committee)).gaps
    (counts,) = gaps.values()
    just_enough = ALL_PHYSICAL.model_copy(update={"max_nonfinite_fraction": counts["any"] / 60})
    maker = CommitteeSelector(criterion=just_enough, chunk_size=chunk_size)
    flow = maker.make([Shard(source=space, start=0, stop=60)], committee, [], [], 1, 8)
    run_locally(flow, store=job_store, log=False, raise_immediately=True)
    done = MontyDecoder().process_decoded(job_store.get_output(flow.output.uuid, load=True))
    assert done.verdicts["not_finite"] == counts["any"] > 0
    assert done.n_selected == 8


@pytest.mark.parametrize("sampler", [DirectSampler(), DirectSampler(k_per_cluster=1)])
def test_frames_that_cannot_be_described_are_left_out_and_counted(
    frames, sound, monkeypatch, sampler, caplog
):
    def describe(some, descriptor, spec, known):
        features = original(some, descriptor, spec, known)
        for s, frame_id in enumerate(some.frame_id):
            if frame_id in hidden:
                features[s, s % 3] = (np.nan, np.inf)[s % 2]
        return features

    original = samplers.describe
    screened = screen(frames, sound)
    hidden = set(screened.passed.frame_id[:4])
    monkeypatch.setattr(samplers, "describe", describe)
    done = choose_frames([screened], ALL_PHYSICAL, sampler, [], {**CHOICE, "budget": 1000})
    assert done.sampler["n_not_described"] == 4
    assert "NaN for 4 of" in caplog.text
    assert done.n_passed == len(screened.passed)
    assert not hidden & {*done.frames.frame_id, *done.map.column("frame_id")}
    assert len(done.map) == done.n_passed - 4
    json.dumps(done.sampler, allow_nan=False)
    chosen = done.map.column("frame_id")[done.map.column("kind") == "selected"]
    assert set(chosen) == set(done.frames.frame_id)
    random = choose_frames([screened], ALL_PHYSICAL, RandomSampler(), [], CHOICE)
    assert random.n_selected == 5


def test_a_descriptor_that_describes_nothing_is_named(frames, monkeypatch):
    def nothing(some, descriptor, spec, known):
        return np.full((len(some), 4), np.nan)

    monkeypatch.setattr(samplers, "describe", nothing)
    with pytest.raises(ValueError, match=r"model \(toy.*describes none of 60 .*'Al'"):
        DirectSampler(descriptor="model", spec=toy(1)).sample(frames, 5, 0)
