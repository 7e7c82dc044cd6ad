"""Isolated atoms before the loop: labelled, in the dataset, and not labelled twice."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from fakes import small_loop
from jobflow import JobStore
from maggma.stores import MemoryStore
from monty.json import MontyDecoder

from atomate2_alpot.campaign import run_embedded
from atomate2_alpot.cli.atoms import known_atoms
from atomate2_alpot.cli.resume import renewer
from atomate2_alpot.dataset import sync_labels
from atomate2_alpot.label.isolated import IsolatedAtomMaker, isolated_atoms
from atomate2_alpot.train.e0 import resolve_e0s

ELEMENTS = ["Al", "Ni", "O"]


def loop(**settings):
    return small_loop(max_iterations=1, label_atoms=True, **settings)


def labelled_atoms(store) -> int:
    """Label jobs that computed an isolated atom."""
    ids = isolated_atoms(ELEMENTS).frame_id
    return store.count({"metadata.frame_ids": {"$in": ids}})


def output(store, criteria):
    found = store.query_one(criteria, load=True, sort={"index": -1})
    return MontyDecoder().process_decoded(found["output"])


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A campaign that labels isolated atoms, and its label documents."""
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    labels = MemoryStore(key="frame_id")
    labels.connect()
    assert run_embedded(loop().make, tmp_path_factory.mktemp("first"), store).completed
    sync_labels(store, labels)
    return store, labels


def test_atoms_are_labelled_once_each_and_documented(first):
    store, labels = first
    assert labelled_atoms(store) == 3
    documents = list(labels.query({"prototype": "isolated atom"}))
    assert sorted(d["formula_pretty"] for d in documents) == sorted(["Al", "Ni", "O2"])
    assert {(d["stage"], d["iteration"], d["state"]) for d in documents} == {
        ("prepare", 0, "successful")
    }


def test_atoms_are_in_the_dataset_and_give_the_e0s(first):
    store, _ = first
    assert output(store, {"name": "collect committee"}).members[0].n_train == 6 + 3 + 3
    carried = store.query({"name": "carry"}, load=True)
    sets = [d["output"]["frames"] for d in carried if isinstance(d["output"].get("frames"), list)]
    assert max(len(s) for s in sets) == 1 + 1 + 1  # crystals, atoms, labels or the test set
    gathers = [output(store, {"uuid": d["uuid"]}) for d in store.query({"name": "gather labels"})]
    (atoms,) = [g.frames for g in gathers if not g.frames.pbc.any()]
    e0s, source = resolve_e0s(atoms, None)
    assert (sorted(e0s), source) == (ELEMENTS, "isolated_atoms")


def test_a_second_campaign_takes_what_the_store_has(first, tmp_path, job_store):
    _, labels = first
    maker = dataclasses.replace(loop(), campaign_id="second")
    known = known_atoms(labels, maker.labeller, ELEMENTS, "second")
    assert known.n_labelled == 3
    assert known.frames.frame_id == isolated_atoms(ELEMENTS).frame_id
    maker = dataclasses.replace(maker, known_atoms=known)
    assert run_embedded(maker.make, tmp_path, job_store).completed
    assert labelled_atoms(job_store) == 0
    assert output(job_store, {"name": "collect committee"}).members[0].n_train == 6 + 3 + 3
    sync_labels(job_store, labels)
    atoms = {"prototype": "isolated atom"}
    for campaign in ("test-campaign", "second"):
        documents = list(labels.query({**atoms, "campaign_id": campaign}))
        assert len(documents) == 3
        assert all(d["calculation"]["engine"] for d in documents)
    assert len(labels.distinct("task_uuid", atoms)) == 3  # both lead to the one calculation


def test_only_missing_elements_are_computed(first, tmp_path, job_store):
    _, labels = first
    maker = loop()
    known = known_atoms(labels, maker.labeller, ["Al", "Ni"], "third")
    maker = dataclasses.replace(maker, known_atoms=known, campaign_id="third")
    assert run_embedded(maker.make, tmp_path, job_store).completed
    assert labelled_atoms(job_store) == 1
    assert output(job_store, {"name": "collect committee"}).members[0].n_train == 6 + 3 + 3


@pytest.mark.parametrize("change", [{"functional": "PBE"}, {"surrogate": None}])
def test_atoms_of_another_method_do_not_count(first, change):
    _, labels = first
    labeller = dataclasses.replace(loop().labeller, **change)
    assert known_atoms(labels, labeller, ELEMENTS, "x") is None


def test_energies_and_forces_are_those_of_the_documents(first):
    _, labels = first
    labeller = loop().labeller
    stored = {d["frame_id"]: d for d in labels.query({"prototype": "isolated atom"})}
    frames = known_atoms(labels, labeller, ["O", "Al"], "x").frames
    assert frames.elements == ["O", "Al"]
    for s, frame_id in enumerate(frames.frame_id):
        assert frames.energy[s] == stored[frame_id]["energy"]
        np.testing.assert_array_equal(frames.forces[s], stored[frame_id]["forces"][0])
    assert list(frames.column("prototype")) == ["isolated atom"] * 2


def test_settings_of_the_day_leave_an_atom_an_atom():
    maker = loop()
    item = next(
        j
        for j, _ in maker.make().iterflow()
        if j.metadata.get("frame_ids") == isolated_atoms(["Ni"]).frame_id
    )
    renewer(maker)(item)
    assert isinstance(item.function_args[0].maker, IsolatedAtomMaker)
    assert item.function_args[0].maker.maker == maker.labeller.maker


def test_a_labeller_that_cannot_is_named():
    class Other:
        name, functional, surrogate, min_label_fraction = "other", "x", None, 0.5

        def make(self, frames, iteration=0):
            return small_loop().labeller.make(frames, iteration)

    maker = loop()
    maker.labeller = Other()
    with pytest.raises(ValueError, match="loop.label_atoms: Other cannot label isolated atoms"):
        maker.make()
