"""Workers of the engines are killed in every stage; the labels are those of a quiet campaign."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from campaign_parts import labelling_loop, new_campaign
from dying import AFTER, BEFORE, in_a_process, remaining, rlaunch, run_remote, sentence
from fireworks import LaunchPad

from atomate2_alpot.campaign.documents import FAILED, FINISHED
from atomate2_alpot.label import presets
from engine_worlds import PROJECT, fireworks_world, job_store, remote_world
from warm_worker import warm_worker

pytestmark = pytest.mark.slow

DEATHS = [
    ("prepare committee", AFTER),
    ("label AlO", BEFORE),
    ("label Ni", AFTER),
    (presets.toy_surrogate(seed=99).maker.name, AFTER),  # a calculation within a label job
    ("label batch", BEFORE),
    ("label batch", AFTER),
    ("screen", BEFORE),
    ("select", AFTER),
    ("join labels", AFTER),
    ("gather labels", BEFORE),
    ("collect committee", BEFORE),
    ("record iteration", AFTER),
]


@pytest.fixture(scope="module")
def undisturbed(shared_mongo):
    """The labels of a campaign that nothing happened to."""
    setup = new_campaign(shared_mongo.uri, labelling_loop())
    setup.run()
    return setup.labels("energy")


def test_workers_of_fireworks_are_killed_in_every_stage(
    undisturbed, shared_mongo, tmp_path, monkeypatch
):
    setup = new_campaign(shared_mongo.uri, labelling_loop())
    world = fireworks_world(shared_mongo, setup.database, tmp_path, monkeypatch)
    setup.campaign.engine = world.engine
    setup.campaign.state.campaigns.update_one({}, {"$set": {"engine": "fireworks"}})
    pad = LaunchPad.from_file(str(world.settings.launchpad))
    sentence(tmp_path, DEATHS)
    codes = []
    for _ in range(60):
        setup.campaign.advance()
        if setup.campaign.state.load().status == FINISHED:
            break
        place = job_store(world.uri, world.database)
        codes.append(in_a_process(rlaunch, tmp_path, world.settings.launchpad, place))
        pad.detect_lostruns(expiration_secs=0, rerun=True)
    assert remaining(tmp_path) == []
    assert Counter(codes)[-9] == len(DEATHS)
    assert setup.labels("energy") == undisturbed


def test_workers_and_runners_of_jobflow_remote_are_killed(
    undisturbed, shared_mongo, tmp_path, monkeypatch
):
    setup = new_campaign(shared_mongo.uri, labelling_loop())
    rng = random.Random(1)
    codes = []
    with warm_worker(tmp_path) as command:
        world = remote_world(shared_mongo, setup.database, tmp_path, monkeypatch, command)
        setup.campaign.engine = world.engine
        setup.campaign.state.campaigns.update_one({}, {"$set": {"engine": "jobflow-remote"}})
        sentence(tmp_path, DEATHS)
        for turn in range(60):
            setup.campaign.advance()
            status = setup.campaign.state.load().status
            if status == FINISHED:
                break
            if status == FAILED:
                setup.campaign.retry()
            # every other of the first ones is killed, wherever it stands
            seconds = rng.uniform(0.5, 4) if turn % 2 == 0 and turn < 12 else None
            codes.append(in_a_process(run_remote, tmp_path / "projects", PROJECT, seconds=seconds))
    assert remaining(tmp_path) == []
    assert Counter(codes)[-9] > 2
    assert setup.labels("energy") == undisturbed
