"""Checks of the job store that an engine's jobs write to, before anything is submitted."""

from __future__ import annotations

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
