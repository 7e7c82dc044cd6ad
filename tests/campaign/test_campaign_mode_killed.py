"""Workers of the engines are killed in every stage; the labels are those of a quiet campaign."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from campaign_parts import clone, labelling_loop, new_campaign, until_labels
from dying import (
    AFTER,
    BEFORE,
    DATABASE,
    DURING_UPLOAD,
    in_a_process,
    remaining,
    rlaunch,
    run_remote,
    sentence,
)
from fireworks import LaunchPad

from atomate2_alpot.campaign.documents import FAILED, FINISHED
from atomate2_alpot.label import presets
from engine_worlds import PROJECT, fireworks_world, job_store, remote_world
from mongo_server import mongo_server
from warm_worker import warm_worker

pytestmark = [pytest.mark.slow, pytest.mark.drill]

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

OF_LABELS = [d for d in DEATHS if d[0].startswith(("label", "join", "gather", "collect", "record"))]
"""Of these, those of jobs that the prepared campaign has before it."""


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
    codes = run_on_fireworks(setup, world, pad, tmp_path)
    assert remaining(tmp_path) == []
    assert Counter(codes)[-9] == len(DEATHS)
    assert setup.labels("energy") == undisturbed


def test_workers_and_runners_of_jobflow_remote_are_killed(
    prepared, undisturbed, shared_mongo, tmp_path, monkeypatch
):
    setup = clone(prepared, shared_mongo.uri)
    rng = random.Random(1)
    codes = []
    with warm_worker(tmp_path) as command:
        world = remote_world(shared_mongo, setup.database, tmp_path, monkeypatch, command)
        setup.campaign.engine = world.engine
        setup.campaign.state.campaigns.update_one({}, {"$set": {"engine": "jobflow-remote"}})
        sentence(tmp_path, OF_LABELS)
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
            if codes[-1] == -9:  # what it held when it died: `jf admin unlock`, `unlock-flow`
                world.engine._queue.unlock_jobs()
                world.engine._queue.unlock_flows()
    assert remaining(tmp_path) == []
    assert Counter(codes)[-9] > 2
    assert setup.labels("energy") == undisturbed


OUTAGES = [
    ("label batch", BEFORE),
    ("label batch", DURING_UPLOAD),
    ("label Ni", DURING_UPLOAD),
    ("join labels", DURING_UPLOAD),
    ("gather labels", BEFORE),
]


def test_the_database_is_killed_while_workers_gather_and_upload(
    prepared, undisturbed, tmp_path, monkeypatch
):
    with mongo_server(tmp_path) as server:
        setup = clone(prepared, server.uri)
        world = fireworks_world(server, setup.database, tmp_path, monkeypatch)
        setup.campaign.engine = world.engine
        setup.campaign.state.campaigns.update_one({}, {"$set": {"engine": "fireworks"}})
        pad = LaunchPad.from_file(str(world.settings.launchpad))
        sentence(tmp_path, OUTAGES)
        ended = Event()
        with ThreadPoolExecutor(1) as pool:
            n_outages = pool.submit(bring_back, server, tmp_path, ended)
            try:
                run_on_fireworks(setup, world, pad, tmp_path)
            finally:
                ended.set()
        assert remaining(tmp_path) == []
        assert n_outages.result() == len(OUTAGES)
        assert setup.labels("energy") == undisturbed


def bring_back(server, folder, ended) -> int:
    """Start a server again whenever it was killed; return how often."""
    n = 0
    (folder / DATABASE).write_text(str(server.pid))
    while not ended.wait(0.05):
        if server.dies():
            server.restart()
            (folder / DATABASE).write_text(str(server.pid))
            n += 1
    return n


def run_on_fireworks(setup, world, pad, folder) -> list[int]:
    """Advance and let workers run until the campaign ends; return how each worker ended."""
    codes = []
    for _ in range(60):
        setup.campaign.advance()
        status = setup.campaign.state.load().status
        if status == FINISHED:
            break
        if status == FAILED:
            setup.campaign.retry()
        place = job_store(world.uri, world.database)
        codes.append(in_a_process(rlaunch, folder, world.settings.launchpad, place))
        pad.detect_lostruns(expiration_secs=0, rerun=True)
    return codes
