"""Stores of workers: what is caught before anything is submitted, and what is read afterwards."""

from __future__ import annotations

from uuid import uuid4

import pytest
from jobflow import JobStore
from maggma.stores import MemoryStore

from atomate2_alpot.campaign.engines import EngineError
from atomate2_alpot.campaign.engines.stores import check_job_store, check_same_place
from atomate2_alpot.dataset.stores import mongo_stores
from engine_worlds import job_store

WHERE = "JOB_STORE in jobflow.yaml"


@pytest.fixture
def database():
    return f"t{uuid4().hex[:8]}"


def test_a_store_in_memory_or_without_blobs_is_refused(shared_mongo, database):
    with pytest.raises(EngineError, match=r"jobflow.yaml is a store in memory.*MongoStore"):
        check_job_store(JobStore(MemoryStore(), additional_stores={"data": MemoryStore()}), WHERE)
    description = job_store(shared_mongo.uri, database)
    check_job_store(JobStore.from_dict_spec(description), WHERE)
    del description["additional_stores"]
    with pytest.raises(EngineError, match=r"no additional store 'data'.*GridFSStore"):
        check_job_store(JobStore.from_dict_spec(description), WHERE)


def test_a_store_that_does_not_answer_is_named_without_its_uri(monkeypatch):
    monkeypatch.setattr("atomate2_alpot.campaign.engines.stores.TIMEOUT", 0.3)
    store = JobStore.from_dict_spec(job_store("mongodb://me:secret@127.0.0.1:9/", "x"))
    with pytest.raises(EngineError, match="does not answer") as error:
        check_job_store(store, WHERE)
    assert "secret" not in str(error.value)
    assert error.value.__cause__ is None


def test_workers_must_write_where_results_are_read(shared_mongo, database):
    ours = mongo_stores(shared_mongo.uri, database)
    ours.connect()
    workers = JobStore.from_dict_spec(job_store(shared_mongo.uri, database))
    workers.connect()
    check_same_place(workers, ours.jobs, WHERE)
    assert ours.jobs.count() == 0
    assert ours.jobs.additional_stores["data"].count() == 0
    elsewhere = JobStore.from_dict_spec(job_store(shared_mongo.uri, f"{database}x"))
    elsewhere.connect()
    with pytest.raises(EngineError, match=f"documents.*{database}x.outputs.*{database}.outputs"):
        check_same_place(elsewhere, ours.jobs, WHERE)
    description = job_store(shared_mongo.uri, database)
    description["additional_stores"]["data"]["collection_name"] = "others"
    blobs_elsewhere = JobStore.from_dict_spec(description)
    blobs_elsewhere.connect()
    with pytest.raises(EngineError, match=f"blobs.*{database}.others.*{database}.blobs"):
        check_same_place(blobs_elsewhere, ours.jobs, WHERE)


@pytest.mark.parametrize("compression", [False, True])
def test_blobs_that_workers_write_with_maggmas_store_are_read(shared_mongo, database, compression):
    description = job_store(shared_mongo.uri, database)
    description["additional_stores"]["data"]["compression"] = compression
    workers = JobStore.from_dict_spec(description)
    workers.connect()
    document = {"uuid": "u", "index": 1, "output": {"big": ["x" * 100]}}
    workers.update(document, save={"data": ["big"]})
    ours = mongo_stores(shared_mongo.uri, database)
    ours.connect()
    assert ours.jobs.query_one({"uuid": "u"})["output"]["big"] != ["x" * 100]
    assert ours.jobs.query_one({"uuid": "u"}, load=True)["output"]["big"] == ["x" * 100]
