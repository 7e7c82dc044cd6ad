"""The loop on every manager at hand: what it selects, labels, records, and when it stops."""

from __future__ import annotations

import pytest
from fakes import small_loop, toy
from jobflow import run_locally
from monty.json import MontyDecoder

from atomate2_alpot.campaign import run_embedded
from atomate2_alpot.flows import ActiveLearningMaker, LoopSettings
from atomate2_alpot.flows.stopping import decide_status
from atomate2_alpot.schemas import IterationDoc, SelectionDoc


def outputs(store, name: str) -> list:
    """Decode the outputs of all jobs of a name, in the order of iterations."""
    docs = store.query({"name": name}, load=True)
    decoded = [MontyDecoder().process_decoded(d["output"]) for d in docs]
    return sorted(decoded, key=lambda d: d.iteration)


def run(maker: ActiveLearningMaker, store):
    flow = maker.make()
    run_locally(flow, store=store, log=False)
    return store.get_output(flow.output.uuid)


@pytest.fixture(scope="module")
def finished():
    """One campaign of two iterations, run once for the tests that only look at it."""
    from jobflow import JobStore
    from maggma.stores import MemoryStore

    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    end = run(small_loop(), store)
    return store, end


def test_loop_ends_with_its_reason(finished):
    _, end = finished
    assert end == {"campaign_id": "test-campaign", "status": "max_iterations"}


def test_iteration_documents_are_complete(finished):
    store, _ = finished
    docs = outputs(store, "record iteration")
    assert [d.iteration for d in docs] == [1, 2]
    assert [d.status for d in docs] == ["running", "max_iterations"]
    for doc in docs:
        assert isinstance(doc, IterationDoc)
        assert doc.campaign_id == "test-campaign"
        assert doc.counts["screened"] == 40
        assert doc.counts["selected"] == 6
        assert doc.surrogate == toy(99).label
        assert {"energy_mae", "forces_mae", "stress_mae"} <= set(doc.metrics)
        assert doc.versions["jobflow"]
        assert sum(doc.verdicts.values()) == 40


def test_second_iteration_is_screened_by_the_trained_committee(finished):
    store, _ = finished
    first, second = outputs(store, "record iteration")
    assert first.committee == [toy(1).label, toy(2).label]
    assert second.committee == first.trained


def test_training_sees_every_label_so_far_and_the_previous_training(finished):
    store, _ = finished
    first, second = outputs(store, "collect committee")
    crystals = 3
    assert first.members[0].n_train == 6 + crystals
    assert second.members[0].n_train == 12 + crystals
    assert (first.members[0].settings["previous"], second.members[0].settings["previous"]) == (
        None,
        1,
    )


def test_no_frame_is_selected_twice_or_from_the_test_set(finished):
    store, _ = finished
    selections = outputs(store, "select")
    assert all(isinstance(s, SelectionDoc) for s in selections)
    chosen = [i for s in selections for i in s.frames.frame_id]
    assert len(set(chosen)) == 12
    (held_out,) = outputs(store, "hold out: select")
    test = held_out.frames
    assert not set(chosen) & set(test.frame_id)


def test_every_job_carries_campaign_iteration_and_stage(finished):
    store, _ = finished
    for doc in store.query({"name": {"$ne": "store_inputs"}}):
        assert doc["metadata"]["campaign_id"] == "test-campaign", doc["name"]
        assert {"iteration", "stage"} <= set(doc["metadata"]), doc["name"]
    labels = store.query({"name": "gather labels", "metadata.iteration": 2})
    assert len(list(labels)) == 1


def test_no_document_holds_more_than_its_share(finished):
    import json

    from monty.json import jsanitize

    store, _ = finished
    sizes = {d["name"]: len(json.dumps(jsanitize(d))) for d in store.query(load=False)}
    assert max(sizes.values()) < 100_000, sizes


def test_failed_labels_cost_only_themselves(job_store):
    end = run(small_loop(fraction_failing=0.3, label_crystals=False), job_store)
    assert end["status"] == "max_iterations"
    docs = outputs(job_store, "record iteration")
    assert sum(d.counts["failed"] for d in docs) > 0
    for doc in docs:
        assert doc.counts["labelled"] + doc.counts["failed"] == doc.counts["selected"]
        assert sum(doc.failures.values()) == doc.counts["failed"]


def test_too_many_failures_stop_the_iteration_and_keep_the_labels(tmp_path, job_store):
    maker = small_loop(fraction_failing=0.5)
    maker.labeller.maker.spare = 3 + 8  # crystals and test set
    maker.labeller.maker.counter = str(tmp_path / "calculations")
    maker.labeller.min_label_fraction = 1.0
    summary = run_embedded(maker.make, tmp_path, job_store)
    assert not summary.completed
    errors = [e for name, e in summary.failed.items() if name.startswith("check-labels")]
    assert len(errors) == 1
    assert "min_label_fraction=1" in errors[0]
    assert "not converged" in errors[0]
    last = outputs(job_store, "gather labels")[-1]
    assert last.iteration == 1
    assert 0 < last.n_labelled < last.n_requested
    assert len(last.frames) == last.n_labelled


@pytest.mark.parametrize(("most", "what"), [(1, "crystals"), (9, "fixed test set")])
def test_the_policy_holds_for_what_is_labelled_before_the_loop(tmp_path, job_store, most, what):
    maker = small_loop(fraction_failing=1.0)
    maker.labeller.maker.most = most
    summary = run_embedded(maker.make, tmp_path, job_store)
    (words,) = summary.errors.values()
    assert f"{what}: 0 of " in words
    assert summary.stopped_by.startswith("start-loop")


def test_two_of_eight_of_the_test_set_are_too_few(tmp_path, job_store):
    maker = small_loop(fraction_failing=1.0, label_crystals=False)
    maker.labeller.maker.spare = 2
    maker.labeller.maker.counter = str(tmp_path / "calculations")
    summary = run_embedded(maker.make, tmp_path, job_store)
    (words,) = summary.errors.values()
    assert "fixed test set: 2 of 8 labels succeeded (25%)" in words
    assert "min_label_fraction=0.5" in words


def test_an_empty_test_set_is_named(tmp_path, job_store):
    maker = small_loop()
    nothing = maker.selector.criterion.model_copy(update={"max_force": 1e-12})
    maker.selector.criterion = nothing
    summary = run_embedded(maker.make, tmp_path, job_store)
    assert "the fixed test set is empty" in next(iter(summary.errors.values()))


@pytest.mark.slow
def test_a_space_that_is_used_up_says_so(job_store):
    maker = small_loop(max_iterations=5)
    space = len(maker.proposer.space())
    maker.proposer.candidates_per_iteration = space - maker.proposer.n_test
    assert run(maker, job_store)["status"] == "nothing_selected"
    last = outputs(job_store, "record iteration")[-1]
    assert (last.iteration, last.counts["screened"]) == (2, 0)
    assert "the space is used up" in last.message
    assert "more elements or prototypes" in last.message


def test_loop_stops_when_the_committee_agrees(job_store):
    end = run(small_loop(agree=True, max_iterations=5), job_store)
    assert end["status"] == "nothing_selected"
    last = outputs(job_store, "record iteration")[-1]
    assert last.iteration == 2
    assert "none of 40 candidates" in last.message
    assert "threshold" in last.message


@pytest.mark.slow
def test_label_budget_caps_the_last_iteration(job_store):
    end = run(small_loop(max_labels=8, max_iterations=9), job_store)
    assert end["status"] == "label_budget"
    assert [d.counts["selected"] for d in outputs(job_store, "record iteration")] == [6, 2]


def test_loop_stops_at_the_target(job_store):
    end = run(small_loop(targets={"energy_mae": 1e9}), job_store)
    assert end["status"] == "target_reached"


@pytest.mark.parametrize(
    ("iteration", "n_labels", "metrics", "status"),
    [
        (1, 10, {"forces_mae": 0.2}, "running"),
        (3, 30, {"forces_mae": 0.2}, "max_iterations"),
        (1, 40, {"forces_mae": 0.2}, "label_budget"),
        (1, 10, {"forces_mae": 0.1}, "target_reached"),
        (3, 40, {"forces_mae": 0.05}, "target_reached"),
        (1, 10, {}, "running"),
    ],
)
def test_decision_table(iteration, n_labels, metrics, status):
    settings = LoopSettings(max_iterations=3, max_labels=40, targets={"forces_mae": 0.1})
    assert decide_status(settings, iteration, n_labels, metrics)[0] == status


@pytest.mark.parametrize(
    ("targets", "message"),
    [({"force_mae": 0.1}, "force_mae.*forces_mae"), ({"forces_mae": -1.0}, "must be positive")],
)
def test_wrong_targets_are_named(targets, message):
    with pytest.raises(ValueError, match=message):
        LoopSettings(targets=targets)


def test_surrogate_that_votes_is_refused():
    maker = small_loop()
    maker.committee = [toy(1), toy(99)]
    maker.labeller.surrogate = toy(99).label
    with pytest.raises(ValueError, match="must not vote"):
        maker.make()


def test_committee_of_one_is_refused():
    maker = small_loop()
    maker.committee = [toy(1)]
    with pytest.raises(ValueError, match="cannot disagree"):
        maker.make()


@pytest.mark.parametrize("step", ["proposer", "selector", "labeller", "trainer", "assessor"])
def test_missing_step_is_named(step):
    maker = small_loop()
    setattr(maker, step, None)
    with pytest.raises(ValueError, match=f"{step} is not set"):
        maker.make()


@pytest.fixture(scope="module")
def grown_flows(tmp_path_factory):
    """All flows that a campaign of two iterations asked for, as its journal kept them."""
    import json

    from jobflow import JobStore
    from maggma.stores import MemoryStore
    from monty.json import MontyDecoder as Decoder

    folder = tmp_path_factory.mktemp("run")
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    maker = small_loop()
    assert run_embedded(maker.make, folder, store).completed
    entries = [
        json.loads(path.read_text(), cls=Decoder) for path in (folder / "journal").glob("*.json")
    ]
    return [e["replace"] for e in entries if isinstance(e, dict) and e.get("replace")]


def test_replacing_flows_refer_to_nothing_outside_themselves(grown_flows):
    from jobflow.core.flow import get_flow

    assert len(grown_flows) >= 3 * 2 + 2  # three replacements an iteration, and the first labels
    for flow in grown_flows:
        get_flow(flow, allow_external_references=False)  # what FireWorks does with each


def test_fireworks_takes_every_flow_of_a_campaign(grown_flows):
    from jobflow.managers.fireworks import flow_to_workflow

    for flow in [small_loop().make(), *grown_flows]:
        workflow = flow_to_workflow(flow)
        assert len(workflow.fws) == len(list(flow.iterflow()))
    tolerant = [fw for fw in workflow.fws if fw.name in ("label batch", "gather labels")]
    assert all(fw.spec["_allow_fizzled_parents"] for fw in tolerant)


def test_expanding_jobs_do_not_pass_their_worker_on(grown_flows):
    expanding = {"expand labels", "start loop", "check selection", "check labels", "decide"}
    seen = set()
    for flow in [small_loop().make(), *grown_flows]:
        for item, _ in flow.iterflow():
            if item.name in expanding:
                seen.add(item.name)
                assert item.config.pass_manager_config is False, item.name
    assert seen == expanding
