"""Selectors in `ActiveLearningMaker`: through a field, in both iterations, and refused early."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from fakes import toy
from jobflow import Flow, run_locally
from monty.json import MontyDecoder
from parts import ALL, LAWS, committee
from selecting_loop import selecting_loop

from atomate2_alpot.schemas import Frames, IterationDoc, SelectionDoc, Shard
from atomate2_alpot.select import (
    AllPhysical,
    CalibratedQuery,
    ChainSampler,
    DirectSampler,
    ExtrapolationGrade,
    QueryByCommittee,
    RandomSampler,
    SequentialSampler,
    TopSampler,
)
from atomate2_alpot.select.criteria import RawThresholds
from atomate2_alpot.select.makers import CommitteeSelector
from atomate2_alpot.structures import CandidateSpace, aflow_prototypes

LOW = RawThresholds(energy=0.02, forces=0.02, stress=0.02)


def run(maker, store) -> dict[str, list]:
    """Run a loop; return the documents of its selections and iterations, in order."""
    run_locally(maker.make(), store=store, log=False, raise_immediately=True)
    found = {}
    for name in ("select", "record iteration"):
        docs = [d["output"] for d in store.query({"name": name}, load=True)]
        decoded = [MontyDecoder().process_decoded(d) for d in docs]
        found[name] = sorted(decoded, key=lambda d: d.iteration)
    return found


@pytest.mark.slow
def test_calibrated_query_and_random_choice_after_a_fallback_in_iteration_1(job_store):
    """TrainsPot's selection: the pretrained committee has no calibration, the trained one has."""
    targets = {"energy": 0.01, "forces": 0.05, "stress": None}
    criterion = CalibratedQuery(fallback=LOW, **targets, **ALL)
    found = run(selecting_loop(criterion, RandomSampler(), max_iterations=2), job_store)
    first, second = found["select"]
    assert isinstance(first, SelectionDoc)
    assert (first.criterion["n_by_fallback"], second.criterion["n_by_fallback"]) == (40, 0)
    assert set(first.thresholds) == {"energy", "forces", "stress"}
    assert second.thresholds == {"energy_sigma": 0.01, "forces_sigma": 0.05}
    assert second.criterion["calibrations"]["energy"] == LAWS["energy"].as_dict()
    chosen = np.isin(second.scores.column("frame_id"), second.frames.frame_id)
    assert second.n_selected == chosen.sum() == 6
    assert (second.scores.column("score")[chosen] > 1).all()
    last = found["record iteration"][-1]
    assert isinstance(last, IterationDoc)
    assert set(last.spread_quantiles) == set(last.thresholds) == set(second.thresholds)


@pytest.mark.slow
def test_grades_and_sequential_choice_measure_from_labels_and_not_from_the_test_set(job_store):
    """AutoPot's selection, each frame judged by an active set of crystals and labels so far."""
    criterion = ExtrapolationGrade(threshold=2.0, **ALL)
    chain = ChainSampler(samplers=[DirectSampler(), SequentialSampler(thresholds=(1e3, 2))])
    found = run(selecting_loop(criterion, chain, max_iterations=2), job_store)
    docs = job_store.query({"name": "screen: active sets"}, load=True)
    sets = [MontyDecoder().process_decoded(d["output"]) for d in docs]
    first, second = found["select"]
    assert sorted(s.n_frames for s in sets) == [3, 3 + first.n_selected]  # crystals, then labels
    assert first.thresholds == {"grade": 2.0}
    for doc in (first, second):
        chosen = np.isin(doc.scores.column("frame_id"), doc.frames.frame_id)
        assert (doc.scores.column("grade")[chosen] > 2).all()
        assert doc.sampler["kind"] == "chain"
        assert 0 < doc.n_selected <= 6
    assert not set(first.frames.frame_id) & set(second.frames.frame_id)


def test_what_iteration_1_lacks_is_said_before_any_job():
    with pytest.raises(ValueError, match=r"no calibration of .*fallback"):
        selecting_loop(CalibratedQuery(), RandomSampler()).make()
    for criterion, sampler, what in (
        (ExtrapolationGrade(), RandomSampler(), "criterion"),
        (AllPhysical(), SequentialSampler(), "sampler"),
        (AllPhysical(), ChainSampler(samplers=[DirectSampler(), SequentialSampler()]), "sampler"),
    ):
        maker = selecting_loop(criterion, sampler, label_crystals=False)
        with pytest.raises(ValueError, match=rf"select.{what}: .*loop.label_crystals"):
            maker.make()
        assert isinstance(selecting_loop(criterion, sampler).make(), Flow)
    ready = selecting_loop(CalibratedQuery(), RandomSampler())
    calibrated = committee(**LAWS).model_copy(update={"members": [toy(1), toy(2)]})
    assert isinstance(dataclasses.replace(ready, committee=calibrated).make(), Flow)


def test_a_trainer_that_does_not_calibrate_is_found_before_iteration_2():
    from atomate2_alpot.train.makers import CommitteeTrainer

    calibrated = committee(**LAWS).model_copy(update={"members": [toy(1), toy(2)]})
    maker = dataclasses.replace(
        selecting_loop(CalibratedQuery(), RandomSampler(), max_iterations=2),
        committee=calibrated,
        trainer=CommitteeTrainer(calibration=None),
    )
    with pytest.raises(ValueError, match=r"train.calibration: null.*no calibration of"):
        maker.make()
    for ready in (
        dataclasses.replace(maker, trainer=CommitteeTrainer()),
        dataclasses.replace(maker, loop=maker.loop.model_copy(update={"max_iterations": 1})),
    ):
        assert isinstance(ready.make(), Flow)


def test_ranking_needs_something_to_rank_by():
    for sampler in (TopSampler(), ChainSampler(samplers=[TopSampler(), DirectSampler()])):
        with pytest.raises(ValueError, match=r"top_n ranks .*AllPhysical compares nothing"):
            CommitteeSelector(criterion=AllPhysical(), sampler=sampler)


def test_a_selection_of_nothing_is_refused():
    with pytest.raises(ValueError, match="budget=0"):
        CommitteeSelector().make([], committee(), [], [], 1, 0)


def test_the_flow_of_a_grade_begins_with_its_active_sets(job_store):
    space = CandidateSpace(aflow_prototypes((2, 3)), ["Al", "Ni", "O"], seed=1)
    training = space.propose(0, 10, 2)
    exclude = space.propose(10, 14, 2)
    selector = CommitteeSelector(
        criterion=ExtrapolationGrade(threshold=1.5, **ALL), sampler=TopSampler(), chunk_size=7
    )
    shards = [Shard(source=space, start=0, stop=30)]
    flow = selector.make(shards, committee(), [training], [exclude], 1, 8)
    assert [j.name for j in flow.jobs] == ["screen: active sets", *["screen"] * 5, "select"]
    run_locally(flow, store=job_store, log=False, raise_immediately=True)
    done = MontyDecoder().process_decoded(job_store.get_output(flow.output.uuid, load=True))
    known = Frames.concat([training, exclude]).frame_id
    grades = dict(zip(done.scores.column("frame_id"), done.scores.column("grade"), strict=True))
    open_to_choice = {i: g for i, g in grades.items() if i not in known and g > 1.5}
    best = sorted(open_to_choice, key=lambda i: -open_to_choice[i])[:8]
    assert set(done.frames.frame_id) == set(best)
    assert done.n_passed == len(open_to_choice)


def test_the_test_set_holds_all_that_is_physical_whatever_the_criterion(job_store):
    space = CandidateSpace(aflow_prototypes((2, 3)), ["Al", "Ni", "O"], seed=1)
    shard = Shard(source=space, start=0, stop=20)
    kept = []
    for criterion in (ExtrapolationGrade(max_force=0.2), QueryByCommittee(max_force=0.2)):
        flow = CommitteeSelector(criterion=criterion).hold_out(shard, committee())
        run_locally(flow, store=job_store, log=False, raise_immediately=True)
        done = MontyDecoder().process_decoded(job_store.get_output(flow.output.uuid, load=True))
        kept.append(set(done.frames.frame_id))
        assert done.n_selected == done.verdicts["selected"] < 20 == done.n_screened
    assert kept[0] == kept[1]
