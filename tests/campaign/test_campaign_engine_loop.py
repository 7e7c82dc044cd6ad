"""The whole loop on FireWorks' and jobflow-remote's own workers, and what one sees of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import bson
import pytest
from engine_jobs import short_loop

from atomate2_alpot.campaign.engines import WorkflowState
from atomate2_alpot.dataset import LabelStore, sync_labels
from atomate2_alpot.dataset.stores import mongo_stores
from atomate2_alpot.flows import JobRoute, Routing
from engine_worlds import PROJECT, TOKEN, WORKER, WORLDS, run_everything
from warm_worker import warm_worker

pytestmark = pytest.mark.slow

KEY_OF_LOOP = "test-campaign/loop"
CATEGORIES = ("screen", "label", "default")
ROUTES = {
    "fireworks": Routing(**{c: JobRoute(category=c) for c in CATEGORIES}),
    "jobflow-remote": Routing(label=JobRoute(worker=WORKER, priority=3)),
}
TEST_CAMPAIGN = {"campaign_id": "test-campaign"}


@pytest.fixture(scope="module", params=sorted(WORLDS))
def world(request, shared_mongo, tmp_path_factory):
    """A loop that an engine has run to its end."""
    folder = tmp_path_factory.mktemp("loop")
    database, options = f"loop_{request.param[:4]}", {}
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.chdir(folder)
        if request.param == "jobflow-remote":
            options["execution_cmd"] = stack.enter_context(warm_worker(folder))
        made = WORLDS[request.param](shared_mongo, database, folder, patch, **options)
        made.engine.check()
        maker = replace(short_loop(folder), routing=ROUTES[request.param])
        made.engine.check_routing(maker.routing)
        made.engine.submit(maker.make(), KEY_OF_LOOP)
        run_everything(made, categories=CATEGORIES)
        yield made


@pytest.fixture
def database(world):
    with world.server.client() as client:
        yield client[world.database]


def test_the_workflow_completes_though_a_label_fails_in_each_iteration(world, database):
    assert world.engine.states([KEY_OF_LOOP]) == {KEY_OF_LOOP: WorkflowState.COMPLETED}
    records = list(database.outputs.find({"name": "record iteration"}).sort("metadata.iteration"))
    assert [r["metadata"]["iteration"] for r in records] == [1, 2]
    assert [r["output"]["counts"]["labelled"] for r in records] == [2, 2]
    assert [r["output"]["counts"]["failed"] for r in records] == [1, 1]


def test_jobs_ran_where_their_kind_is_sent(world):
    with world.server.client() as client:
        if world.settings.name == "fireworks":
            launches = client[f"{world.database}_fw"].launches.find()
            ran = {entry["fw_id"]: entry["fworker"]["name"] for entry in launches}
            jobs = list(client[f"{world.database}_fw"].fireworks.find())
            assert {f["spec"]["_category"] for f in jobs} == set(CATEGORIES)
            assert all(ran[f["fw_id"]] == f["spec"]["_category"] for f in jobs)
            labels = [f for f in jobs if f["spec"]["_category"] == "label"]
            assert all(f["name"].startswith("label ") for f in labels)
            assert {f["spec"]["iteration"] for f in labels} == {0, 1, 2}
        else:
            found = client[f"{world.database}_jf"].jobs.find({"priority": 3})
            assert {j["job"]["metadata"]["iteration"] for j in found} == {0, 1, 2}


def test_results_are_queried_with_pymongo_and_blobs_are_in_gridfs(world, database):
    stores = mongo_stores(world.uri, world.database)
    stores.connect()
    counts = sync_labels(stores.jobs, stores.labels)
    assert counts == {"successful": 6, "failed": 2}
    assert database.labels.count_documents({"state": "successful", "stage": "label"}) == 4
    first = database.labels.find_one({"iteration": 1, "elements": "O", "state": "successful"})
    assert first["campaign_id"] == "test-campaign"
    assert first["max_force"] > 0
    blobs = {f["metadata"]["job_uuid"] for f in database["blobs.files"].find()}
    gathers = {g["uuid"] for g in database.outputs.find({"name": "gather labels"})}
    assert gathers
    assert gathers <= blobs
    assert LabelStore(stores.labels).count({"iteration": 2, "state": "successful"}) == 2


def test_jobs_of_all_iterations_and_stages_carry_metadata_and_tags(database):
    metadata = [d["metadata"] for d in database.outputs.find({"metadata.stage": {"$ne": "loop"}})]
    assert {m["campaign_id"] for m in metadata} == {"test-campaign"}
    found = {(m["iteration"], m["stage"]) for m in metadata}
    stages = {(i, stage) for i in (1, 2) for stage in ("select", "label", "train")}
    assert stages | {(0, "prepare"), (0, "test")} == found
    for m in metadata:
        expected = [f"{k}:{m[k]}" for k in ("campaign_id", "iteration", "stage")]
        assert m["tags"] == expected


def command(*arguments: str) -> str:
    program = Path(sys.executable).parent / arguments[0]
    done = subprocess.run(
        [program, *arguments[1:]],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "400"},  # tables do not break words then
    )
    return done.stdout


def test_the_engines_own_commands_show_names_metadata_and_tags(world):
    if world.settings.name == "fireworks":
        pad = ("lpad", "-l", str(world.settings.launchpad))
        query = json.dumps({"metadata.campaign_id": "test-campaign"})
        shown = json.loads(command(*pad, "get_wflows", "-q", query, "-d", "all"))
        assert shown["name"].startswith("active learning")
        assert shown["state"] == "COMPLETED"
        assert shown["metadata"]["tags"] == ["campaign_id:test-campaign", "iteration:0"]
        query = json.dumps({"spec.tags": "iteration:2", "spec.stage": "label"})
        names = {f["name"] for f in json.loads(command(*pad, "get_fws", "-q", query, "-d", "less"))}
        assert {"expand labels", "gather labels"} <= names
        return
    flows = command("jf", "-p", PROJECT, "flow", "list", "-meta", json.dumps(TEST_CAMPAIGN), "-v")
    assert "active learning" in flows
    assert "campaign_id:test-campaign" in flows
    wanted = json.dumps({**TEST_CAMPAIGN, "iteration": 2, "stage": "label"})
    jobs = command("jf", "-p", PROJECT, "job", "list", "-meta", wanted, "-o", "name,metadata")
    assert "gather labels" in jobs
    assert "iteration:2" in jobs


def test_no_document_holds_a_uri_or_a_password(world):
    seen = 0
    with world.server.client() as client:
        for name in client.list_database_names():
            if not name.startswith(world.database):
                continue
            for collection in client[name].list_collection_names():
                for document in client[name][collection].find():
                    raw = bson.encode(document)
                    assert TOKEN.encode() not in raw, (name, collection)
                    assert b"mongodb://" not in raw, (name, collection)
                    seen += 1
    assert seen > 50
