"""Both engines keep the contract: one workflow per key, whatever happens, and its state."""

from __future__ import annotations

from uuid import uuid4

import pytest
from engine_jobs import labels

from atomate2_alpot.campaign.engines import WorkflowState
from engine_worlds import WORLDS


@pytest.fixture(params=sorted(WORLDS))
def world(request, shared_mongo, tmp_path, monkeypatch):
    return WORLDS[request.param](shared_mongo, f"t{uuid4().hex[:8]}", tmp_path, monkeypatch)


def test_it_is_ready(world):
    world.engine.check()


def test_a_key_is_one_workflow(world):
    ids = {world.another().submit(labels(world.folder), "c/1/label/0") for _ in range(3)}
    assert len(ids) == 1
    assert world.engine.states(["c/1/label/0", "none"]) == {"c/1/label/0": WorkflowState.WAITING}
