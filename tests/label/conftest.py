"""Structures, and VASP's stand-in on PATH."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from atomate2_alpot.schemas import Frames, LabelBatchDoc
from atomate2_alpot.testing import vasp_stand_in

sys.path.insert(0, str(Path(__file__).parent))

from tests_label import run_labels


@pytest.fixture
def stand_in(tmp_path):
    """Return a function that puts the stand-in on PATH and returns arguments of a preset."""
    contexts = []
    logging.getLogger("custodian").setLevel(logging.CRITICAL)

    def start(faults=None, **run_vasp):
        folder = tmp_path / f"bin-{len(contexts)}"
        folder.mkdir()
        contexts.append(vasp_stand_in(folder, faults=faults))
        return {"run_vasp": {**contexts[-1].__enter__(), **run_vasp}, "potcar_spec": True}

    yield start
    for context in reversed(contexts):
        context.__exit__(None, None, None)


@pytest.fixture
def alni() -> Structure:
    """A distorted, compressed cell of two atoms, sites not in the order that VASP's sets write."""
    return Structure(
        Lattice.orthorhombic(2.6, 2.7, 2.8), ["Ni", "Al"], [[0, 0, 0], [0.5, 0.5, 0.45]]
    )


@pytest.fixture
def label_with(job_store):
    """Return a function that labels structures with a LabelMaker."""

    def label(labeller, *structures: Structure) -> LabelBatchDoc:
        return run_labels(labeller.make(Frames.from_structures(list(structures))), job_store)

    return label
