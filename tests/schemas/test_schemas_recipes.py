"""Artifacts and recipes: what is unpacked, by how many at once, and what is refused."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from atomate2_alpot.schemas import (
    Artifact,
    ArtifactError,
    CommitteeDoc,
    CommitteePrediction,
    LabelBatchDoc,
    LabelFailure,
    PotentialSpec,
)

UNPACK = """
import hashlib, sys
from pathlib import Path
from atomate2_alpot.schemas import Artifact
path = Artifact(b"w" * 3_000_000, "model.bin").unpack(Path(sys.argv[1]))
print(hashlib.sha256(path.read_bytes()).hexdigest())
"""


def test_processes_that_unpack_at_once_all_read_whole_weights(tmp_path):
    command = [sys.executable, "-c", UNPACK, str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    seen = {p.communicate(timeout=120)[0].strip() for p in running}
    assert seen == {hashlib.sha256(b"w" * 3_000_000).hexdigest()}
    (folder,) = (p for p in tmp_path.iterdir() if p.is_dir())
    assert [p.name for p in folder.iterdir()] == ["model.bin"]


@pytest.mark.parametrize("filename", ["../escape", "/etc/model", "a/b", "", ".."])
def test_an_artifact_never_leaves_its_cache(filename):
    with pytest.raises(ArtifactError, match="bare file name"):
        Artifact(b"w", filename)


def test_artifact_of_a_file_is_that_file(tmp_path):
    (tmp_path / "m.model").write_bytes(b"weights")
    artifact = Artifact.from_file(tmp_path / "m.model")
    assert artifact == Artifact(b"weights", "m.model")
    assert artifact.sha256 == hashlib.sha256(b"weights").hexdigest()


def test_a_recipe_is_fixed_once_made():
    with pytest.raises(ValidationError, match="frozen"):
        PotentialSpec(backend="toy").name = "other"


def test_a_committee_has_members():
    with pytest.raises(ValidationError, match="members"):
        CommitteeDoc(members=[])


def test_failures_are_counted_by_reason(tmp_path):
    from atomate2_alpot.schemas import Frames

    failures = [LabelFailure(frame_id=str(i), reason=r) for i, r in enumerate("aba")]
    batch = LabelBatchDoc(
        n_requested=3,
        n_labelled=0,
        functional="PBE",
        iteration=1,
        frames=Frames.empty(),
        failures=failures,
    )
    assert batch.failure_counts == {"a": 2, "b": 1}


@pytest.mark.parametrize("where", ["energies", "forces", "stress"])
def test_one_nan_of_one_member_takes_the_whole_frame_out(where):
    rng = np.random.default_rng(1)
    arrays = {
        "energies": rng.normal(size=(2, 3)),
        "forces": rng.normal(size=(2, 6, 3)),
        "stress": rng.normal(size=(2, 3, 3, 3)),
    }
    row = {"energies": (1, 1), "forces": (1, 3, 2), "stress": (1, 1, 0, 0)}[where]  # frame 1
    arrays[where][row] = np.nan
    prediction = CommitteePrediction(
        **arrays,
        reference_energies=np.zeros((2, 3)),
        offsets=np.array([0, 1, 4, 6]),
        members=("a", "b"),
    )
    finite, kept = prediction.take_finite()
    assert kept.tolist() == [True, False, True]
    assert finite.offsets.tolist() == [0, 1, 3]
    np.testing.assert_array_equal(finite.forces, prediction.forces[:, [0, 4, 5]])
    np.testing.assert_allclose(finite.formation_energies, prediction.energies[:, kept] / [1, 2])


def test_a_recipe_names_its_weights_by_hash_and_refuses_others():
    spec = PotentialSpec(backend="mace", artifact=Artifact(b"ours", "m.model"))
    assert spec.sha256 == hashlib.sha256(b"ours").hexdigest()
    document = spec.model_dump()
    with pytest.raises(ValidationError, match=r"'m.model'.*the document names.*were replaced"):
        PotentialSpec(**{**document, "artifact": Artifact(b"theirs", "m.model")})


def test_saying_that_a_file_is_trusted_makes_no_other_potential_of_it():
    plain, trusted = (
        PotentialSpec(backend="mace", name="m.model", kwargs={"head": "a", **more})
        for more in ({}, {"trust": True})
    )
    assert plain.label == trusted.label
