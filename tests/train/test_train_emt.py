"""MACE trained on EMT labels: the model it leaves, a restart, and ways to fail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from tiny_mace import TINY, run_of

from atomate2_alpot.potentials import load_predictor
from atomate2_alpot.schemas import Artifact, Frames, Labels, PotentialSpec
from atomate2_alpot.train import TrainingError
from atomate2_alpot.train.mace import fit

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def frames() -> Frames:
    """Twenty distorted Al/Ni cells with energies, forces and stresses of EMT."""
    rng = np.random.default_rng(3)
    batch = []
    for _ in range(20):
        cell = 3.1 * np.eye(3) + rng.normal(0, 0.1, (3, 3))
        atoms = Atoms(rng.choice(["Al", "Ni"], 2), cell=cell, pbc=True)
        atoms.set_scaled_positions([[0, 0, 0], [0.5, 0.5, 0.45]])
        batch.append(atoms)
    energy, forces, stress = [], [], []
    for atoms in batch:
        copy = atoms.copy()
        copy.calc = EMT()
        energy.append(copy.get_potential_energy())
        forces.append(copy.get_forces())
        stress.append(copy.get_stress(voigt=False))
    return Frames.from_ase(batch).with_labels(Labels(energy, np.concatenate(forces), stress))


def test_the_model_loads_from_file_and_artifact_and_predicts(frames, tmp_path):
    model, epochs = fit(run_of(frames), tmp_path)
    assert epochs.column("epoch").tolist() == [0, 1, 2]
    for name in ("loss", "energy_mae", "forces_mae", "stress_mae"):
        assert np.isfinite(epochs.column(name)).all(), name
    by_file, by_artifact = (
        load_predictor(spec).predict(frames)
        for spec in (
            PotentialSpec(backend="mace", name=str(model)),
            PotentialSpec(backend="mace", artifact=Artifact.from_file(model)),
        )
    )
    for name in ("energy", "forces", "stress"):
        assert np.isfinite(getattr(by_file, name)).all(), name
        np.testing.assert_array_equal(getattr(by_artifact, name), getattr(by_file, name))


def test_a_run_that_was_stopped_is_taken_up_where_it_was(frames, tmp_path):
    fit(run_of(frames), tmp_path)
    longer = run_of(frames, settings=TINY.model_copy(update={"max_num_epochs": 5}))
    _, epochs = fit(longer, tmp_path)
    assert epochs.column("epoch").tolist() == [0, 1, 2, 3, 4]
    assert "checkpoint" in (tmp_path / "tiny.log").read_text().lower()


def test_a_crash_gives_maces_message_and_a_log_that_is_there(frames, tmp_path):
    settings = TINY.model_copy(update={"extra": {"optimizer": "nonsense"}})
    with pytest.raises(TrainingError, match=r"exit code \d+.*nonsense") as caught:
        fit(run_of(frames, settings=settings), tmp_path)
    log = Path(str(caught.value).rsplit("Full log: ", 1)[1])
    assert "nonsense" in log.read_text()
    assert not list(tmp_path.glob("*.model"))


def test_a_folder_may_be_relative(frames):
    model, _ = fit(run_of(frames), Path("training"))
    assert model.exists()
