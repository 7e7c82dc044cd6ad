"""Failing in seconds, with a remedy, where a model cannot be downloaded."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlparse

from atomate2_alpot.potentials.base import PotentialError
from atomate2_alpot.settings import SETTINGS


def require_network(url: str, what: str, looked_for: Sequence[Path]) -> None:
    """Raise unless the host of ``url`` answers within ``SETTINGS.DOWNLOAD_TIMEOUT`` seconds.

    Model hubs' own downloaders retry for most of a minute before they give up.

    Parameters
    ----------
    url : str
        Where the model would be fetched from.
    what : str
        The model, for the message.
    looked_for : sequence of Path
        Files that were looked for first.

    Raises
    ------
    PotentialError
        Naming the model, the files, and how to provide it.
    """
    host = urlparse(url).hostname or url
    try:
        with socket.create_connection((host, 443), timeout=SETTINGS.DOWNLOAD_TIMEOUT):
            return
    except OSError as error:
        files = ", ".join(str(p) for p in looked_for) or "nothing"
        raise PotentialError(
            f"{what} is not on this machine (looked for {files}) and its host does not answer "
            f"({error}). Download it on a machine with network and put it into "
            f"{SETTINGS.MODEL_DIR} (setting ALPOT_MODEL_DIR), or give the path of the file as "
            "`name`"
        ) from error
