"""Labels of task documents that others made: VASP's stand-in, atomate2's Makers, maggma's mrun."""

from __future__ import annotations

import copy
import json
import logging
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from atomate2.vasp.jobs.core import RelaxMaker, StaticMaker
from jobflow import run_locally
from maggma.stores import MemoryStore, MongoStore
from pymatgen.core import Lattice, Structure

from atomate2_alpot.dataset import LabelBuilder, LabelStore, mongo_stores
from atomate2_alpot.label.vasp import configured
from atomate2_alpot.schemas import Frames
from atomate2_alpot.testing import ToyPotential, vasp_stand_in

pytestmark = pytest.mark.slow  # VASP's stand-in runs four jobs, mrun starts twice

TOY = ToyPotential(1)
"""What the stand-in computes when INCAR asks for anything but r2SCAN."""

CELL = Structure(Lattice.orthorhombic(2.6, 2.7, 2.8), ["Ni", "Al"], [[0, 0, 0], [0.5, 0.5, 0.45]])


@pytest.fixture(scope="module")
def stores(shared_mongo, tmp_path_factory):
    """Outputs of plain atomate2 jobs: three statics (E(V)), a relaxation, one that fails."""
    found = mongo_stores(shared_mongo.uri, f"db-{uuid4().hex[:12]}")
    found.connect()
    logging.getLogger("custodian").setLevel(logging.CRITICAL)
    folder = tmp_path_factory.mktemp("vasp")
    with vasp_stand_in(folder) as run_vasp:
        jobs = [configured(RelaxMaker(), {"NSW": 3, "EDIFFG": 0}, run_vasp, True).make(CELL)]
        for scale in (0.999, 1.0, 1.001):
            cell = CELL.copy()
            cell.scale_lattice(CELL.volume * 0.75 * scale)
            jobs.append(configured(StaticMaker(), None, run_vasp, True).make(cell))
        run_locally(jobs, store=found.jobs, create_folders=True, root_dir=folder, log=False)
    found.names = [j.uuid for j in jobs]
    yield found
    found.close()


@pytest.fixture
def build(stores, shared_mongo):
    """Return a function that builds into fresh labels and returns their store."""

    def run(labels=None, tasks=None, **settings):
        labels = labels or mongo_stores(shared_mongo.uri, f"db-{uuid4().hex[:12]}").labels
        LabelBuilder(tasks or stores.jobs.docs_store, labels, **settings).run(logging.WARNING)
        (tasks or stores.jobs).connect()
        labels.connect()
        return labels

    return run


def test_labels_of_task_documents_are_what_vasp_computed(stores, build):
    labels = build()
    documents = list(labels.query({}))
    assert {d["state"] for d in documents} == {"successful"}
    assert {d["functional"] for d in documents} == {"PBEsol"}  # atomate2's own default
    assert {d["task_uuid"] for d in documents} == set(stores.names)
    assert {(d["campaign_id"], d["stage"]) for d in documents} == {("tasks", "task")}
    computed = documents[0]["calculation"]
    assert (computed["engine"], computed["encut"] > 0) == ("VASP", True)
    frames = LabelStore(labels).query(functional="PBEsol", elements=["Ni"])
    expected = TOY.predict(frames)
    np.testing.assert_allclose(frames.energy, expected.energy, atol=1e-6)
    np.testing.assert_allclose(frames.forces, expected.forces, atol=1e-5)
    np.testing.assert_allclose(frames.stress, expected.stress, atol=1e-6)


def test_stress_is_the_slope_of_the_energy_over_the_volume(stores, build):
    rows = [build().query_one({"task_uuid": u}) for u in stores.names[1:]]
    slope = (rows[2]["energy"] - rows[0]["energy"]) / (rows[2]["volume"] - rows[0]["volume"])
    assert slope < 0  # compressed
    assert np.trace(rows[1]["stress"]) / 3 == pytest.approx(slope, rel=1e-4)
    assert rows[1]["pressure"] == pytest.approx(-slope, rel=1e-4)


def test_every_ionic_step_of_a_relaxation_is_a_label_if_asked(stores, build):
    rows = sorted(build(which="all").query({"task_uuid": stores.names[0]}), key=lambda d: d["step"])
    assert [d["step"] for d in rows] == list(range(len(rows)))
    assert len(rows) > 1
    first = Frames.from_structures(Structure.from_dict(rows[0]["structure"]))
    assert {d["parent"] for d in rows[1:]} == set(first.frame_id)
    with pytest.raises(ValueError, match="which: 'some'; choose"):
        build(which="some")


def test_only_what_is_new_or_was_updated_is_built_again(stores, build, monkeypatch):
    built = []
    process = LabelBuilder.process_item
    monkeypatch.setattr(
        LabelBuilder, "process_item", lambda self, d: (built.append(d["uuid"]), process(self, d))[1]
    )
    tasks = MemoryStore(key="uuid", last_updated_field="completed_at")
    tasks.connect()
    rows = [{k: v for k, v in d.items() if k != "_id"} for d in stores.jobs.query({})]
    tasks.update(rows[:2])
    keep(tasks)
    labels = build(tasks=tasks)
    assert sorted(built) == sorted(d["uuid"] for d in rows[:2])
    build(labels, tasks)
    assert len(built) == 2
    # another worker's clock is behind: its document is older than all that were read
    tasks.update([{**rows[2], "completed_at": "1999-01-01T00:00:00"}])
    build(labels, tasks)
    assert built[2:] == [rows[2]["uuid"]]
    changed = copy.deepcopy({**rows[0], "completed_at": "2099-01-01T00:00:00"})
    tasks.update([changed])
    build(labels, tasks)
    assert built[3:] == [rows[0]["uuid"]]
    assert labels.count({}) == 3


def keep(store):
    """Keep a store in memory open when a builder is done with it."""
    store.close = lambda: None


def task_of(stores, number=1):
    return copy.deepcopy(stores.jobs.query_one({"uuid": stores.names[number]})["output"])


def test_plain_task_documents_of_others_are_read_too(stores, build, shared_mongo):
    tasks = MongoStore(f"db-{uuid4().hex[:12]}", "tasks", uri=shared_mongo.uri)
    tasks.connect()
    plain = task_of(stores)
    for name in ("@module", "@class"):
        del plain[name]
    tasks.update([{**plain, "task_id": "mp-1"}, {**plain, "task_id": "mp-2"}])
    labels = build(tasks=tasks, functional="PBE54")
    (row,) = labels.query({})
    assert (row["functional"], len(row["tasks_read"])) == ("PBE54", 2)
    original = build().query_one({"task_uuid": stores.names[1]})
    assert row["energy"] == original["energy"]


def not_converged(task):
    task["calcs_reversed"][0]["input"]["parameters"]["NELM"] = 1


def no_steps(task):
    task["calcs_reversed"][0]["output"]["ionic_steps"] = []


def rubbish(task):
    task["calcs_reversed"] = "rubbish"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (not_converged, "not converged"),
        (no_steps, "no ionic steps"),
        (rubbish, "unreadable task document"),
    ],
)
def test_a_document_without_a_label_is_a_failed_one_until_it_is_mended(
    stores, build, damage, reason
):
    tasks = MemoryStore(key="uuid", last_updated_field="completed_at")
    tasks.connect()
    keep(tasks)
    broken, whole = task_of(stores), task_of(stores)
    damage(broken)
    row = {"uuid": "t", "index": 1, "completed_at": "2026-01-01"}
    tasks.update([{**row, "output": broken}])
    labels = build(tasks=tasks)
    (failed,) = labels.query({})
    assert (failed["state"], failed["reason"], failed["task_uuid"]) == ("failed", reason, "t")
    assert labels.count({"state": "successful"}) == 0
    tasks.update([{**row, "completed_at": "2026-01-02", "output": whole}])
    (mended,) = build(labels, tasks).query({})
    assert mended["state"] == "successful"


def test_references_to_blobs_within_a_document_are_no_obstacle(stores, build):
    tasks = MemoryStore(key="uuid", last_updated_field="completed_at")
    tasks.connect()
    keep(tasks)
    task = task_of(stores)
    task["vasp_objects"] = {
        "chgcar": {"@class": "Chgcar", "@module": "pymatgen.io.vasp.outputs", "blob_uuid": "b"}
    }
    tasks.update([{"uuid": "t", "index": 1, "completed_at": "2026-01-01", "output": task}])
    assert build(tasks=tasks).count({"state": "successful"}) == 1


def mrun(*arguments) -> str:
    program = Path(sys.executable).parent / "mrun"
    done = subprocess.run(
        [str(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


SCRIPT = """
import os
from atomate2_alpot.dataset import LabelBuilder, mongo_stores

uri = os.environ["ALPOT_MONGO_URI"]
tasks = mongo_stores(uri, {tasks!r}).jobs.docs_store
__builder__ = LabelBuilder(tasks, mongo_stores(uri, {labels!r}).labels)
"""


@pytest.mark.parametrize("kind", ["json", "py"])
def test_mrun_builds_the_same_labels(kind, stores, build, shared_mongo, tmp_path, monkeypatch):
    database = f"db-{uuid4().hex[:12]}"
    target = mongo_stores(shared_mongo.uri, database).labels
    path = tmp_path / f"build_labels.{kind}"
    if kind == "json":
        path.write_text(json.dumps(LabelBuilder(stores.jobs.docs_store, target).as_dict()))
    else:
        monkeypatch.setenv("ALPOT_MONGO_URI", shared_mongo.uri)
        names = {"tasks": stores.jobs.docs_store.database, "labels": database}
        path.write_text(SCRIPT.format(**names))
    said = mrun(path, "--no_bars", "-v", *(["-n", 2] if kind == "py" else []))
    assert "127.0.0.1" not in said
    target.connect()
    names = ("frame_id", "energy", "forces", "stress", "functional", "task_uuid", "tasks_read")
    by_mrun, by_run = (
        sorted(store.query({}, list(names)), key=lambda d: d["frame_id"])
        for store in (target, build())
    )
    strip = [[{k: d[k] for k in names} for d in rows] for rows in (by_mrun, by_run)]
    assert strip[0] == strip[1]
    assert len(by_mrun) == 4
