"""Campaign mode on the engines' own workers: the labels of the fake engine, which runs in order."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack

import pytest
from campaign_parts import clone, labelling_loop, new_campaign, until_labels
from fakes import Breaks

from atomate2_alpot.campaign.documents import FINISHED
from engine_worlds import WORLDS, run_everything
from warm_worker import warm_worker

pytestmark = pytest.mark.slow


def failing_loop():
    """Rows of three frames; a third of the labels fails."""
    maker = labelling_loop()
    failing = {"maker": Breaks(fraction=0.3), "batch_size": 3, "min_label_fraction": 0.1}
    return dataclasses.replace(maker, labeller=dataclasses.replace(maker.labeller, **failing))


@pytest.fixture(scope="module")
def prepared(shared_mongo, tmp_path_factory):
    setup = new_campaign(shared_mongo.uri, labelling_loop())
    until_labels(setup)
    return setup


@pytest.mark.parametrize("kind", sorted(WORLDS))
def test_a_campaign_on_an_engine(prepared, shared_mongo, tmp_path, monkeypatch, kind):
    expected = clone(prepared, shared_mongo.uri, failing_loop())
    expected.run()
    setup = clone(prepared, shared_mongo.uri, failing_loop())
    with ExitStack() as stack:
        options = {}
        if kind == "jobflow-remote":
            options["execution_cmd"] = stack.enter_context(warm_worker(tmp_path))
        world = WORLDS[kind](shared_mongo, setup.database, tmp_path, monkeypatch, **options)
        setup.campaign.engine = world.engine
        setup.campaign.state.campaigns.update_one({}, {"$set": {"engine": kind}})
        n_submitted = 0
        for _ in range(8):
            n_submitted += len(setup.campaign.advance().submitted)
            if setup.campaign.state.load().status == FINISHED:
                break
            run_everything(world)
    assert setup.campaign.state.load().status == FINISHED
    assert setup.labels("energy") == expected.labels("energy")
    assert {d[2] for d in setup.labels()} == {"successful", "failed"}
    assert n_submitted == len(expected.engine.all_keys()) - len(prepared.engine.all_keys())
