"""Blobs in GridFS: of any size, verified, and named when they cannot be read."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from typing import Any

from gridfs.errors import CorruptGridFile, NoFile
from maggma.core.store import Sort
from maggma.stores.gridfs import GridFSStore
from monty.json import jsanitize

from atomate2_alpot.dataset.blobs import KEY, none_missing
from atomate2_alpot.schemas.blobs import BlobError

OF_JOB: tuple[str, ...] = ("job_uuid", "job_index")
"""Fields of a blob beside its name that it can be found and removed by."""


class GridFSBlobStore(GridFSStore):
    """maggma's store of GridFS, with what jobflow needs to remove a job's blobs.

    maggma's own leaves out a blob that is missing, and hands on one that is corrupted. Its
    arguments are those of ``GridFSStore``.
    """

    @property
    def name(self) -> str:
        """Name of the store, without its URI."""
        return f"gridfs:{self.database}.{self.collection_name}"

    def update(
        self,
        docs: list[dict[str, Any]] | dict[str, Any],
        key: list[str] | str | None = None,  # noqa: ARG002 - a blob is its uuid
        additional_metadata: str | list[str] | None = None,  # noqa: ARG002 - maggma's interface
    ) -> None:
        """Write blobs; each must have a ``blob_uuid``. What an earlier write left goes after."""
        for doc in docs if isinstance(docs, list) else [docs]:
            data = json.dumps(jsanitize(doc, recursive_msonable=True)).encode()
            own = {name: doc[name] for name in (KEY, *OF_JOB) if name in doc}
            metadata = {**own, "sha256": hashlib.sha256(data).hexdigest()}
            written = self._collection.put(data, metadata=metadata)
            for older in self._files_collection.find({f"metadata.{KEY}": doc[KEY]}, ["_id"]):
                if older["_id"] != written:
                    self._collection.delete(older["_id"])

    def query(
        self,
        criteria: dict[str, Any] | None = None,
        properties: dict[str, Any] | list[str] | None = None,
        sort: dict[str, Sort | int] | None = None,
        skip: int = 0,
        limit: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Yield blobs.

        Parameters
        ----------
        criteria : dict, optional
            On ``blob_uuid``, ``job_uuid``, ``job_index``.
        properties : dict or list, optional
            Keys to keep.
        sort, skip, limit
            As in maggma.

        Raises
        ------
        BlobError
            If a blob asked for by uuid is missing, or one is incomplete or corrupted.
        """
        found = self.transform_criteria(criteria or {})
        files = self._files_store.query(criteria=found, sort=sort, skip=skip, limit=limit)
        blobs = map(self._read, files)
        for doc in blobs if skip or limit else none_missing(blobs, criteria, self.name):
            yield {k: doc[k] for k in properties if k in doc} if properties else doc

    def query_one(
        self,
        criteria: dict[str, Any] | None = None,
        properties: dict[str, Any] | list[str] | None = None,
        sort: dict[str, Sort | int] | None = None,
    ) -> dict[str, Any] | None:
        """Return the first blob; raises as :meth:`query`."""
        return next(self.query(criteria, properties, sort), None)

    def _read(self, file: dict[str, Any]) -> dict[str, Any]:
        metadata = file.get("metadata", {})
        try:
            data = self._collection.get(file["_id"]).read()
        except (CorruptGridFile, NoFile) as error:
            raise self._corrupted(metadata, f"{error}") from None
        found = hashlib.sha256(data).hexdigest()
        if found != metadata.get("sha256", found):  # workers with maggma's own store write none
            raise self._corrupted(metadata, "its sha256 is not the one it was written with")
        try:
            return json.loads(zlib.decompress(data) if metadata.get("compression") else data)
        except (ValueError, zlib.error) as error:
            raise self._corrupted(metadata, f"{error}") from None

    def _corrupted(self, metadata: dict[str, Any], why: str) -> BlobError:
        return BlobError(
            f"blob {metadata.get(KEY)} in {self.name} is corrupted ({why}); restore it, or run job "
            f"{metadata.get('job_uuid')} again, which made it"
        )
