"""Both engines keep the contract: one workflow per key, whatever happens, and its state."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from engine_jobs import labels

from atomate2_alpot.campaign.engines import KEY, EngineError, WorkflowState
from engine_worlds import WORLDS, run_everything

LABEL = "c/1/label/0"


@pytest.fixture(params=sorted(WORLDS))
def world(request, shared_mongo, tmp_path, monkeypatch):
    return WORLDS[request.param](shared_mongo, f"t{uuid4().hex[:8]}", tmp_path, monkeypatch)


def job_documents(world):
    """Return what the engine holds of jobs: state, parents, key."""
    with world.server.client() as client:
        if world.settings.name == "fireworks":
            database = client[f"{world.database}_fw"]
            parents = {}
            for workflow in database.workflows.find():
                parents |= {n: workflow["parent_links"].get(str(n), []) for n in workflow["nodes"]}
            found = list(database.fireworks.find())
            return [(f["state"], parents.get(f["fw_id"]), f["spec"].get(KEY)) for f in found]
        found = list(client[f"{world.database}_jf"].jobs.find())
        return [(j["state"], j["parents"], j["job"]["metadata"].get(KEY)) for j in found]


def workflow_documents(world):
    with world.server.client() as client:
        if world.settings.name == "fireworks":
            return list(client[f"{world.database}_fw"].workflows.find())
        return list(client[f"{world.database}_jf"].flows.find())


def assert_one_workflow_to_run(world):
    assert len(workflow_documents(world)) == 1
    jobs = job_documents(world)
    assert sorted(state for state, _, _ in jobs) == ["READY", "READY", "WAITING"]
    assert all((state == "READY") == (not parents) for state, parents, _ in jobs)


def test_it_is_ready(world):
    world.engine.check()


def test_a_key_is_one_workflow(world):
    ids = {world.another().submit(labels(world.folder), LABEL) for _ in range(3)}
    assert len(ids) == 1
    assert world.engine.states([LABEL, "none"]) == {LABEL: WorkflowState.WAITING}
    assert_one_workflow_to_run(world)
    assert world.engine.submit(labels(world.folder, "b"), "c/1/label/1") not in ids
    assert len(workflow_documents(world)) == 2


@pytest.mark.parametrize("same_uuids", [True, False])
def test_submissions_at_once_make_one_workflow(world, same_uuids):
    flows = [labels(world.folder, "a" if same_uuids else str(i)) for i in range(8)]
    engines = [world.another() for _ in flows]
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda e, f: e.submit(f, LABEL), engines, flows))
    assert len(set(ids)) == 1
    assert_one_workflow_to_run(world)


def test_who_is_overtaken_while_writing_finds_the_other(world, monkeypatch):
    """Another submission is done, and has cleared away, between two writes of the first."""
    slow = world.another()
    jobs = slow._queue.jobs if hasattr(slow, "_queue") else slow._pad.fireworks
    write, ids = jobs.insert_many, []

    def overtaken(*args, **options):
        written = write(*args, **options)
        ids.append(world.another().submit(labels(world.folder, "b"), LABEL))
        return written

    monkeypatch.setattr(jobs, "insert_many", overtaken)
    assert slow.submit(labels(world.folder, "a"), LABEL) == ids[0]
    assert_one_workflow_to_run(world)


@pytest.mark.parametrize("same_uuids", [True, False])
@pytest.mark.parametrize("next_write", ["_link", "_release"])
def test_a_submission_that_was_cut_runs_nothing_and_is_made_good(
    world, monkeypatch, next_write, same_uuids
):
    def killed(*_):
        raise KeyboardInterrupt

    cut = world.another()
    monkeypatch.setattr(cut, next_write, killed)
    with pytest.raises(KeyboardInterrupt):
        cut.submit(labels(world.folder, "a"), LABEL)
    assert {state for state, _, _ in job_documents(world)} == {"WAITING"}
    expected = {} if next_write == "_link" else {LABEL: WorkflowState.WAITING}
    assert world.engine.states([LABEL]) == expected
    world.engine.submit(labels(world.folder, "a" if same_uuids else "b"), LABEL)
    assert_one_workflow_to_run(world)


def test_uuids_that_are_given_are_kept(world):
    flow = labels(world.folder)
    uuids = set(flow.job_uuids)
    world.engine.submit(flow, LABEL)
    with world.server.client() as client:
        if world.settings.name == "fireworks":
            found = client[f"{world.database}_fw"].fireworks.find()
            assert {f["spec"]["_tasks"][0]["job"]["uuid"] for f in found} == uuids
        else:
            found = client[f"{world.database}_jf"].jobs.find()
            assert {j["uuid"] for j in found} == uuids


def test_metadata_and_tags_are_those_that_all_jobs_share(world):
    world.engine.submit(labels(world.folder), LABEL)
    metadata = workflow_documents(world)[0]["metadata"]
    assert metadata == {
        "campaign_id": "c",
        "iteration": 1,
        "stage": "label",
        KEY: LABEL,
        "tags": ["campaign_id:c", "iteration:1", "stage:label"],
    }


def test_a_key_that_is_nowhere_cannot_be_rerun_or_cancelled(world):
    for action in (world.engine.rerun, world.engine.cancel):
        with pytest.raises(EngineError, match="no workflow 'c/9'"):
            action("c/9")


@pytest.mark.slow
def test_states_follow_the_jobs(world):
    """A gather that does without a failed label, one that does not, a flow that grew; cancel."""
    engine, folder = world.engine, world.folder
    engine.submit(labels(folder, "a"), "tolerant")
    engine.submit(labels(folder, "b", numbers=(0,), strict=True), "strict")
    engine.submit(labels(folder, "c", numbers=(0,), grows=True), "grown")
    engine.submit(labels(folder, "d"), "cancelled")
    keys = ["tolerant", "strict", "grown", "cancelled"]
    assert set(engine.states(keys).values()) == {WorkflowState.WAITING}
    engine.cancel("cancelled")
    run_everything(world)
    ended = {
        "tolerant": WorkflowState.COMPLETED,
        "strict": WorkflowState.FAILED,
        "grown": WorkflowState.COMPLETED,
        "cancelled": WorkflowState.FAILED,
    }
    assert engine.states(keys) == ended
    cancelled = [s for s, _, key in job_documents(world) if key == "cancelled"]
    assert set(cancelled) <= {"DEFUSED", "USER_STOPPED"}
    (folder / "mended").touch()
    for key in ("tolerant", "strict", "grown"):
        engine.rerun(key)
    again = {"tolerant": WorkflowState.RUNNING, "strict": WorkflowState.WAITING}
    assert engine.states(keys) == ended | again  # what has grown stands
    run_everything(world)
    assert engine.states(keys) == ended | {"strict": WorkflowState.COMPLETED}


@pytest.mark.slow
@pytest.mark.parametrize("world", ["jobflow-remote"], indirect=True)
def test_a_failed_job_runs_again_whatever_the_clock_of_who_submitted_it(world):
    """Documents of jobs tell when they were made by the submitter's clock, here an hour fast."""
    world.engine.submit(labels(world.folder, numbers=(0,), strict=True), LABEL)
    with world.server.client() as client:
        jobs = client[f"{world.database}_jf"].jobs
        fast = datetime.now(UTC) + timedelta(hours=1)
        jobs.update_many({}, {"$set": {"created_on": fast}})
    run_everything(world)
    assert world.engine.states([LABEL]) == {LABEL: WorkflowState.FAILED}
    (world.folder / "mended").touch()
    world.engine.rerun(LABEL)
    run_everything(world)
    assert world.engine.states([LABEL]) == {LABEL: WorkflowState.COMPLETED}
