"""The stores of a campaign: jobs' outputs, blobs, labels."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobflow import JobStore
from maggma.core import Store
from maggma.stores import MongoStore
from maggma.stores.gridfs import GridFSStore
from maggma.stores.mongolike import MontyStore

from atomate2_alpot.dataset.blobs import KEY, FileBlobStore
from atomate2_alpot.dataset.gridfs import GridFSBlobStore
from atomate2_alpot.dataset.indexes import IndexResult, make_indexes
from atomate2_alpot.dataset.s3 import S3BlobStore
from atomate2_alpot.redact import keep_secret

logger = logging.getLogger(__name__)

GRIDFS: str = "gridfs"
S3: str = "s3://"

TIMEOUT_MS: int = 3000
"""How long to wait for a MongoDB server before saying that it is down."""


class StoreError(RuntimeError):
    """A store cannot be reached or written; the message never holds its URI."""


@dataclass
class Stores:
    """What a campaign writes to.

    Parameters
    ----------
    jobs : JobStore
        Outputs of jobs, with the additional store ``data`` for blobs.
    labels : Store
        One document per labelled or failed frame.
    where : str
        For messages; no credentials.
    """

    jobs: JobStore
    labels: Store
    where: str

    def connect(self) -> list[IndexResult]:
        """Connect, make sure that the stores answer, and make the indexes that are missing.

        Returns
        -------
        list of IndexResult
            What came of each index; files have none.

        Raises
        ------
        StoreError
            If they do not, within seconds.
        """
        try:
            self.jobs.connect()
            self.labels.connect()
            self.labels.count({"frame_id": ""})
            results = list(make_indexes(self.collections()))
        except Exception as error:
            raise StoreError(
                f"store {self.where} does not answer ({type(error).__name__}). Is the server "
                "running, and are host, port, user and password right? Without a server use "
                "store: {kind: embedded}"
            ) from None
        refused = [r for r in results if r.state == "failed"]
        if refused:  # slower, and no reason to stop
            logger.warning(
                "store %s lacks %d indexes; `alpot init-store` says why", self.where, len(refused)
            )
        return results

    def collections(self) -> dict[str, Any]:
        """Return the collections of the server by name; none where files are the store."""
        found: dict[str, Any] = {}
        for name, store in (("labels", self.labels), ("outputs", self.jobs.docs_store)):
            if isinstance(store, MongoStore) and not isinstance(store, MontyStore):
                found[name] = store._collection
        blobs = self.jobs.additional_stores.get("data")  # type: ignore[has-type]
        if isinstance(blobs, GridFSStore):
            found["blobs.files"] = blobs._files_store._collection
        if isinstance(blobs, S3BlobStore):
            found["blobs"] = blobs._collection
        return found

    def close(self) -> None:
        """Close."""
        self.jobs.close()
        self.labels.close()


class ServerStore(MongoStore):
    """maggma's store of a collection, whose name in messages holds no URI."""

    @property
    def name(self) -> str:
        """Name of the store."""
        return f"mongo:{self.database}.{self.collection_name}"


def embedded_stores(run_dir: str | Path) -> Stores:
    """Return stores in a folder, without a server: sqlite through montydb, blobs as files.

    Parameters
    ----------
    run_dir : str or Path
        The run's folder; the stores are in its ``store``.
    """
    folder = Path(run_dir).resolve() / "store"
    folder.mkdir(parents=True, exist_ok=True)
    docs = MontyStore("outputs", database_path=str(folder), database_name="alpot")
    labels = MontyStore("labels", database_path=str(folder), database_name="alpot", key="frame_id")
    jobs = JobStore(docs, additional_stores={"data": FileBlobStore(str(folder / "blobs"))})
    return Stores(jobs, labels, str(folder))


def mongo_stores(uri: str, database: str, blobs: str = GRIDFS) -> Stores:
    """Return stores in a MongoDB database.

    Parameters
    ----------
    uri : str
        ``mongodb://…``; never shown.
    database : str
    blobs : str
        Where blobs are: "gridfs" (the same database), ``s3://bucket/prefix``, or a folder that
        every worker reaches. S3's credentials and endpoint are boto3's (``AWS_…``).

    Raises
    ------
    ValueError
        If ``blobs`` is none of these.
    """
    keep_secret(uri)
    shared: dict[str, Any] = {
        "database": database,
        "uri": uri,
        "mongoclient_kwargs": {"serverSelectionTimeoutMS": TIMEOUT_MS},
    }
    docs = ServerStore(
        collection_name="outputs", key="uuid", last_updated_field="completed_at", **shared
    )
    labels = ServerStore(collection_name="labels", key="frame_id", **shared)
    data = {"data": _blob_store(blobs, shared)}
    return Stores(JobStore(docs, additional_stores=data), labels, f"MongoDB:{database}")


def _blob_store(where: str, shared: dict[str, Any]) -> Store:
    if where == GRIDFS:
        return GridFSBlobStore(collection_name="blobs", key=KEY, **shared)
    if where.startswith(S3):
        bucket, _, folder = where.removeprefix(S3).partition("/")
        index = ServerStore(collection_name="blobs", key=KEY, **shared)
        return S3BlobStore(
            index, bucket, sub_dir=folder, key=KEY, searchable_fields=["job_uuid", "job_index"]
        )
    if Path(where).is_absolute():
        return FileBlobStore(where)
    raise ValueError(
        f"store.blobs: {where!r} is no place; give {GRIDFS!r}, 's3://bucket/prefix' or the "
        "absolute path of a folder"
    )
