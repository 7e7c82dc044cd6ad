"""Two iterations in campaign mode: the same labels as an embedded run, in small workflows."""

from __future__ import annotations

import dataclasses

import pytest
from campaign_parts import at_stage, label_set, labelling_loop, many_frames, new_campaign
from fakes import small_loop
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from atomate2_alpot.dataset import iteration_documents, sync_labels
from atomate2_alpot.dataset.stores import Stores
from atomate2_alpot.label.isolated import atom_labeller, isolated_atoms


def embedded_run(job_store, maker):
    """Run the same loop as one flow."""
    labels = MemoryStore(key="frame_id")
    labels.connect()
    run_locally(maker.make(), store=job_store, log=False)
    sync_labels(job_store, labels)
    return Stores(job_store, labels, "memory")


@pytest.mark.slow
@pytest.mark.parametrize(("failing", "atoms"), [(0.0, True), (0.2, False)])
def test_labels_and_iterations_equal_those_of_an_embedded_run(
    shared_mongo, job_store, failing, atoms
):
    maker = small_loop(failing, label_atoms=atoms)
    whole = new_campaign(shared_mongo.uri, maker)
    whole.run()
    embedded = embedded_run(job_store, maker)
    states = {d[2] for d in whole.labels()}
    assert states == ({"successful", "failed"} if failing else {"successful"})
    assert whole.labels("energy") == label_set(embedded, "energy")
    ours = iteration_documents(whole.stores.jobs)
    theirs = iteration_documents(embedded.jobs)
    same = {"timings", "last_updated"}
    assert [d.model_dump(exclude=same) for d in ours] == [
        d.model_dump(exclude=same) for d in theirs
    ]
    doc = whole.campaign.state.load()
    assert (doc.status, doc.stage, len(doc.history)) == ("finished", "end", 2)
    assert whole.campaign.advance().submitted == []


@pytest.mark.slow
def test_isolated_atoms_that_are_known_are_not_computed_again(shared_mongo, job_store):
    maker = labelling_loop()
    maker = dataclasses.replace(
        maker,
        loop=maker.loop.model_copy(update={"label_atoms": True, "label_crystals": False}),
        proposer=dataclasses.replace(maker.proposer, n_test=2, candidates_per_iteration=4),
    )
    flow = atom_labeller(maker.labeller).make(isolated_atoms(["Al", "Ni"]))
    known = run_locally(flow, store=job_store, log=False)[flow.output.uuid][1].output
    known.campaign_id = "test-campaign"
    setup = new_campaign(shared_mongo.uri, dataclasses.replace(maker, known_atoms=known))
    while setup.campaign.state.load().iteration == 0:
        setup.campaign.advance()
        setup.engine.work()
    atoms = list(setup.stores.labels.query({"prototype": "isolated atom"}))
    assert sorted(d["formula_pretty"] for d in atoms) == ["Al", "Ni", "O2"]
    computed = setup.stores.jobs.query({"metadata.frame_ids": {"$exists": True}}, ["metadata"])
    ids = {i for d in computed for i in d["metadata"]["frame_ids"]}
    assert ids & {d["frame_id"] for d in atoms} == set(isolated_atoms(["O"]).frame_id)
    assert len(setup.campaign.state.load().loop.dataset) == 2


@pytest.mark.slow
def test_a_committee_that_agrees_ends_the_campaign(shared_mongo):
    maker = small_loop(agree=True, max_iterations=3)
    setup = new_campaign(shared_mongo.uri, maker)
    setup.run()
    doc = setup.campaign.state.load()
    assert doc.status == "finished"
    assert [h.status for h in doc.history] == ["running", "nothing_selected"]
    assert "none of" in doc.message


def test_labels_are_judged_against_each_other_over_all_batches(shared_mongo):
    """A deviation is judged over all labels of the iteration, as in one flow."""
    frames = many_frames(9)
    maker = labelling_loop()
    limits = maker.labeller.limits.model_copy(update={"max_energy_deviation": 1e-3})
    strict = dataclasses.replace(
        maker, labeller=dataclasses.replace(maker.labeller, limits=limits, min_label_fraction=0.0)
    )
    setup = at_stage(shared_mongo.uri, "label", frames, strict)
    for _ in range(4):
        setup.campaign.advance()
        assert setup.labels() == [] or setup.campaign.state.load().stage == "train"
        setup.engine.work(lambda key: "train" not in key)
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    store.connect()
    flow = strict.labeller.make(frames, iteration=1)
    whole = run_locally(flow, store=store, log=False)[flow.output.uuid][1].output
    failed = {f.frame_id for f in whole.failures}
    assert failed
    assert {d[0] for d in setup.labels() if d[2] == "failed"} == failed
    assert {d[0] for d in setup.labels() if d[2] == "successful"} == set(whole.frames.frame_id)
