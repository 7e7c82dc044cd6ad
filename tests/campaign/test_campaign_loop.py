"""Changed settings take effect where no finished label depends on them."""

from __future__ import annotations

import dataclasses

import pytest
from loop_parts import BEFORE_THE_LOOP, Diverges, counted, mendable_loop, trained

from atomate2_alpot.campaign import Hooks, reopen_loop, run_embedded
from atomate2_alpot.cli.resume import renewer
from atomate2_alpot.flows.stopping import LoopSettings


def again(maker, changed, folder, store):
    hooks = Hooks(on_resume=lambda h: reopen_loop(h, changed), renew=renewer(maker))
    return run_embedded(lambda: pytest.fail("made twice"), folder, store, hooks=hooks)


def records(store) -> list[tuple[int, str]]:
    found = store.query({"name": "record iteration"}, ["output"])
    return sorted((d["output"]["iteration"], d["output"]["status"]) for d in found)


@pytest.mark.slow
def test_a_campaign_that_has_ended_goes_on_with_more_iterations(tmp_path, job_store):
    maker = mendable_loop(tmp_path, fraction=0.0)
    run_embedded(maker.make, tmp_path, job_store)
    assert records(job_store) == [(1, "max_iterations")]
    longer = dataclasses.replace(maker, loop=maker.loop.model_copy(update={"max_iterations": 2}))
    assert again(longer, ["loop.max_iterations"], tmp_path, job_store).completed
    assert records(job_store) == [(1, "running"), (2, "max_iterations")]
    assert set(counted(tmp_path, "labelled").values()) == {1}
    assert again(longer, [], tmp_path, job_store).n_run == 0


def test_a_lower_bar_is_tried_on_the_labels_there_are(tmp_path, job_store):
    maker = mendable_loop(tmp_path, fraction=0.4, minimum=0.99, spare=BEFORE_THE_LOOP)
    assert not run_embedded(maker.make, tmp_path, job_store).completed
    tried = counted(tmp_path, "tried")
    assert sum(tried.values()) == BEFORE_THE_LOOP + 6
    lower = dataclasses.replace(
        maker, labeller=dataclasses.replace(maker.labeller, min_label_fraction=0.01)
    )
    assert again(lower, ["label.min_label_fraction"], tmp_path, job_store).completed
    assert counted(tmp_path, "tried") == tried


@pytest.mark.slow
def test_nothing_selected_is_screened_again_with_lower_thresholds(tmp_path, job_store):
    maker = mendable_loop(tmp_path, fraction=0.0)
    high = maker.selector.criterion.model_copy(
        update=dict.fromkeys(("energy", "forces", "stress"), 1e6)
    )
    strict = dataclasses.replace(
        maker, selector=dataclasses.replace(maker.selector, criterion=high)
    )
    run_embedded(strict.make, tmp_path, job_store)
    assert records(job_store) == [(1, "nothing_selected")]
    test_set = counted(tmp_path, "labelled")
    changed = ["select.criterion.energy", "select.criterion.forces"]
    assert again(maker, changed, tmp_path, job_store).completed
    assert records(job_store) == [(1, "max_iterations")]
    assert job_store.count({"name": "select", "metadata.iteration": 1}) == 1
    assert all(counted(tmp_path, "labelled")[name] == 1 for name in test_set)


def test_a_training_that_failed_is_made_anew_with_the_new_settings(tmp_path, job_store):
    maker = mendable_loop(tmp_path, fraction=0.0)
    broken = dataclasses.replace(maker, trainer=Diverges())
    assert run_embedded(broken.make, tmp_path, job_store).stopped_by.startswith("train-member-")
    labels = counted(tmp_path, "labelled")
    assert again(maker, ["train.settings.lr"], tmp_path, job_store).completed
    assert job_store.count({"name": "split"}) == 0  # what the broken training left is gone
    assert counted(tmp_path, "labelled") == labels
    assert trained(job_store) == 6 + 3


def test_a_finished_training_is_kept_whatever_its_settings(tmp_path, job_store):
    maker = mendable_loop(tmp_path, fraction=0.0)
    run_embedded(maker.make, tmp_path, job_store)
    assert again(maker, ["train.settings.lr", "select.chunk_size"], tmp_path, job_store).n_run == 0


def test_settings_of_the_day_reach_jobs_made_earlier():
    maker = mendable_loop("x", fraction=0.0)
    later = dataclasses.replace(maker, loop=LoopSettings(max_iterations=9))
    start = maker.make().jobs[-1]
    renewer(later)(start)
    assert start.function_args[0].loop.max_iterations == 9
    assert start.function_args[0].committee is None
