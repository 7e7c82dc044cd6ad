"""Loading weights runs no code of unknown origin."""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError

from atomate2_alpot.cli.preflight import check_spec
from atomate2_alpot.potentials.base import PotentialError, load_predictor
from atomate2_alpot.schemas import Artifact, PotentialSpec
from atomate2_alpot.settings import SETTINGS


class Malice:
    """Leaves a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.fixture(autouse=True)
def _nobody_is_trusted(monkeypatch, tmp_path):
    monkeypatch.setattr(SETTINGS, "TRUSTED_MODELS", "")
    monkeypatch.setattr(SETTINGS, "MODEL_DIR", tmp_path / "models")
    monkeypatch.setattr(SETTINGS, "CACHE_DIR", tmp_path / "cache")


@pytest.fixture
def victim(tmp_path):
    return tmp_path / "executed"


@pytest.fixture
def malicious(tmp_path, victim) -> Path:
    path = tmp_path / "gift.model"
    path.write_bytes(pickle.dumps(Malice(victim)))
    return path


def spec_of(path, backend="mace", **kwargs) -> PotentialSpec:
    if backend == "mace":
        return PotentialSpec(backend="mace", name=str(path), kwargs=kwargs)
    names = {"atomate2": "MACE", "imported": "mace.calculators:MACECalculator"}
    option = {"atomate2": "model", "imported": "model_paths"}[backend]
    return PotentialSpec(
        backend="ase", name=names[backend], kwargs={option: str(path), "device": "cpu", **kwargs}
    )


@pytest.mark.parametrize("backend", ["mace", "atomate2", "imported"])
def test_a_pickle_that_nobody_vouches_for_is_not_opened(malicious, victim, backend):
    digest = hashlib.sha256(malicious.read_bytes()).hexdigest()
    words = rf"gift.model: .*pickle.*add `trust: true`.*{digest}.*ALPOT_TRUSTED_MODELS"
    with pytest.raises(PotentialError, match=words):
        load_predictor(spec_of(malicious, backend))
    assert not victim.exists()


def test_it_would_have_run(malicious, victim):
    with pytest.raises(PotentialError, match="no model file|not a MACE model"):
        load_predictor(spec_of(malicious, trust=True))
    assert victim.exists()


def test_a_file_in_the_working_folder_is_not_taken_for_a_released_model(malicious, victim):
    malicious.rename("medium-mpa-0")
    with pytest.raises(PotentialError, match="add `trust: true`"):
        load_predictor(PotentialSpec(backend="mace"))
    with pytest.raises(PotentialError, match="add `trust: true`"):
        load_predictor(spec_of("../" + Path.cwd().name + "/medium-mpa-0"))
    assert not victim.exists()


def test_weights_other_than_those_of_the_document_are_refused(malicious, victim):
    trained = PotentialSpec(backend="mace", artifact=Artifact(b"ours", "m.model")).model_dump()
    theirs = Artifact.from_file(malicious)
    with pytest.raises(ValidationError, match="the document names"):
        PotentialSpec(**{**trained, "artifact": theirs})
    assert not victim.exists()


def trust_option(path):
    return spec_of(path, trust=True)


def trust_artifact(path):
    return PotentialSpec(backend="mace", artifact=Artifact.from_file(path))


def trust_path(path):
    SETTINGS.TRUSTED_MODELS = f"/nowhere/*.model, {path.parent}/*.model"
    return spec_of(path)


def trust_hash(path):
    SETTINGS.TRUSTED_MODELS = f"{'0' * 64}, {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return spec_of(path)


def trust_folder(path):
    SETTINGS.MODEL_DIR = path.parent
    return PotentialSpec(backend="mace", name=path.stem)


@pytest.mark.parametrize(
    "vouch", [trust_option, trust_artifact, trust_path, trust_hash, trust_folder]
)
def test_whoever_says_where_a_model_is_from_may_load_it(mace_file, vouch):
    assert load_predictor(vouch(mace_file)).elements == {13, 28}


@pytest.mark.parametrize("said", [False, "true", 1])
def test_trust_is_said_plainly(mace_file, said):
    with pytest.raises(PotentialError, match="add `trust: true`"):
        load_predictor(spec_of(mace_file, trust=said))


def test_calculators_of_others_load_files_that_are_vouched_for(mace_file):
    spec = spec_of(mace_file, "imported", trust=True)
    assert load_predictor(spec) is not None


def test_an_untrusted_file_is_reported_before_the_first_job(malicious, victim):
    (words,) = check_spec(spec_of(malicious), ["Al"])
    assert "gift.model" in words
    assert "trust: true" in words
    assert list(check_spec(spec_of(malicious, trust=True), ["Al"])) == []
    assert not victim.exists()
