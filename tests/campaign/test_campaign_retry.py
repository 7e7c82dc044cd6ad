"""What a run does again after the cause of a failure is mended, and what it never does again."""

from __future__ import annotations

import pydantic
import pytest
from growing_flow import gather, make_flow, strict, work
from jobflow import Flow, job
from loop_parts import BEFORE_THE_LOOP, counted, mendable_loop, trained

from atomate2_alpot.campaign import Hooks, run_embedded
from atomate2_alpot.campaign.journal import Entry, reason_of


def lines(folder) -> list[str]:
    path = folder / "trace.txt"
    return path.read_text().splitlines() if path.exists() else []


@job
def gate(folder, results):
    if len(results) < 3:
        raise RuntimeError(f"{len(results)} are too few")
    return strict.original(folder, "gate", results)


def gated_flow(folder) -> Flow:
    jobs = [work(folder, f"label {i}", 0.0, fail=i == 1) for i in range(3)]
    collect = gather(folder, 1, [j.output for j in jobs])
    check = gate(folder, collect.output)
    return Flow([*jobs, collect, check], output=check.output)


def test_what_failed_behind_a_failed_gate_runs_again_and_nothing_else(tmp_path, job_store):
    summary = run_embedded(lambda: gated_flow(str(tmp_path)), tmp_path, job_store)
    assert not summary.completed
    assert summary.stopped_by.startswith("gate-")
    (tmp_path / "mended").touch()
    assert run_embedded(lambda: None, tmp_path, job_store).completed
    assert lines(tmp_path) == ["label 0", "label 2", "gather 1", "label 1", "gather 1", "gate"]


def test_a_failed_gate_is_retried_in_every_attempt_until_the_cause_is_mended(tmp_path, job_store):
    for _ in range(3):
        summary = run_embedded(lambda: gated_flow(str(tmp_path)), tmp_path, job_store)
        assert (summary.completed, len(summary.failed)) == (False, 2)
    (tmp_path / "mended").touch()
    assert run_embedded(lambda: None, tmp_path, job_store).completed


def test_outputs_that_are_void_are_announced_and_removed(tmp_path, job_store):
    run_embedded(lambda: gated_flow(str(tmp_path)), tmp_path, job_store)
    gathered = job_store.query_one({"name": "gather"})["uuid"]
    announced = []

    def look(uuids):
        announced.extend(uuids)
        assert job_store.count({"uuid": gathered}) == 1

    (tmp_path / "mended").touch()
    run_embedded(lambda: None, tmp_path, job_store, hooks=Hooks(on_forget=look))
    assert gathered in announced
    assert job_store.query_one({"uuid": gathered})["output"] == ["label 0", "label 1", "label 2"]


def test_a_kill_while_forgetting_loses_nothing(tmp_path, job_store):
    run_embedded(lambda: gated_flow(str(tmp_path)), tmp_path, job_store)
    failed = next(p for p in (tmp_path / "journal").glob("work-*") if "broke" in p.read_text())
    failed.unlink()  # as if the process had died after the first entry was dropped
    (tmp_path / "mended").touch()
    assert run_embedded(lambda: None, tmp_path, job_store).completed
    assert lines(tmp_path)[-3:] == ["label 1", "gather 1", "gate"]


def test_a_failure_the_flow_went_on_without_stays_settled_when_a_later_job_fails(
    tmp_path, job_store
):
    def flow():
        grown = make_flow(str(tmp_path), last=1, fail_one=True)
        return Flow([grown, work(str(tmp_path), "last", 0.0, fail=True)])

    assert not run_embedded(flow, tmp_path, job_store).completed
    (tmp_path / "mended").touch()
    again = run_embedded(lambda: None, tmp_path, job_store)
    assert again.completed
    assert again.n_run == 1
    assert "label 1.1" not in lines(tmp_path)


# --- the loop: a label job does not fail with its frames ---------------------------------


@pytest.mark.slow
def test_failed_frames_are_labelled_again_when_too_few_succeeded(tmp_path, job_store):
    maker = mendable_loop(tmp_path, fraction=0.7, minimum=0.9, spare=BEFORE_THE_LOOP)
    summary = run_embedded(maker.make, tmp_path, job_store)
    assert summary.stopped_by.startswith("check-labels-")
    done = counted(tmp_path, "labelled")
    settled = counted(tmp_path, "tried")
    again = run_embedded(lambda: None, tmp_path, job_store)
    assert again.stopped_by.startswith("check-labels-")
    assert counted(tmp_path, "labelled") == done
    # only frames of the selection are tried again
    assert 0 < sum((counted(tmp_path, "tried") - settled).values()) <= 6
    (tmp_path / "mended").touch()
    assert run_embedded(lambda: None, tmp_path, job_store).completed
    assert set(counted(tmp_path, "labelled").values()) == {1}
    assert all(counted(tmp_path, "tried")[name] == 1 for name in done)
    assert trained(job_store) == 6 + 3


def test_the_test_set_is_labelled_again_when_none_of_it_succeeded(tmp_path, job_store):
    maker = mendable_loop(tmp_path, fraction=1.0, only=2)
    summary = run_embedded(maker.make, tmp_path, job_store)
    assert summary.stopped_by.startswith("start-loop-")
    crystals = counted(tmp_path, "labelled")
    assert len(crystals) == 3
    (tmp_path / "mended").touch()
    assert run_embedded(lambda: None, tmp_path, job_store).completed
    assert max(counted(tmp_path, "labelled").values()) == 1
    assert all(counted(tmp_path, "tried")[name] == 1 for name in crystals)


def test_too_few_labels_of_the_test_set_stop_the_campaign_and_the_rest_is_tried_again(
    tmp_path, job_store
):
    maker = mendable_loop(tmp_path, fraction=1.0, minimum=0.9, spare=3 + 4)
    summary = run_embedded(maker.make, tmp_path, job_store)
    assert summary.stopped_by.startswith("start-loop-")
    (words,) = summary.errors.values()
    assert "min_label_fraction=0.9" in words
    assert words.startswith("LabelFractionError: fixed test set: 4 of 8 labels succeeded")
    done = counted(tmp_path, "labelled")
    (tmp_path / "mended").touch()
    assert run_embedded(lambda: None, tmp_path, job_store).completed
    assert all(counted(tmp_path, "labelled")[name] == 1 for name in done)
    assert trained(job_store) == 6 + 3


def test_no_label_is_computed_again_where_the_policy_let_the_loop_go_on(tmp_path, job_store):
    maker = mendable_loop(tmp_path, fraction=0.3, only=2, minimum=0.1)
    assert run_embedded(maker.make, tmp_path, job_store).completed
    tried = counted(tmp_path, "tried")
    assert len(tried) > len(counted(tmp_path, "labelled"))
    (tmp_path / "mended").touch()
    assert run_embedded(lambda: None, tmp_path, job_store).n_run == 0
    assert counted(tmp_path, "tried") == tried


# --- words -------------------------------------------------------------------------------


class Strict(pydantic.BaseModel):
    x: int


def test_reason_of_an_error_keeps_its_type_and_its_telling_lines(tmp_path, job_store):
    with pytest.raises(pydantic.ValidationError) as caught:
        Strict(x="a")
    words = reason_of(caught.value)
    assert words.startswith("ValidationError: 1 validation error for Strict; x; Input should be")
    assert "https" not in words
    assert reason_of(ValueError()) == "ValueError"
    assert reason_of(OSError("\n".join("abcdef"))) == "OSError: a; b; c; d; …"
    summary = run_embedded(lambda: gated_flow(str(tmp_path)), tmp_path, job_store)
    assert "RuntimeError: label 1 broke" in summary.errors.values()


def test_the_first_job_that_stopped_the_run_is_named(tmp_path, job_store):
    def flow():
        return Flow([work(str(tmp_path), f"w{i}", 0.0, fail=True) for i in range(3)])

    summary = run_embedded(flow, tmp_path, job_store)
    assert summary.stopped_by == next(iter(summary.failed))


def test_entries_of_older_journals_are_read():
    assert Entry(name="a", state="done", seconds=1.0).reason == ""
