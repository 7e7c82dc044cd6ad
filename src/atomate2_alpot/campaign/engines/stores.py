"""Checks of the job store that an engine's jobs write to, before anything is submitted."""

from __future__ import annotations

from uuid import uuid4

import pymongo
from jobflow import JobStore
from maggma.core import Store
from maggma.stores import MemoryStore

from atomate2_alpot.campaign.engines.base import EngineError

DATA = "data"
"""The additional store that jobs put their blobs into."""

TIMEOUT = 5.0
"""Seconds that a server has to answer."""


def check_job_store(store: JobStore, where: str) -> None:
    """Check that a job store keeps what jobs write, takes blobs, and answers.

    Parameters
    ----------
    store : JobStore
        Of the workers.
    where : str
        Where it is configured, for messages.

    Raises
    ------
    EngineError
        Saying what to configure; without the store's URI.
    """
    if type(store.docs_store) is MemoryStore:  # files are of classes made from it
        raise EngineError(
            f"{where} is a store in memory: what jobs write would be lost. Configure a MongoStore "
            "as docs_store"
        )
    additional: dict[str, Store] = store.additional_stores  # type: ignore[has-type]
    if DATA not in additional:
        raise EngineError(
            f"{where} has no additional store {DATA!r}, where structures, labels and models go: "
            f"add `additional_stores: {{{DATA}: {{type: GridFSStore, …}}}}` to it"
        )
    try:
        with pymongo.timeout(TIMEOUT):
            store.connect()
            store.docs_store.count({"uuid": ""})
            additional[DATA].count({"blob_uuid": ""})
    except Exception as error:
        raise EngineError(
            f"{where} does not answer ({type(error).__name__}): is the server running, and are "
            "host, port, user and password right?"
        ) from None


def check_same_place(workers: JobStore, ours: JobStore, where: str) -> None:
    """Check that results are read where workers write them, by writing and reading both ways.

    Parameters
    ----------
    workers, ours : JobStore
        Connected.
    where : str
        Where the workers' store is configured, for messages.

    Raises
    ------
    EngineError
        Naming the two places.
    """
    blobs = [store.additional_stores[DATA] for store in (workers, ours)]  # type: ignore[has-type]
    for what, key, theirs, own in (
        ("documents", "uuid", workers.docs_store, ours.docs_store),
        ("blobs", "blob_uuid", *blobs),
    ):
        probe = {key: f"alpot-check-{uuid4()}"}
        theirs.update([{**probe, "index": 0}], key=key)
        try:
            if own.count(probe) == 1:
                continue
        finally:
            theirs.remove_docs(probe)
        raise EngineError(
            f"{where}: workers would write {what} to {_place(theirs)}, and the config's section "
            f"`store` reads them from {_place(own)} (or from another server): make them one place"
        )


def _place(store: Store) -> str:
    return ".".join(str(getattr(store, n, "?")) for n in ("database", "collection_name"))
