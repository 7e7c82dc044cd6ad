"""The engines there are, loaded when one is used."""

from __future__ import annotations

from importlib import import_module

from atomate2_alpot.campaign.engines.base import Engine, EngineError
from atomate2_alpot.campaign.engines.settings import EngineSettings

ENGINES: dict[str, tuple[str, str]] = {
    "fireworks": ("atomate2_alpot.campaign.engines.fireworks", "FireWorksEngine"),
    "jobflow-remote": ("atomate2_alpot.campaign.engines.jobflow_remote", "JobflowRemoteEngine"),
}
"""Name -> module and class, made from ``EngineSettings``."""

PACKAGES: dict[str, str] = {
    "fireworks": "fireworks",
    "jobflow-remote": "'atomate2-alpot[remote]'",
}
"""Name -> what pip installs for it."""


def make_engine(settings: EngineSettings) -> Engine:
    """Make the engine that settings name; nothing is connected yet.

    Raises
    ------
    EngineError
        If there is no such engine, or its package is not installed.
    """
    if settings.name not in ENGINES:
        raise EngineError(f"engine.name: {settings.name!r}; choose from {sorted(ENGINES)}")
    module, kind = ENGINES[settings.name]
    try:
        return getattr(import_module(module), kind)(settings)
    except ImportError as error:
        raise EngineError(
            f"engine {settings.name!r} cannot be loaded ({error}): pip install "
            f"{PACKAGES[settings.name]}"
        ) from error
