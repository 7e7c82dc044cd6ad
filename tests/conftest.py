"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

# a thread each where pytest-xdist runs several tests at a time
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
os.environ.setdefault("MPLBACKEND", "Agg")
# models that tests make; whether others are refused is tested in tests/potentials
os.environ.setdefault("ALPOT_TRUSTED_MODELS", f"{Path(tempfile.gettempdir()).resolve()}/*")

import numpy as np
import pytest
from jobflow import JobStore
from maggma.stores import MemoryStore

pytest_plugins = ["mongo_server"]  # the fixture shared_mongo


@pytest.fixture
def job_store() -> JobStore:
    """Return an empty job store in memory, with the additional store our blobs need."""
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    store.connect()
    return store


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20251012)


@pytest.fixture(autouse=True, scope="session")
def _never_in_the_repository(tmp_path_factory):
    """Start in a temporary folder: fixtures of modules run Makers, which write where they stand."""
    here = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("session"))
    yield
    os.chdir(here)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    """Run each test in a folder of its own: Makers write where they stand."""
    monkeypatch.chdir(tmp_path)
