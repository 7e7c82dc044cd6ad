"""The store on a server: indexes, and that queries are answered from them."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from uuid import uuid4

import pytest
from pymongo.errors import DuplicateKeyError, PyMongoError

sys.path.insert(0, str(Path(__file__).parent))

from test_dataset_all import batch, labelled, run_gather

from atomate2_alpot.dataset import (
    INDEXES,
    iteration_documents,
    label_documents,
    mongo_stores,
    sync_labels,
    write_labels,
)
from atomate2_alpot.dataset.campaigns import RECORD
from atomate2_alpot.dataset.labels import GATHER
from atomate2_alpot.dataset.query import build_criteria


@pytest.fixture
def database(shared_mongo) -> str:
    """A name that no other test has."""
    return f"db-{uuid4().hex[:12]}"


@pytest.fixture
def stores(shared_mongo, database):
    found = mongo_stores(shared_mongo.uri, database)
    found.connect()
    yield found
    found.close()


def plan_of(collection, criteria) -> set[str]:
    """Return the stages of the winning plan; skip where the server does not explain."""
    try:
        explained = collection.find(criteria).explain()["queryPlanner"]["winningPlan"]
    except (PyMongoError, KeyError) as error:
        pytest.skip(f"this server does not explain ({type(error).__name__})")
    stages, todo = set(), [explained]
    while todo:
        part = todo.pop()
        stages.add(part["stage"])
        todo += [part["inputStage"]] if "inputStage" in part else part.get("inputStages", [])
    return stages


QUERIES = [
    ("labels", {"frame_id": "x", "functional": "r2SCAN", "campaign_id": "c1"}),
    ("labels", {"frame_id": {"$in": ["x", "y"]}}),
    ("labels", {"elements": "Al", "functional": "r2SCAN"}),
    ("labels", build_criteria(chemsys="Al-Ni", functional="r2SCAN")),
    ("labels", build_criteria(functional="r2SCAN", max_force=3.0)),
    ("labels", build_criteria(campaign_id="c1", iteration=2, stage="label")),
    ("labels", build_criteria(campaign_id="c1")),
    ("labels", build_criteria(iteration=2)),
    ("labels", {"campaign_id": "c1", "state": "failed", "reason": "walltime"}),
    ("labels", {"formula_pretty": "AlNi"}),
    ("labels", {"gather_uuid": "g"}),
    ("labels", {"gathers_read": {"$gt": ""}}),
    ("labels", {"task_uuid": "t"}),
    ("outputs", {"uuid": "u", "index": 1}),
    ("outputs", {"name": GATHER}),
    ("outputs", {"name": RECORD, "metadata.campaign_id": "c1"}),
    ("outputs", {"metadata.campaign_id": "c1"}),
    ("blobs.files", {"metadata.blob_uuid": {"$in": ["a", "b"]}}),
    ("blobs.files", {"metadata.job_uuid": "j", "metadata.job_index": 1}),
]

FILTERS = {
    "elements": ["Al", "Ni"],
    "chemsys": "Al-Ni",
    "functional": "r2SCAN",
    "campaign_id": "c1",
    "iteration": 2,
}


def test_what_people_ask_is_answered_from_an_index(stores):
    run_gather(stores)
    sync_labels(stores.jobs, stores.labels)
    for name, criteria in QUERIES:
        collection = stores.collections()[name]
        assert collection.estimated_document_count() > 0
        assert "IXSCAN" in plan_of(collection, criteria), criteria
        assert plan_of(collection, {"nobody": "asks this"}) == {"COLLSCAN"}


@pytest.mark.parametrize("n_filters", [1, 2, 3])
def test_every_filter_holds_the_first_field_of_an_index(n_filters):
    # MongoDB then reads the index and sifts what it finds; the test server only plans filters
    # that an index covers wholly, so that it cannot be asked about these
    first = {index.fields[0] for index in INDEXES if index.collection == "labels"}
    for names in combinations(FILTERS, n_filters):
        criteria = build_criteria(**{n: FILTERS[n] for n in names}, max_force=3.0, engine="VASP")
        assert first & set(criteria)


def test_every_index_is_made_once_and_used_by_some_query(shared_mongo, database):
    first = mongo_stores(shared_mongo.uri, database).connect()
    again = mongo_stores(shared_mongo.uri, database).connect()
    assert {r.state for r in first} == {"made"}
    assert {r.state for r in again} == {"there"}
    assert [r.index for r in first] == [i for i in INDEXES if i.collection != "blobs"]  # of S3


def test_two_documents_of_one_label_are_refused_by_the_server(stores):
    collection = stores.collections()["labels"]
    label = {"frame_id": "f", "functional": "r2SCAN", "campaign_id": "c1"}
    collection.insert_one(dict(label))
    collection.insert_one({**label, "campaign_id": "c2"})
    with pytest.raises(DuplicateKeyError):
        collection.insert_one(dict(label))


def test_duplicates_of_an_older_store_are_named_and_stop_nothing(shared_mongo, database):
    stores = mongo_stores(shared_mongo.uri, database)
    with shared_mongo.client() as client:
        client[database].labels.insert_many([{"frame_id": "f"}, {"frame_id": "f"}])
    failed = [r for r in stores.connect() if r.state == "failed"]
    assert [r.index.unique for r in failed] == [True]
    assert "same frame_id, functional, campaign_id; remove all but one" in failed[0].words


def test_many_who_write_the_same_labels_at_once_leave_them_once(shared_mongo, database, stores):
    documents = list(label_documents(batch(labelled(200))))

    def write(_):
        own = mongo_stores(shared_mongo.uri, database)
        own.connect()
        return write_labels(own.labels, documents, "g")["successful"]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(write, range(4))) == [200] * 4
    assert stores.labels.count() == 200
    assert stores.labels.count({"gathers_read": "g"}) == 1


def test_labels_and_iterations_of_a_server_are_those_of_the_jobs(stores):
    run_gather(stores, failed=("f1",))
    assert sync_labels(stores.jobs, stores.labels) == {"successful": 4, "failed": 1}
    assert sync_labels(stores.jobs, stores.labels) == {"successful": 0, "failed": 0}
    assert iteration_documents(stores.jobs, "c1") == []
