"""What grows with a campaign, and what must not."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import bson
import pytest
from campaign_parts import at_stage, labelling_loop, many_frames
from jobflow import Flow

from atomate2_alpot.campaign.documents import batch_doc, stage_id
from atomate2_alpot.campaign.identity import identified, output_uuid, workflow_key
from atomate2_alpot.campaign.labels import Label
from atomate2_alpot.campaign.screening import Screen
from atomate2_alpot.schemas import Frames


def sizes(setup, *collections: str) -> dict[str, int]:
    """Return the size of the largest document of each collection, in bytes."""
    database = setup.client[setup.database]
    return {c: max(len(bson.encode(d)) for d in database[c].find()) for c in collections}


def test_documents_stay_small_with_20000_frames(shared_mongo):
    frames = many_frames(20_000)
    maker = labelling_loop()
    rows = dataclasses.replace(maker, labeller=dataclasses.replace(maker.labeller, batch_size=100))
    sizes_of = {"batch_size": 500, "gather_size": 10, "max_in_flight": 3}
    setup = at_stage(shared_mongo.uri, "label", frames, rows, **sizes_of)
    progress = setup.campaign.advance()
    assert len(progress.submitted) == 3
    assert setup.campaign.state.count(stage_id("test-campaign", 1, "label"), "planned") == 37
    largest = sizes(setup, "campaigns", "batches", "outputs")
    assert max(largest.values()) < 10_000
    shards = setup.stores.jobs.query({"name": "frames to label"}, load=True)
    ids = [i for d in shards for i in Frames.from_dict(d["output"]["frames"]).frame_id]
    assert sorted(ids) == sorted(frames.frame_id)


def test_screening_jobs_hold_ranges_and_no_structures(shared_mongo):
    maker = labelling_loop()
    maker = dataclasses.replace(
        maker, proposer=dataclasses.replace(maker.proposer, candidates_per_iteration=10_000_000)
    )
    setup = at_stage(shared_mongo.uri, "screen", None, maker, screen_chunks=10_000, max_in_flight=1)
    ctx = setup.campaign._context(setup.campaign.state.load())
    payloads = list(Screen().plan(ctx))
    ranges = [(p["start"], p["stop"]) for p in payloads]
    n_test = maker.proposer.n_test
    assert ranges[0][0] == n_test
    assert ranges[-1][1] == n_test + 10_000_000
    assert all(a[1] == b[0] for a, b in pairwise(ranges))
    small = batch_doc(ctx.doc.stage_id, 0, {"shard": 0, "start": 8, "stop": 8 + 45})
    flow = Screen().make(ctx, small)
    assert [job.name for job in flow.jobs] == [
        "carry",
        "screen",
        "screen",
        "screen",
        "gather_screens",
    ]
    assert flow.jobs[1].function_args[1:3] == (8, 23)


def test_a_workflow_is_the_same_to_the_last_uuid_whoever_makes_it(shared_mongo):
    setup = at_stage(shared_mongo.uri, "label", many_frames(7))
    campaign = setup.campaign
    campaign._plan(campaign._context(campaign.state.load()))
    ctx = campaign._context(campaign.state.load())
    first, second, *_ = campaign.state.find(ctx.doc.stage_id, ["planned"])

    def made(batch) -> Flow:
        return identified(Label().make(ctx, batch), workflow_key(batch))

    again = made(first)
    assert again.all_uuids == made(first).all_uuids
    assert not set(again.all_uuids) & set(made(second).all_uuids)
    assert again.output.uuid == output_uuid(first.key)
    later = first.model_copy(update={"attempt": 2})
    assert not set(again.all_uuids) & set(made(later).all_uuids)
    metadata = [job.metadata for job, _ in again.iterflow()]
    shared = {"campaign_id": "test-campaign", "iteration": 1, "stage": "label", "batch": 0}
    assert all(shared.items() <= m.items() for m in metadata)


def test_planning_that_was_cut_is_taken_up(shared_mongo, monkeypatch):
    from atomate2_alpot.campaign import state as module

    monkeypatch.setattr(module, "BLOCK", 2)
    setup = at_stage(shared_mongo.uri, "label", many_frames(20), max_in_flight=1)
    campaign, plan = setup.campaign, Label.plan

    def cut(self, ctx):
        for number, payload in enumerate(plan(self, ctx)):
            if number == 5:
                raise KeyboardInterrupt
            yield payload

    monkeypatch.setattr(Label, "plan", cut)
    with pytest.raises(KeyboardInterrupt):
        campaign.advance()
    assert len(campaign.state.known(stage_id("test-campaign", 1, "label"))) == 4
    monkeypatch.setattr(Label, "plan", plan)
    campaign.advance()
    doc = campaign.state.load()
    assert (doc.planned, doc.n_batches) == (True, 7)
    found = campaign.state.find(doc.stage_id, ["planned", "submitted"])
    covered = [
        i
        for b in found
        for i in range(b.payload["start"], b.payload["start"] + b.payload["n_frames"])
    ]
    assert covered == list(range(20))
