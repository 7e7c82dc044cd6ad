"""Whatever is killed, lost or late: the labels are those of a campaign that nothing happened to."""

from __future__ import annotations

import dataclasses
import errno
import multiprocessing
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from campaign_parts import (
    KILLER,
    N_LABELS,
    Killed,
    advance_in_a_process,
    clone,
    labelling_loop,
    new_campaign,
    open_campaign,
    until_labels,
)
from fakes import Breaks
from pymongo.errors import PyMongoError

from atomate2_alpot.campaign.documents import COLLECTED, FAILED, FINISHED, LOST, stage_id
from atomate2_alpot.campaign.identity import output_uuid
from atomate2_alpot.campaign.state import CampaignError
from mongo_server import mongo_server

pytestmark = pytest.mark.slow

LABEL = stage_id("test-campaign", 1, "label")
N_BATCHES = N_LABELS // 3
MOMENT = 1e-9
"""Hours: over before the next look."""


@pytest.fixture(scope="module")
def prepared(shared_mongo, tmp_path_factory):
    """A campaign whose iteration 1 is about to label."""
    setup = new_campaign(shared_mongo.uri, labelling_loop())
    until_labels(setup)
    return setup


@pytest.fixture(scope="module")
def undisturbed(prepared, shared_mongo):
    """The labels of a campaign that nothing happened to."""
    setup = clone(prepared, shared_mongo.uri)
    setup.run()
    assert setup.campaign.state.load().status == FINISHED
    return setup.labels("energy")


@pytest.fixture
def setup(prepared, shared_mongo):
    return clone(prepared, shared_mongo.uri)


def finish(setup, undisturbed) -> None:
    """Run to the end, and compare."""
    setup.run()
    assert setup.campaign.state.load().status == FINISHED
    assert setup.labels("energy") == undisturbed


def label_keys(setup) -> list[str]:
    return [key for key in setup.engine.all_keys() if key.startswith(LABEL)]


def frames_labelled(setup) -> Counter:
    """Count how often label jobs computed each frame of iteration 1."""
    wanted = {"metadata.frame_ids": {"$exists": True}, "metadata.iteration": 1}
    found = setup.stores.jobs.query(wanted, ["metadata"])
    return Counter(i for d in found for i in d["metadata"]["frame_ids"])


def test_killed_again_and_again_at_another_write(setup, undisturbed):
    n_killed = 0
    for attempt in range(300):
        KILLER.left = 5 * attempt % 23 + 1  # each of 1 … 23, not in order
        try:
            setup.campaign.advance()
        except Killed:
            n_killed += 1
            continue
        finally:
            KILLER.left = None
        if not setup.engine.work():
            break
    assert n_killed > 5
    assert setup.campaign.state.load().status == FINISHED
    assert setup.labels("energy") == undisturbed
    assert set(frames_labelled(setup).values()) == {1}
    assert len(label_keys(setup)) == N_BATCHES


@pytest.mark.parametrize("write", range(1, 26, 6))
def test_killed_at_one_write_of_planning_and_submission(setup, undisturbed, write):
    KILLER.left = write
    try:
        with pytest.raises(Killed):
            setup.campaign.advance()
    finally:
        KILLER.left = None
    finish(setup, undisturbed)
    assert set(frames_labelled(setup).values()) == {1}


def test_two_at_once_submit_nothing_twice_and_lose_nothing(prepared, shared_mongo, undisturbed):
    setup = clone(prepared, shared_mongo.uri, grace=60.0)
    other = clone_of_process(setup)
    before = setup.client[setup.database]["fake_submissions"].count_documents({})
    for _ in range(10):
        both = [threading.Thread(target=s.campaign.advance) for s in (setup, other)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
        setup.engine.work()
    finish(setup, undisturbed)
    submissions = setup.client[setup.database]["fake_submissions"]
    twice = [k for k, n in Counter(d["key"] for d in submissions.find()).items() if n > 1]
    assert submissions.count_documents({}) > before
    assert twice == []


def test_two_processes_at_once_submit_nothing_twice(prepared, shared_mongo, undisturbed):
    setup = clone(prepared, shared_mongo.uri, grace=60.0)
    spawn = multiprocessing.get_context("spawn")
    arguments = setup.uri, setup.database, 15
    both = [spawn.Process(target=advance_in_a_process, args=arguments) for _ in range(2)]
    for process in both:
        process.start()
    while any(process.is_alive() for process in both):
        setup.engine.work()
        time.sleep(0.05)
    assert [process.exitcode for process in both] == [0, 0]
    finish(setup, undisturbed)
    submissions = setup.client[setup.database]["fake_submissions"].find()
    assert [k for k, n in Counter(d["key"] for d in submissions).items() if n > 1] == []


def test_the_server_is_killed_and_restarted_during_advance(
    prepared, undisturbed, tmp_path, monkeypatch
):
    """Before another write each time."""
    with mongo_server(tmp_path) as server:
        setup = clone(prepared, server.uri)
        monkeypatch.setattr(KILLER, "act", server.restart)
        n_errors, passes = 0, 0
        while setup_status(setup) != FINISHED:
            KILLER.left = 5 * passes % 23 + 1
            try:
                setup.campaign.advance()
            except PyMongoError:
                n_errors += 1
            finally:
                KILLER.left = None
            setup.engine.work()
            passes += 1
            assert passes < 60
        assert n_errors > 0
        assert setup.labels("energy") == undisturbed
        assert set(frames_labelled(setup).values()) == {1}


def setup_status(setup) -> str:
    return setup.campaign.state.load().status


def clone_of_process(setup):
    """Open the same campaign as another process would."""
    return open_campaign(setup.uri, setup.database, labelling_loop(), grace=60.0)


def test_a_submission_that_died_before_the_engine_had_it_is_made_again(setup, undisturbed):
    setup.campaign.advance()
    lost = label_keys(setup)[1]
    setup.engine.workflows.delete_one({"_id": lost})
    progress = setup.campaign.advance()
    assert progress.resubmitted == [lost]
    finish(setup, undisturbed)


def test_a_batch_that_never_returns_is_submitted_anew_and_comes_late(
    prepared, shared_mongo, undisturbed
):
    setup = clone(prepared, shared_mongo.uri, lease=MOMENT)
    setup.campaign.advance()
    first = label_keys(setup)[0]
    setup.engine.work(lambda key: key != first)
    assert setup.campaign.advance().resubmitted == [first]
    second = f"{first}/attempt-2"
    assert second in label_keys(setup)
    assert setup.engine.states([first]) == {}  # cancelled
    setup.engine.run(second)
    setup.engine.run(first)  # it was running when it was cancelled
    finish(setup, undisturbed)
    (batch,) = [b for b in setup.campaign.state.find(LABEL, [COLLECTED]) if b.key == first]
    assert batch.attempt == 2
    assert batch.output is not None


def test_a_batch_that_returns_in_no_attempt_stops_the_campaign_until_it_is_retried(
    prepared, shared_mongo, undisturbed
):
    setup = clone(prepared, shared_mongo.uri, lease=MOMENT, max_attempts=2)
    setup.campaign.advance()
    first = label_keys(setup)[0]
    for _ in range(4):
        setup.engine.work(lambda key: not key.startswith(first))
        setup.campaign.advance()
    doc = setup.campaign.state.load()
    assert doc.status == FAILED
    assert "attempt 2 of 2" in doc.message
    assert setup.campaign.retry() == [first]
    finish(setup, undisturbed)


def test_a_failed_workflow_stops_the_campaign_until_it_is_retried(setup, undisturbed):
    setup.campaign.advance()
    broken = label_keys(setup)[2]
    setup.engine.set_state(broken, "failed")
    setup.engine.work()
    assert setup.campaign.advance().failed == [broken]
    doc = setup.campaign.state.load()
    assert doc.status == FAILED
    assert "1 of 4 workflows" in doc.message
    assert broken in doc.message
    assert setup.engine.work() == []
    assert setup.campaign.retry() == [broken]
    finish(setup, undisturbed)
    assert len(label_keys(setup)) == N_BATCHES  # rerun, not submitted anew


@pytest.mark.parametrize("fault", ["failed", "running"])
def test_the_policy_lets_a_stage_go_on_without_some(prepared, shared_mongo, undisturbed, fault):
    wait = {"max_wait": MOMENT} if fault == "running" else {}
    setup = clone(prepared, shared_mongo.uri, min_finished_fraction=0.5, **wait)
    setup.campaign.advance()
    gone = label_keys(setup)[3]
    setup.engine.set_state(gone, fault)
    setup.run()
    assert setup.campaign.state.load().status == FINISHED
    (batch,) = setup.campaign.state.find(LABEL, [LOST])
    failed = [d for d in setup.labels("reason") if d[2] == "failed"]
    assert len(failed) == batch.payload["n_frames"] == 3
    assert {d[-1] for d in failed} == {"no task document"}
    assert {d[0] for d in setup.labels()} == {d[0] for d in undisturbed}
    before = setup.labels("energy")
    setup.engine.run(gone)  # late, for ever
    setup.campaign.advance()
    assert setup.labels("energy") == before


def test_too_few_workflows_stop_the_campaign(prepared, shared_mongo):
    setup = clone(prepared, shared_mongo.uri, min_finished_fraction=0.9)
    setup.campaign.advance()
    setup.engine.set_state(label_keys(setup)[0], "failed")
    setup.run()
    doc = setup.campaign.state.load()
    assert (doc.status, doc.stage) == (FAILED, "label")
    assert "min_finished_fraction is 0.9" in doc.message


def test_paused_nothing_is_submitted_but_all_is_collected(prepared, shared_mongo, undisturbed):
    setup = clone(prepared, shared_mongo.uri, max_in_flight=2)
    setup.campaign.advance()
    assert len(label_keys(setup)) == 2
    setup.campaign.state.pause()
    setup.engine.work()
    progress = setup.campaign.advance()
    assert len(progress.collected) == 2
    assert progress.submitted == []
    assert len(label_keys(setup)) == 2
    with pytest.raises(CampaignError, match="is paused, not running"):
        setup.campaign.state.pause()
    setup.campaign.state.resume()
    finish(setup, undisturbed)


def test_a_pause_meets_an_advance_that_is_submitting(setup):
    submit = setup.engine.submit

    def paused(flow, key):
        setup.campaign.state.pause()
        return submit(flow, key)

    setup.engine.submit = paused
    assert len(setup.campaign.advance().submitted) == 1


def test_an_engine_that_refuses_leaves_the_batch_planned(setup, undisturbed):
    submit = setup.engine.submit

    def refuse(flow, key):
        raise OSError("the engine's database is away")

    setup.engine.submit = refuse
    with pytest.raises(OSError, match="is away"):
        setup.campaign.advance()
    assert setup.campaign.state.counts(LABEL)["planned"] == N_BATCHES
    setup.engine.submit = submit
    finish(setup, undisturbed)


def test_a_lost_blob_of_frames_is_cut_out_again(setup, undisturbed):
    setup.campaign._plan(setup.campaign._context(setup.campaign.state.load()))
    shards = [d["uuid"] for d in setup.stores.jobs.query({"name": "frames to label"}, ["uuid"])]
    setup.stores.jobs.additional_stores["data"].remove_docs({"job_uuid": {"$in": shards}})
    finish(setup, undisturbed)


@pytest.mark.parametrize("stage", ["label", "gather"])
def test_a_lost_blob_of_an_output_is_named_and_computed_again(setup, undisturbed, stage):
    while setup.campaign.state.load().stage != stage:
        setup.campaign.advance()
        if setup.campaign.state.load().stage != stage:
            setup.engine.work()
    setup.campaign.advance()
    setup.engine.work()
    (batch, *_) = setup.campaign.state.find(stage_id("test-campaign", 1, stage), ["submitted"])
    uuid = output_uuid(batch.key)
    setup.stores.jobs.additional_stores["data"].remove_docs({"job_uuid": uuid})
    assert setup.campaign.advance().failed == [batch.key]
    doc = setup.campaign.state.load()
    assert doc.status == FAILED
    assert uuid in doc.message
    assert "missing" in doc.message
    setup.campaign.retry()
    finish(setup, undisturbed)


def test_results_in_another_store_are_reported(setup):
    setup.campaign.advance()
    for key in label_keys(setup):
        setup.engine.set_state(key, "completed")
    setup.campaign.advance()
    doc = setup.campaign.state.load()
    assert doc.status == FAILED
    assert "do the workers of fake write to the store of this campaign" in doc.message


def test_failed_labels_are_computed_again_on_request(prepared, shared_mongo, undisturbed):
    def loop(fraction, minimum):
        maker = labelling_loop()
        static = Breaks(fraction=fraction)
        labeller = dataclasses.replace(maker.labeller, maker=static, min_label_fraction=minimum)
        return dataclasses.replace(maker, labeller=labeller)

    setup = clone(prepared, shared_mongo.uri, loop(0.5, 0.95))
    setup.run()
    doc = setup.campaign.state.load()
    assert doc.status == FAILED
    assert "min_label_fraction=0.95" in doc.message
    failed = [d for d in setup.labels() if d[2] == "failed" and d[4] == 1]
    assert 0 < len(failed) < N_LABELS
    mended = clone_with(setup, loop(0.0, 0.95))
    assert mended.campaign.retry() == []  # no workflow failed
    assert len(mended.campaign.retry(failed_labels=True)) >= 1
    finish(mended, undisturbed)


def clone_with(setup, maker):
    return open_campaign(setup.uri, setup.database, maker)


class FullDisk:
    """Lets label jobs of iteration 1 end without an output, as a full disk does, some times."""

    def __init__(self, monkeypatch, times: int) -> None:
        from atomate2_alpot.label import jobs

        self.left, self.label_row = times, jobs.label_row
        monkeypatch.setattr(jobs, "label_row", self)

    def __call__(self, *arguments):
        if self.left:
            self.left -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.label_row(*arguments)


def test_label_jobs_that_die_run_again(setup, undisturbed, monkeypatch):
    setup.campaign.advance()
    FullDisk(monkeypatch, times=4)
    setup.engine.work()
    progress = setup.campaign.advance()
    assert len(progress.resubmitted) == 2  # batches of three frames, a job each
    assert len(progress.collected) == N_BATCHES - 2
    assert setup.campaign.advance().resubmitted == []  # it is waiting to run
    finish(setup, undisturbed)
    assert len(label_keys(setup)) == N_BATCHES


def test_label_jobs_that_always_die_cost_their_frames(prepared, shared_mongo, monkeypatch):
    setup = clone(prepared, shared_mongo.uri, max_attempts=2, max_in_flight=1)
    setup.campaign.advance()
    FullDisk(monkeypatch, times=2 * 3)
    setup.run()
    assert setup.campaign.state.load().status == FINISHED
    failed = [d for d in setup.labels("reason") if d[2] == "failed"]
    assert [d[-1] for d in failed] == ["no task document"] * 3


@pytest.mark.parametrize("hours", [-5, 5])
def test_leases_do_not_go_by_the_clock_of_this_machine(
    prepared, shared_mongo, undisturbed, monkeypatch, hours
):
    """Wrong by hours where `advance` runs: only the server's clock counts."""

    class Wrong(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(hours=hours)

        @classmethod
        def utcnow(cls):
            return cls.now(UTC).replace(tzinfo=None)

    for module in ("campaign.state", "dataset.outputs"):
        monkeypatch.setattr(f"atomate2_alpot.{module}.datetime", Wrong)
    setup = clone(prepared, shared_mongo.uri, lease=1.0, max_wait=2.0, min_finished_fraction=0.1)
    n_resubmitted = 0
    for _ in range(60):
        n_resubmitted += len(setup.campaign.advance().resubmitted)
        if not setup.engine.work():
            break
    assert n_resubmitted == 0
    assert setup_status(setup) == FINISHED
    assert setup.labels("energy") == undisturbed


def test_clocks_of_workers_may_differ_by_hours(setup, undisturbed):
    """What workers write tells the time by their own clocks: every other one is five hours wrong."""
    outputs, n_wrong = setup.stores.jobs.docs_store, 0
    for _ in range(60):
        setup.campaign.advance()
        if not setup.engine.work():
            break
        for i, row in enumerate(outputs.query({"metadata.wrong": None}, ["completed_at"])):
            told = datetime.fromisoformat(row["completed_at"])
            wrong = told + timedelta(hours=5 if i % 2 else -5)
            changes = {"completed_at": wrong.isoformat(), "metadata.wrong": True}
            outputs._collection.update_one({"_id": row["_id"]}, {"$set": changes})
            n_wrong += 1
    assert n_wrong > N_BATCHES
    assert setup_status(setup) == FINISHED
    assert setup.labels("energy") == undisturbed
    assert set(frames_labelled(setup).values()) == {1}
