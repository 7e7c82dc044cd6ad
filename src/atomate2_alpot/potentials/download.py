"""Failing in seconds, with a remedy, where a model cannot be downloaded."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from atomate2_alpot.potentials.base import PotentialError
from atomate2_alpot.settings import SETTINGS

HUB: str = "https://huggingface.co"

PORTS: dict[str, int] = {"http": 80, "https": 443}


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
    reason = why_unreachable(url)
    if reason is not None:
        raise PotentialError(
            f"{what} is not on this machine (looked for {_names(looked_for)}) and {reason}. "
            f"{remedy()}"
        )


def remedy() -> str:
    """Say how to provide a model that cannot be downloaded."""
    return (
        f"Download it on a machine with network and put it into {SETTINGS.MODEL_DIR} (setting "
        "ALPOT_MODEL_DIR), or give the path of the file as `name`"
    )


def why_unreachable(url: str) -> str | None:
    """Try to connect to the host of a URL, or to the proxy that leads there.

    Parameters
    ----------
    url : str

    Returns
    -------
    str or None
        What went wrong, in words, after ``SETTINGS.DOWNLOAD_TIMEOUT`` seconds at most; None
        where the host answers.
    """
    host, port = _gateway(url)
    outcome: list[str | None] = []

    def connect() -> None:
        try:
            with socket.create_connection((host, port), timeout=SETTINGS.DOWNLOAD_TIMEOUT):
                outcome.append(None)
        except OSError as error:
            outcome.append(f"{host} does not answer ({error})")

    # a thread, because no timeout of a socket bounds the look-up of its name
    thread = Thread(target=connect, daemon=True)
    thread.start()
    thread.join(SETTINGS.DOWNLOAD_TIMEOUT)
    if outcome:
        return outcome[0]
    return f"{host} does not answer within {SETTINGS.DOWNLOAD_TIMEOUT:g} s"


@contextmanager
def impatient_hub() -> Iterator[None]:
    """Take only what is in huggingface's cache, without retries, where its host is silent."""
    if why_unreachable(HUB) is None:
        yield
        return
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _gateway(url: str) -> tuple[str, int]:
    """Return host and port of the proxy for a URL, or of the URL itself."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(parts.hostname or ""):
        parts = urlsplit(proxy if "//" in proxy else f"http://{proxy}")
    return parts.hostname or url, parts.port or PORTS.get(parts.scheme, 443)


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(str(p) for p in paths) or "nothing"
