"""Blobs in an S3 bucket, indexed by a collection of the database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from maggma.core.store import Sort
from maggma.stores import S3Store

from atomate2_alpot.dataset.blobs import KEY, asked_for
from atomate2_alpot.schemas.blobs import BlobError


class S3BlobStore(S3Store):
    """maggma's store of S3, which names a blob that is missing instead of leaving it out.

    Its arguments are those of ``S3Store``. That what it returns is what was written is checked
    when it is decoded: blobs hold their sha256.
    """

    def query(
        self,
        criteria: dict[str, Any] | None = None,
        properties: dict[str, Any] | list[str] | None = None,
        sort: dict[str, Sort | int] | None = None,
        skip: int = 0,
        limit: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Yield blobs, as maggma does.

        Raises
        ------
        BlobError
            If a blob asked for by uuid is missing.
        """
        missing = dict.fromkeys(asked_for(criteria)) if not (skip or limit) else {}
        for doc in super().query(criteria, properties, sort, skip, limit):
            missing.pop(doc[KEY], None)
            yield doc
        if missing:
            raise BlobError(
                f"blob {next(iter(missing))} is missing in {self.name}; restore it, or run the job "
                "that made it again"
            )
