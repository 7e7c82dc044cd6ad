"""The stores of a campaign: jobs' outputs, blobs, labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobflow import JobStore
from maggma.core import Store
from maggma.stores import MongoURIStore
from maggma.stores.gridfs import GridFSURIStore
from maggma.stores.mongolike import MontyStore

from atomate2_alpot.dataset.blobs import FileBlobStore

TIMEOUT_MS: int = 3000
"""How long to wait for a MongoDB server before saying that it is down."""

INDEXED: tuple[str, ...] = ("frame_id", "campaign_id", "gather_uuid")
"""Fields of the labels that a server is asked to index."""


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

    def connect(self) -> None:
        """Connect, and make sure that the stores answer.

        Raises
        ------
        StoreError
            If they do not, within seconds.
        """
        try:
            self.jobs.connect()
            self.labels.connect()
            self.labels.count({"frame_id": ""})
            self._index()
        except Exception as error:
            raise StoreError(
                f"store {self.where} does not answer ({type(error).__name__}). Is the server "
                "running, and are host, port, user and password right? Without a server use "
                "store: {kind: embedded}"
            ) from None

    def _index(self) -> None:
        """Index what labels are written and counted by; without the right to, do without."""
        if not isinstance(self.labels, MontyStore):  # files have no indices
            for field in INDEXED:
                self.labels.ensure_index(field)

    def close(self) -> None:
        """Close."""
        self.jobs.close()
        self.labels.close()


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


def mongo_stores(uri: str, database: str) -> Stores:
    """Return stores in a MongoDB database; blobs are in GridFS.

    Parameters
    ----------
    uri : str
        ``mongodb://…``; never shown.
    database : str
    """
    client: dict[str, Any] = {"serverSelectionTimeoutMS": TIMEOUT_MS}
    docs = MongoURIStore(uri, "outputs", database=database, mongoclient_kwargs=client)
    labels = MongoURIStore(
        uri, "labels", database=database, key="frame_id", mongoclient_kwargs=client
    )
    blobs = GridFSURIStore(
        uri, "blobs", database=database, key="blob_uuid", mongoclient_kwargs=client
    )
    return Stores(JobStore(docs, additional_stores={"data": blobs}), labels, f"MongoDB:{database}")
