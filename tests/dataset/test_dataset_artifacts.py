"""What is too large for a document, without a shared disk: GridFS, files, other workers."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import bson
import numpy as np
import pytest
from botocore.exceptions import ClientError
from jobflow import JobStore, job, run_locally
from maggma.stores import GridFSStore, MontyStore
from monty.json import MontyDecoder, MontyEncoder

from atomate2_alpot.dataset import BlobError, FileBlobStore, mongo_stores
from atomate2_alpot.dataset.s3 import S3BlobStore
from atomate2_alpot.schemas import BLOBS, CalculationTable, Frames, LabelBatchDoc, Labels

WORKER = Path(__file__).parent / "blob_worker.py"
MB = 2**20


@pytest.fixture
def stores(shared_mongo):
    found = mongo_stores(shared_mongo.uri, f"db-{uuid4().hex[:12]}")
    found.connect()
    yield found
    found.close()


def many(n: int) -> Frames:
    """Labels of noise, which nothing compresses."""
    rng, n_atoms = np.random.default_rng(0), 16
    return Frames.from_arrays(
        rng.choice([13, 28], n * n_atoms),
        rng.normal(size=(n * n_atoms, 3)),
        np.repeat(np.eye(3)[None] * 4, n, axis=0) + rng.normal(size=(n, 3, 3)) * 0.01,
        [n_atoms] * n,
        labels=Labels(rng.normal(size=n), rng.normal(size=(n * n_atoms, 3)), np.zeros((n, 3, 3))),
    )


@job(data=BLOBS)
def label(n: int):
    frames = many(n)
    table = CalculationTable.from_columns(frame_id=frames.frame_id)
    return LabelBatchDoc(
        n_requested=n,
        n_labelled=n,
        functional="r2SCAN",
        iteration=1,
        frames=frames,
        failures=[],
        calculations=table,
    )


@job
def energy_of(frames: Frames):
    return float(frames.energy.sum())


def test_an_iteration_of_20_000_frames_fits_however_large_its_labels_are(stores):
    made = label(20_000)
    read = energy_of(made.output.frames)
    done = run_locally([made, read], store=stores.jobs, log=False, raise_immediately=True)
    assert done[read.uuid][1].output == pytest.approx(many(20_000).energy.sum())
    collections = stores.collections()
    lengths = [file["length"] for file in collections["blobs.files"].find()]
    assert max(lengths) > 16 * MB
    sizes = [len(bson.encode(document)) for document in collections["outputs"].find()]
    assert max(sizes) < 10_000
    chunks = collections["blobs.files"].database["blobs.chunks"]
    assert max(len(bson.encode(c)) for c in chunks.find().limit(5)) < MB


# --- blobs that are missing or corrupted -------------------------------------------------


def blob_of(stores, uuid: str) -> str:
    return stores.jobs.query_one({"uuid": uuid}, load=False)["output"]["frames"]["blob_uuid"]


@pytest.fixture
def labelled(stores):
    made = label(50)
    run_locally(made, store=stores.jobs, log=False, raise_immediately=True)
    return made


def damage_missing(files, chunks, found):
    files.delete_one({"_id": found["_id"]})


def damage_chunk_lost(files, chunks, found):
    chunks.delete_many({"files_id": found["_id"]})


def damage_bytes(files, chunks, found):
    chunk = chunks.find_one({"files_id": found["_id"]})
    data = bytearray(chunk["data"])
    data[len(data) // 2] ^= 1
    chunks.update_one({"_id": chunk["_id"]}, {"$set": {"data": bson.Binary(bytes(data))}})


def damage_cut(files, chunks, found):
    chunk = chunks.find_one({"files_id": found["_id"]})
    cut = bson.Binary(bytes(chunk["data"])[:-10])
    chunks.update_one({"_id": chunk["_id"]}, {"$set": {"data": cut}})


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_missing, "is missing"),
        (damage_chunk_lost, "is corrupted"),
        (damage_bytes, "is corrupted .*sha256"),
        (damage_cut, "is corrupted"),
    ],
)
def test_a_blob_that_cannot_be_read_is_named_and_stops_who_needs_it(
    stores, labelled, damage, words
):
    uuid = blob_of(stores, labelled.uuid)
    files = stores.collections()["blobs.files"]
    found = files.find_one({"metadata.blob_uuid": uuid})
    damage(files, files.database["blobs.chunks"], found)
    with pytest.raises(BlobError, match=rf"blob {uuid} .*{words}.*run") as caught:
        energy_of(labelled.output.frames).run(stores.jobs)
    assert "127.0.0.1" not in str(caught.value)


def test_blobs_of_a_job_go_with_it_and_one_written_again_is_there_once(stores, labelled):
    files = stores.collections()["blobs.files"]
    before = files.count_documents({})
    blobs = stores.jobs.additional_stores["data"]
    blobs.update({"blob_uuid": "b", "data": 1})
    blobs.update({"blob_uuid": "b", "data": 2})
    assert blobs.query_one({"blob_uuid": "b"}, ["data"]) == {"data": 2}
    assert files.count_documents({}) == before + 1
    stores.jobs.remove_docs({"uuid": labelled.uuid})
    assert [f["metadata"]["blob_uuid"] for f in files.find()] == ["b"]
    assert blobs.query_one({}) == {"blob_uuid": "b", "data": 2}


@pytest.mark.parametrize("compression", [False, True])
def test_blobs_of_workers_with_a_store_of_maggmas_own_are_read_and_checked(stores, compression):
    ours = stores.jobs.additional_stores["data"]
    theirs = GridFSStore(
        ours.database, "blobs", uri=ours.uri, key="blob_uuid", compression=compression
    )
    theirs.connect()
    theirs.update({"blob_uuid": "b", "data": {"x": [1, 2]}})
    assert ours.query_one({"blob_uuid": "b"}, ["data"]) == {"data": {"x": [1, 2]}}
    found = (files := stores.collections()["blobs.files"]).find_one()
    damage_cut(files, files.database["blobs.chunks"], found)
    with pytest.raises(BlobError, match="blob b .*is corrupted"):
        ours.query_one({"blob_uuid": "b"})


class Bucket:
    """What maggma asks of a bucket of S3."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def upload_fileobj(self, Fileobj, Key, ExtraArgs):
        self.objects[Key] = Fileobj.read()

    def Object(self, name):
        if name not in self.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": "gone"}}, "get")
        return SimpleNamespace(get=lambda: {"Body": io.BytesIO(self.objects[name])})


@pytest.fixture
def bucket(monkeypatch):
    made = Bucket()
    monkeypatch.setattr(S3BlobStore, "_get_resource_and_bucket", lambda self: (object(), made))
    return made


def test_blobs_in_s3_are_read_and_a_missing_or_changed_one_is_named(bucket, shared_mongo):
    stores = mongo_stores(shared_mongo.uri, f"db-{uuid4().hex[:12]}", "s3://bucket/al-ni")
    stores.connect()
    made = label(50)
    run_locally(made, store=stores.jobs, log=False, raise_immediately=True)
    key = f"al-ni/{blob_of(stores, made.uuid)}"
    assert key in bucket.objects
    assert "job_uuid_1_job_index_1" in stores.collections()["blobs"].index_information()
    assert energy_of(made.output.frames).run(stores.jobs).output == pytest.approx(
        many(50).energy.sum()
    )
    whole = bytes(bucket.objects[key])
    middle = whole.index(b"parquet") + 2000
    other = b"A" if whole[middle : middle + 1] != b"A" else b"B"
    bucket.objects[key] = whole[:middle] + other + whole[middle + 1 :]
    with pytest.raises(BlobError, match=r"Frames: .*sha256"):
        energy_of(made.output.frames).run(stores.jobs)
    del bucket.objects[key]
    with pytest.raises(BlobError, match=r"blob .* is missing in s3://bucket"):
        energy_of(made.output.frames).run(stores.jobs)


def test_blobs_in_a_folder_are_files_and_no_other_place_is_taken(shared_mongo, tmp_path):
    database = f"db-{uuid4().hex[:12]}"
    stores = mongo_stores(shared_mongo.uri, database, str(tmp_path / "blobs"))
    stores.connect()
    made = label(5)
    run_locally(made, store=stores.jobs, log=False, raise_immediately=True)
    assert (tmp_path / "blobs" / f"{blob_of(stores, made.uuid)}.json.z").exists()
    with pytest.raises(ValueError, match="store.blobs: 'blobs' is no place; give 'gridfs', 's3://"):
        mongo_stores(shared_mongo.uri, database, "blobs")


# --- workers -----------------------------------------------------------------------------


def files_store(folder: Path) -> JobStore:
    docs = MontyStore("outputs", database_path=str(folder), database_name="alpot")
    return JobStore(docs, additional_stores={"data": FileBlobStore(str(folder / "blobs"))})


@pytest.mark.parametrize("kind", ["gridfs", "files"])
def test_a_worker_elsewhere_has_the_weights_when_the_first_one_is_gone(kind, tmp_path, stores):
    (tmp_path / "store").mkdir()
    store = stores.jobs if kind == "gridfs" else files_store(tmp_path / "store")
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder, what, uuid in zip(folders, ("train", "use"), ("made", "used"), strict=True):
        (folder / "work").mkdir(parents=True)
        settings = {
            "ALPOT_CACHE_DIR": str(folder / "cache"),
            "STORES": json.dumps(store, cls=MontyEncoder),
        }
        subprocess.run(
            [sys.executable, str(WORKER), what, uuid],
            cwd=folder / "work",
            env={**os.environ, **settings},
            check=True,
            timeout=300,
        )
        if what == "train":
            shutil.rmtree(folder)
    store.connect()
    told = MontyDecoder().process_decoded(store.get_output("used", load=True))
    assert told["weights"] == "weights" * 1000
    assert Path(told["path"]).is_relative_to(folders[1] / "cache")
    assert told["in"] == str(folders[1] / "work")
    assert not folders[0].exists()
