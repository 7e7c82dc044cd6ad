"""Two iterations in campaign mode: the same labels as an embedded run, in small workflows."""

from __future__ import annotations

import pytest
from campaign_parts import label_set, new_campaign
from fakes import small_loop
from jobflow import run_locally

from atomate2_alpot.dataset import iteration_documents, sync_labels


def embedded_run(job_store, maker):
    """Run the same loop as one flow."""
    from maggma.stores import MemoryStore

    from atomate2_alpot.dataset.stores import Stores

    labels = MemoryStore(key="frame_id")
    labels.connect()
    run_locally(maker.make(), store=job_store, log=False)
    sync_labels(job_store, labels)
    return Stores(job_store, labels, "memory")


@pytest.fixture
def whole(shared_mongo):
    setup = new_campaign(shared_mongo.uri)
    setup.run()
    return setup


def test_labels_and_iterations_equal_those_of_an_embedded_run(whole, job_store):
    embedded = embedded_run(job_store, small_loop())
    assert whole.labels("energy") == label_set(embedded, "energy")
    ours = iteration_documents(whole.stores.jobs)
    theirs = iteration_documents(embedded.jobs)
    same = {"timings", "last_updated"}
    assert [d.model_dump(exclude=same) for d in ours] == [
        d.model_dump(exclude=same) for d in theirs
    ]
