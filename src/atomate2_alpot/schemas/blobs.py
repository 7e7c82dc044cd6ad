"""Bytes inside documents: base64 with their sha256, verified when they are read."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Any

REMEDY = "Restore the blob or run the job that made it again"


class BlobError(RuntimeError):
    """A blob is missing or corrupted; whatever is in it must not be used."""


def encode_blob(field: str, data: bytes) -> dict[str, str]:
    """Return the keys of a document that hold bytes: ``field`` and ``sha256``."""
    text = base64.b64encode(data).decode("ascii")
    return {field: text, "sha256": hashlib.sha256(data).hexdigest()}


def decode_blob(field: str, document: Mapping[str, Any], kind: str) -> bytes:
    """Return the bytes of a document.

    Parameters
    ----------
    field : str
        Key that holds them.
    document : mapping
        As :func:`encode_blob` made it.
    kind : str
        Name of the class, for messages.

    Raises
    ------
    BlobError
        If the document is a reference that was not resolved, or its bytes are not those of its
        sha256.
    """
    kind = f"{kind} {document.get('filename', '')}".strip()
    if field not in document:
        raise BlobError(
            f"{kind} {document.get('blob_uuid', '')}: the document holds a reference only; load it "
            f"from the additional store {document.get('store', 'data')!r} (load=True), or restore "
            "the blob there"
        )
    try:
        data = base64.b64decode(document[field], validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise BlobError(f"{kind}: corrupted, {error}; {REMEDY}") from None
    found, stated = hashlib.sha256(data).hexdigest(), document.get("sha256")
    if found != stated:
        raise BlobError(
            f"{kind}: sha256 is {found}, the document says {stated}; it is corrupted or was "
            f"replaced. {REMEDY}"
        )
    return data
