"""Stores, blobs, label documents, queries and exports."""

from __future__ import annotations

import gzip
import json
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from jobflow import JobStore, job, run_locally
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure

from atomate2_alpot.dataset import (
    BlobError,
    FileBlobStore,
    LabelStore,
    StoreError,
    Stores,
    embedded_stores,
    export_frames,
    label_documents,
    mongo_stores,
    sync_labels,
    write_labels,
)
from atomate2_alpot.dataset.query import build_criteria, frames_of
from atomate2_alpot.schemas import (
    BLOBS,
    CalculationTable,
    Frames,
    LabelBatchDoc,
    LabelFailure,
    Labels,
)
from atomate2_alpot.units import EV_PER_A3_TO_GPA

sys.path.insert(0, str(Path(__file__).parent))


def labelled(n: int = 4, seed: int = 0) -> Frames:
    rng = np.random.default_rng(seed)
    stress = rng.normal(size=(n, 3, 3)) * 0.1
    return Frames.from_arrays(
        rng.choice([13, 28, 8], 2 * n),
        rng.normal(size=(2 * n, 3)),
        np.repeat(np.eye(3)[None] * 4, n, axis=0),
        [2] * n,
        labels=Labels(
            rng.normal(size=n) * 5,
            rng.normal(size=(2 * n, 3)),
            (stress + stress.transpose(0, 2, 1)) / 2,
        ),
        origin={
            "functional": ["r2SCAN"] * n,
            "prototype": ["B2"] * n,
            "iteration": [1] * n,
            "task_uuid": [f"task-{seed}-{i}" for i in range(n)],
        },
    )


def computed(frame_ids: list[str], engine: str = "VASP") -> CalculationTable:
    rows = range(len(frame_ids))
    return CalculationTable.from_columns(
        frame_id=frame_ids,
        task_uuid=[f"task-{i}" for i in frame_ids],
        task_index=list(rows),
        attempt=["first"] * len(rows),
        folder=["secret-host:/scratch/me"] * len(rows),
        engine=[engine] * len(rows),
        version=["6.4.3"] * len(rows),
        encut=[680.0] * len(rows),
        kpoints=["4x4x3"] * len(rows),
        pseudopotentials=["PAW_PBE Al; PAW_PBE Ni"] * len(rows),
    )


def batch(frames: Frames, failed: tuple[str, ...] = (), campaign_id: str = "c1") -> LabelBatchDoc:
    failures = [
        LabelFailure(
            frame_id=i,
            reason="no task document",
            detail="see log",
            task_uuid=f"job-{i}",
            formula="Al2",
        )
        for i in failed
    ]
    return LabelBatchDoc(
        n_requested=len(frames) + len(failed),
        n_labelled=len(frames),
        functional="r2SCAN",
        surrogate="chgnet:r2scan",
        iteration=1,
        campaign_id=campaign_id,
        frames=frames,
        failures=failures,
        calculations=computed(frames.frame_id),
    )


@job(data=BLOBS)
def gather(n: int, seed: int, failed: list[str], campaign_id: str):
    return batch(labelled(n, seed), tuple(failed), campaign_id)


def run_gather(stores, n=4, seed=0, failed=(), stage="label", campaign_id="c1"):
    made = gather(n, seed, list(failed), campaign_id)
    made.name = "gather labels"
    made.update_metadata({"campaign_id": campaign_id, "stage": stage, "iteration": 1})
    run_locally(made, store=stores.jobs, log=False, raise_immediately=True)
    return made


@pytest.fixture
def stores(tmp_path):
    found = embedded_stores(tmp_path / "run")
    found.connect()
    return found


# --- blobs -------------------------------------------------------------------------------


def test_blobs_are_found_by_uuid_after_a_restart(tmp_path):
    store = FileBlobStore(str(tmp_path / "blobs"))
    store.connect()
    store.update([{"blob_uuid": u, "data": {"x": [1, 2, u]}} for u in "abc"], key="blob_uuid")
    again = FileBlobStore.from_dict(store.as_dict())
    again.connect()
    assert again.count() == 3
    assert [d["data"]["x"][2] for d in again.query({"blob_uuid": {"$in": ["c", "a"]}})] == [
        "c",
        "a",
    ]
    assert again.query_one({"blob_uuid": "b"}) == {"blob_uuid": "b", "data": {"x": [1, 2, "b"]}}
    again.remove_docs({"blob_uuid": "b"})
    assert again.distinct("blob_uuid") == ["a", "c"]


def test_missing_and_corrupted_blobs_are_named(tmp_path):
    store = FileBlobStore(str(tmp_path))
    store.connect()
    with pytest.raises(BlobError, match=r"blob lost is missing .*lost.json.z"):
        store.query_one({"blob_uuid": "lost"})
    store.update({"blob_uuid": "rotten", "data": 1})
    (tmp_path / "rotten.json.z").write_bytes(b"not zlib")
    with pytest.raises(BlobError, match="blob rotten is corrupted"):
        store.query_one({"blob_uuid": "rotten"})
    with pytest.raises(ValueError, match="looked up by 'blob_uuid'"):
        list(store.query({"name": "x"}))


def test_blobs_of_a_job_go_with_it(tmp_path):
    store = FileBlobStore(str(tmp_path / "blobs"))
    store.connect()
    for job_uuid, index, blob in (("j", 1, "a"), ("j", 1, "b"), ("j", 2, "c"), ("k", 1, "d")):
        store.update(
            {"blob_uuid": blob, "data": blob, "job_uuid": job_uuid, "job_index": index},
            key="blob_uuid",
        )
    again = FileBlobStore(store.folder)
    assert [d["data"] for d in again.query({"job_uuid": "j"})] == ["a", "b", "c"]
    assert again.count({"job_uuid": {"$in": ["j", "k"]}, "job_index": 1}) == 3
    again.remove_docs({"blob_uuid": "b"})
    again.remove_docs({"job_uuid": "*", "job_index": 1})  # a uuid, not a pattern
    assert again.count({"job_uuid": "j", "job_index": 1}) == 1
    again.remove_docs({"job_uuid": "j", "job_index": 1})
    again.remove_docs({"job_uuid": "never ran", "job_index": 1})
    assert again.distinct("blob_uuid") == ["c", "d"]
    assert again.count({"job_uuid": "j", "job_index": 1}) == 0


def test_a_forgotten_job_leaves_no_blob(stores):
    first, second = run_gather(stores), run_gather(stores, seed=1)
    blobs = stores.jobs.additional_stores["data"]
    n_blobs = blobs.count()
    stores.jobs.remove_docs({"uuid": first.uuid})
    assert 0 < blobs.count() < n_blobs
    assert stores.jobs.get_output(second.uuid, load=True)["n_labelled"] == 4
    stores.jobs.remove_docs({"uuid": second.uuid})
    assert blobs.count() == 0
    assert [p.name for p in Path(blobs.folder).rglob("*") if p.is_file()] == []


# --- labels ------------------------------------------------------------------------------


def test_label_documents_hold_what_people_query():
    frames = labelled(3)
    documents = list(label_documents(batch(frames, ("f1",)), errors={"job-f1": "ZHEGV failed"}))
    assert len(documents) == 4
    doc, structure = documents[1], frames.to_structures()[1]
    assert doc.frame_id == frames.frame_id[1]
    assert doc.energy_per_atom == pytest.approx(frames.energy[1] / 2)
    assert doc.max_force == pytest.approx(np.linalg.norm(frames.forces[2:4], axis=1).max())
    assert doc.pressure == pytest.approx(-np.trace(frames.stress[1]) / 3)
    assert doc.chemsys == structure.chemical_system
    assert (doc.functional, doc.surrogate, doc.task_uuid) == ("r2SCAN", "chgnet:r2scan", "task-0-1")
    failed = documents[3]
    assert (failed.state, failed.reason, failed.detail) == (
        "failed",
        "no task document",
        "ZHEGV failed",
    )


def test_sync_writes_each_label_once_and_success_wins(stores):
    frames = labelled(4)
    run_gather(stores, failed=("unlucky", frames.frame_id[0]), seed=1)
    assert sync_labels(stores.jobs, stores.labels) == {"successful": 4, "failed": 2}
    run_gather(stores, seed=0)  # the one that failed before is labelled now
    assert sync_labels(stores.jobs, stores.labels) == {"successful": 4, "failed": 0}
    assert sync_labels(stores.jobs, stores.labels) == {"successful": 0, "failed": 0}
    assert stores.labels.count({}) == 9
    assert stores.labels.count({"state": "failed"}) == 1
    run_gather(stores, seed=2, failed=(frames.frame_id[1],))  # fails later: stays successful
    sync_labels(stores.jobs, stores.labels)
    assert stores.labels.query_one({"frame_id": frames.frame_id[1]})["state"] == "successful"


def test_campaigns_in_one_database_keep_their_own_labels(stores):
    frames = labelled(4)
    run_gather(stores, campaign_id="one")
    run_gather(stores, n=2, failed=(frames.frame_id[3],), campaign_id="two")
    sync_labels(stores.jobs, stores.labels)
    labels = LabelStore(stores.labels)
    assert set(labels.query(campaign_id="one").frame_id) == set(frames.frame_id)
    assert {d["frame_id"] for d in labels.documents(campaign_id="two")} == {
        *labelled(2).frame_id,
        frames.frame_id[3],
    }
    # what succeeded in one campaign is no success of the other
    assert labels.count({"state": "failed"}, campaign_id="two") == 1
    assert labels.count({"state": "failed"}, campaign_id="one") == 0
    assert sum(len(b) for b in labels.iter_frames(campaign_id="two")) == 2
    with pytest.raises(ValueError, match="campaign_id is 'one' in the criteria, and 'two'"):
        labels.count({"campaign_id": "one"}, campaign_id="two")


def test_labels_of_a_server_are_indexed_by_what_they_are_written_by():
    server = Stores(JobStore(MemoryStore()), MemoryStore(key="frame_id"), "memory")
    server.connect()
    indices = server.labels._collection.index_information()
    assert {k for i in indices.values() for k, _ in i["key"]} >= {"frame_id", "campaign_id"}


def test_query_returns_the_frames_that_were_labelled(stores):
    run_gather(stores, n=7, seed=3)
    run_gather(stores, n=2, seed=4, stage="test")
    sync_labels(stores.jobs, stores.labels)
    labels = LabelStore(stores.labels)
    expected = labelled(7, 3)
    found = labels.query(stage="label")
    order = [found.frame_id.index(i) for i in expected.frame_id]
    found = found.take(order)
    np.testing.assert_allclose(found.energy, expected.energy)
    np.testing.assert_allclose(found.forces, expected.forces)
    np.testing.assert_allclose(found.stress, expected.stress)
    assert [len(b) for b in labels.iter_frames(block=4)] == [4, 4, 1]
    with_nickel = labels.query(elements=["Ni"], stage="label")
    assert set(with_nickel.frame_id) == {
        i
        for i, z in zip(expected.frame_id, expected.split_atoms(expected.numbers), strict=True)
        if 28 in z
    }
    bound = float(
        np.median([np.linalg.norm(f, axis=1).max() for f in expected.split_atoms(expected.forces)])
    )
    assert len(labels.query(stage="label", max_force=bound)) == 4


def test_labels_are_found_by_the_program_that_computed_them(stores):
    run_gather(stores)
    sync_labels(stores.jobs, stores.labels)
    labels = LabelStore(stores.labels)
    assert len(labels.query(engine="VASP")) == 4
    assert len(labels.query(engine="GPAW")) == 0
    assert labels.count({"calculation.kpoints": "4x4x3", "calculation.encut": {"$gte": 680}}) == 4


def test_filters_are_mongo_criteria_and_unknown_ones_refused():
    assert build_criteria(elements=["Al"], chemsys="Ni-Al", max_force=1.0, iteration=2) == {
        "elements": {"$all": ["Al"]},
        "chemsys": "Al-Ni",
        "max_force": {"$lte": 1.0},
        "iteration": 2,
    }
    with pytest.raises(TypeError, match="element"):
        build_criteria(element="Al")


@pytest.mark.parametrize("state", ["failed", {"$in": ["failed", "successful"]}])
def test_failed_labels_are_no_frames_to_query(stores, state):
    run_gather(stores, failed=("f1",))
    sync_labels(stores.jobs, stores.labels)
    labels = LabelStore(stores.labels)
    assert len(labels.query({"state": "successful"})) == 4
    assert labels.count({"state": "failed"}) == 1
    with pytest.raises(ValueError, match="state is .*failed.*only successful labels are frames"):
        labels.query({"state": state})


@pytest.mark.parametrize(
    "criteria",
    [
        {"elements": "Xx"},
        {"elements": {"$all": ["Al", "Xx"]}},
        {"elements": {"$in": ["Xx"]}},
        {"chemsys": "Al-Xx"},
    ],
)
def test_words_that_are_no_elements_are_refused(stores, criteria):
    labels = LabelStore(stores.labels)
    for look in (labels.query, labels.documents, labels.count):
        with pytest.raises(ValueError, match=r"\['Xx'\] are not chemical elements"):
            look(criteria)
    with pytest.raises(ValueError, match="chemsys.*Xx"):
        build_criteria(chemsys="Al-Xx")
    assert labels.count({"elements": {"$size": 2}, "chemsys": {"$regex": "^Al"}}) == 0


# --- exports -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.xyz", "a.parquet", "a.json"])
def test_every_exported_frame_says_which_model_stood_in_for_dft(tmp_path, name):
    surrogates = ["toy(seed=1)", None, 'od"d name']
    path = export_frames(labelled(3), tmp_path / name, surrogate=surrogates)
    card = json.loads((tmp_path / (name + ".card.json")).read_text())
    assert card["surrogates"] == {'od"d name': 1, "toy(seed=1)": 1}
    assert card["labels"].startswith("MIXED: SURROGATE")
    if name.endswith("xyz"):
        from ase.io import read

        assert [a.info.get("surrogate") for a in read(path, ":")] == surrogates
        np.testing.assert_array_equal(Frames.from_extxyz(path).energy, labelled(3).energy)
    elif name.endswith("parquet"):
        import pyarrow.parquet as pq

        assert json.loads(pq.read_schema(path).metadata[b"surrogate"]) == card["surrogates"]
    else:
        assert [r["surrogate"] for r in json.loads(path.read_text())] == surrogates
    with pytest.raises(ValueError, match="surrogate: 3 names for 2 frames"):
        export_frames(labelled(2), path, surrogate=surrogates)


def test_labels_of_the_reference_method_name_no_surrogate(tmp_path):
    path = export_frames(labelled(2), tmp_path / "a.xyz")
    assert "surrogate" not in path.read_text()
    card = json.loads((tmp_path / "a.xyz.card.json").read_text())
    assert (card["labels"], card["surrogates"]) == ("reference method", {})


def test_the_store_knows_the_surrogate_of_each_frame(stores):
    run_gather(stores)
    sync_labels(stores.jobs, stores.labels)
    stores.labels.update(
        {**stores.labels.query_one(), "surrogate": None}, key=["frame_id", "campaign_id"]
    )
    frames, found = LabelStore(stores.labels).query_with_fields(("surrogate",))
    assert len(frames) == 4
    assert sorted(map(str, found["surrogate"])) == ["None", *["chgnet:r2scan"] * 3]


def test_an_export_says_how_each_label_was_computed(stores, tmp_path):
    run_gather(stores)
    sync_labels(stores.jobs, stores.labels)
    labels = LabelStore(stores.labels)
    frames, found = labels.query_with_fields(("surrogate", "calculation", "prototype"))
    assert found["prototype"] == ["B2"] * 4
    path = export_frames(
        frames, tmp_path / "a.json", None, found["surrogate"], [*found["calculation"][:3], None]
    )
    records = json.loads(path.read_text())
    assert records[2]["calculation"] == {
        "engine": "VASP",
        "version": "6.4.3",
        "encut": 680.0,
        "kpoints": "4x4x3",
        "pseudopotentials": "PAW_PBE Al; PAW_PBE Ni",
        "attempt": "first",
        "task_uuid": f"task-{frames.frame_id[2]}",
        "task_index": labelled(4).frame_id.index(frames.frame_id[2]),
    }
    assert records[3]["calculation"] is None
    assert "secret-host" not in path.read_text()
    card = json.loads((tmp_path / "a.json.card.json").read_text())
    assert card["engines"] == {"VASP 6.4.3": 3}
    with pytest.raises(ValueError, match="calculations: 1 for 4 frames"):
        export_frames(frames, path, calculations=[None])


@pytest.mark.parametrize("name", ["a.xyz", "a.parquet", "a.json", "a.json.gz"])
def test_export_is_read_back_and_has_a_card(tmp_path, name):
    frames = labelled(5)
    path = export_frames(frames, tmp_path / "sub" / name, surrogate="chgnet:r2scan")
    card = json.loads((path.parent / (name + ".card.json")).read_text())
    assert card["n_frames"] == 5
    assert card["labels"].startswith("SURROGATE: chgnet:r2scan")
    if name.endswith("xyz"):
        again = Frames.from_extxyz(path)
        assert again.frame_id == frames.frame_id
        np.testing.assert_allclose(again.stress, frames.stress, atol=1e-7)
    elif name.endswith("parquet"):
        assert Frames.from_parquet(path) == frames
    else:
        data = path.read_bytes()
        records = json.loads(gzip.decompress(data) if name.endswith("gz") else data)
        assert [r["matpes_id"] for r in records] == frames.frame_id
        # kBar with VASP's sign: positive under compression
        xx_gpa = -frames.stress[2][0, 0] * EV_PER_A3_TO_GPA
        assert records[2]["stress"][0] == pytest.approx(10 * xx_gpa)
        assert records[2]["forces"] == frames.forces[4:6].tolist()


def test_wrong_exports_are_named(tmp_path):
    with pytest.raises(ValueError, match="nothing to export"):
        export_frames(Frames.empty(), tmp_path / "a.xyz")
    with pytest.raises(ValueError, match=r"suffix '.csv'"):
        export_frames(labelled(), tmp_path / "a.csv")
    with pytest.raises(ValueError, match="format 'vasp'"):
        export_frames(labelled(), tmp_path / "a.xyz", kind="vasp")


# --- servers -----------------------------------------------------------------------------


def test_store_that_is_down_is_named_without_its_password():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    stores = mongo_stores(f"mongodb://user:hunter2@127.0.0.1:{port}/", "campaigns")
    with pytest.raises(
        StoreError, match=r"MongoDB:campaigns does not answer.*Is the server running"
    ) as caught:
        stores.connect()
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_sync_that_is_killed_half_way_is_made_again(stores, monkeypatch):
    run_gather(stores)
    whole, written = stores.labels.update, []

    def killed(documents, key=None):
        whole(documents[:2], key=key)
        written.append(len(documents))
        raise KeyboardInterrupt

    monkeypatch.setattr(stores.labels, "update", killed)
    with pytest.raises(KeyboardInterrupt):
        sync_labels(stores.jobs, stores.labels)
    assert written
    monkeypatch.setattr(stores.labels, "update", whole)
    counts = sync_labels(stores.jobs, stores.labels)
    assert counts["successful"] == 4
    assert sync_labels(stores.jobs, stores.labels) == {"successful": 0, "failed": 0}


# --- streams -----------------------------------------------------------------------------


def slow_frames(documents: list[dict]) -> Frames:
    """The frames of documents, through pymatgen's and ASE's objects."""
    batch = []
    for d in documents:
        atoms = Structure.from_dict(d["structure"]).to_ase_atoms()
        atoms.info.update(REF_energy=d["energy"], task_uuid=d["task_uuid"])
        atoms.arrays["REF_forces"] = np.array(d["forces"])
        if d["stress"] is not None:
            atoms.info["REF_stress"] = np.array(d["stress"])
        batch.append(atoms)
    return Frames.from_ase(batch, functional="r2SCAN")


def test_frames_of_documents_are_those_of_their_structures(stores):
    run_gather(stores, n=5)
    sync_labels(stores.jobs, stores.labels)
    documents = list(stores.labels.query({}, sort={"frame_id": 1}))
    documents[1]["stress"] = None
    skewed = Structure(Lattice([[3, 0.1, 0], [1, 4, 0], [0.5, 0.2, 5]]), ["O", "Al"], np.eye(3)[:2])
    documents[2]["structure"] = skewed.as_dict()
    fast, slow = frames_of(documents), slow_frames(documents)
    np.testing.assert_array_equal(fast.numbers, slow.numbers)
    np.testing.assert_array_equal(fast.pbc, slow.pbc)
    for name in ("positions", "cell", "energy", "forces", "stress"):
        np.testing.assert_allclose(getattr(fast, name), getattr(slow, name), atol=1e-12)
    assert fast.column("task_uuid").tolist() == slow.column("task_uuid").tolist()
    assert fast.frame_id[3:] == [d["frame_id"] for d in documents[3:]]


class Counting(MemoryStore):
    """Counts the documents that were read."""

    def query(self, *args, **kwargs):
        for self.read, document in enumerate(super().query(*args, **kwargs), 1):
            yield document


def test_blocks_are_read_as_they_are_asked_for_and_hold_what_was_asked(stores):
    store = Counting(key="frame_id")
    store.connect()
    write_labels(store, list(label_documents(batch(labelled(25)))), "g")
    labels = LabelStore(store)
    blocks = labels.iter_frames(block=10, functional="r2SCAN", iteration=1)
    for n_read, n_frames in ((10, 10), (20, 10), (25, 5)):
        assert len(next(blocks)) == n_frames
        assert store.read == n_read
    assert list(labels.iter_frames(functional="PBE")) == []
    assert labels.query(iteration=1).frame_id == labels.query().frame_id
    with pytest.raises(ValueError, match="block: 0 frames"):
        next(labels.iter_frames(block=0))
    with pytest.raises(TypeError, match=r"unknown filter \['elment'\]"):
        next(labels.iter_frames(elment=["Al"]))
    with pytest.raises(ValueError, match="iteration is 2 in the criteria, and 1"):
        next(labels.iter_frames({"iteration": 2}, iteration=1))
