"""Machine-wide settings, read from the environment (prefix ``ALPOT_``)."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class AlpotSettings(BaseSettings):
    """Settings of one machine; what belongs to a campaign is in its config file.

    Set by environment variables, for example ``ALPOT_CACHE_DIR=/scratch/alpot``.
    """

    model_config = SettingsConfigDict(env_prefix="ALPOT_", extra="forbid")

    CACHE_DIR: Path = Field(
        Path("~/.cache/atomate2-alpot"),
        description="Where model artifacts are unpacked, one folder per sha256.",
    )
    CACHE_MAX_GB: float = Field(
        20.0,
        gt=0,
        description="Size of CACHE_DIR above which the least recently used artifacts go.",
    )
    DEVICE: str = Field(
        "auto", description="Torch device of predictors and training: auto, cpu, cuda, cuda:1, mps."
    )
    MODEL_DIR: Path = Field(
        Path("~/.cache/mace"),
        description="Folder of released models, searched before any download is tried; its files "
        "are trusted.",
    )
    TRUSTED_MODELS: str = Field(
        "",
        description="Pickled model files that may be loaded: sha256 or paths (with * and ?), "
        "separated by commas.",
    )
    DOWNLOAD_TIMEOUT: float = Field(
        3.0,
        gt=0,
        description="Seconds to wait for a model hub before giving up with a clear error.",
    )
    PREDICT_BATCH_ATOMS: int = Field(
        256,
        gt=0,
        description="Atoms per batch of a batched predictor; bounds peak memory. More gains "
        "nothing on a CPU; raise it on a GPU.",
    )


SETTINGS = AlpotSettings()
