"""Blobs in an S3 bucket, indexed by a collection of the database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from maggma.core.store import Sort
from maggma.stores import S3Store

from atomate2_alpot.dataset.blobs import none_missing


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
        """Return blobs one by one, as maggma does.

        Raises
        ------
        BlobError
            If a blob asked for by uuid is missing.
        """
        blobs = super().query(criteria, properties, sort, skip, limit)
        return blobs if skip or limit else none_missing(blobs, criteria, self.name)
