"""Keeping URIs and passwords out of whatever is written or shown."""

from __future__ import annotations

import logging
import re
from urllib.parse import unquote

HIDDEN: str = "***"

CREDENTIALS = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/@]+@")
"""``user:password`` in a URI of any kind."""

PASSWORD = re.compile(r"://[^:@/\s]*:(.+)@")
"""The password of a URI, which may hold @ and / though it must not."""

_known: set[str] = set()


def keep_secret(uri: str) -> None:
    """Remember a URI: from now on :func:`redact` hides it, and its password wherever it stands.

    Parameters
    ----------
    uri : str
        For example ``mongodb://user:password@host``.
    """
    found = PASSWORD.search(uri)
    if found is not None:
        _known.update((uri, found[1], unquote(found[1])))


def redact(text: str) -> str:
    """Return a text without the secrets that are known, and without credentials in URIs."""
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return CREDENTIALS.sub(rf"\1{HIDDEN}@", text)


class RedactingFormatter(logging.Formatter):
    """A formatter of log records, tracebacks included, that hides secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        return redact(super().format(record))
