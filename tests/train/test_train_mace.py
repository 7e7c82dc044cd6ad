"""MACE, really trained: for seconds, on labels of an analytic potential."""

from __future__ import annotations

import numpy as np
import pytest
from jobflow import Flow, job, run_locally
from monty.json import MontyDecoder
from tiny_mace import TINY, run_of, toy_frames

from atomate2_alpot.potentials import load_predictor
from atomate2_alpot.potentials.mace import find_model, model_e0s
from atomate2_alpot.schemas import Frames, Labels, PotentialSpec
from atomate2_alpot.train import CommitteeTrainer, TrainingError, assign_splits, fit_e0s
from atomate2_alpot.train.mace import fit
from atomate2_alpot.train.member import MemberPlan, SplitDoc, train_member
from atomate2_alpot.train.run import TrainingRun


@pytest.mark.slow
def test_training_gives_a_model_and_a_history(tmp_path):
    frames = toy_frames(20)
    model, epochs = fit(run_of(frames), tmp_path)
    assert epochs.column("epoch").tolist() == [0, 1, 2]
    assert np.isfinite(epochs.column("stress_mae")).all()
    prediction = load_predictor(PotentialSpec(backend="mace", name=str(model))).predict(frames)
    assert np.isfinite(prediction.energy).all()


@pytest.mark.slow
def test_fewer_frames_than_a_batch_are_trained_on(tmp_path, caplog):
    frames = toy_frames(8)
    few = TrainingRun(frames[:5], frames[5:], TINY, fit_e0s(frames), seed=1, name="tiny")
    _, epochs = fit(few, tmp_path)
    assert len(epochs) == 3
    assert np.isfinite(epochs.column("loss")).all()
    assert "batch_size=8 is more than its 5 training frames; training with 5" in caplog.text


@pytest.mark.slow
def test_failure_ends_early_with_maces_own_words(tmp_path):
    settings = TINY.model_copy(update={"extra": {"optimizer": "nonsense"}})
    said = r"training of tiny failed \(exit code 2\): .*invalid choice: 'nonsense'.*tiny.log"
    with pytest.raises(TrainingError, match=said):
        fit(run_of(toy_frames(20), settings=settings), tmp_path)


@pytest.mark.slow
def test_fine_tuning_keeps_the_e0s_of_elements_that_the_data_lack(tmp_path):
    both = toy_frames(20)
    start, _ = fit(run_of(both), tmp_path / "start")
    nickel = Frames.from_arrays(
        np.full(2 * len(both), 28),
        both.positions,
        both.cell,
        both.n_atoms,
        labels=Labels(both.energy, both.forces, both.stress),
    )
    plan = MemberPlan(
        member=0,
        iteration=1,
        seed=1,
        settings=TINY,
        start_from=PotentialSpec(backend="mace", name=str(start)),
    )
    splits = assign_splits(nickel, 1)
    done = train_member(SplitDoc(frames=nickel, splits=splits), plan, None, tmp_path / "tuned")
    assert "Al of mace" in done.e0_source
    assert done.e0s["Al"] == pytest.approx(fit_e0s(both)["Al"], abs=1e-5)
    model = find_model(done.spec)
    assert model_e0s(model) == pytest.approx(done.e0s, abs=1e-5)


def test_runs_that_share_a_folder_are_told_apart():
    frames = toy_frames(20)
    runs = [run_of(frames), run_of(frames, seed=2), run_of(toy_frames(20, seed=3))]
    runs.append(run_of(frames, settings=TINY.model_copy(update={"lr": 0.02})))
    labels = Labels(frames.energy, frames.forces + 0.01, frames.stress)
    runs.append(run_of(frames.with_labels(labels)))
    assert len({r.fingerprint() for r in runs}) == 5
    assert run_of(toy_frames(20)).fingerprint() == runs[0].fingerprint()


def test_missing_e0_is_named_before_anything_runs(tmp_path):
    with pytest.raises(TrainingError, match=r"e0s: no value for \['Ni'\] of the train set of tiny"):
        fit(run_of(toy_frames(20), e0s={"Al": 0.0}), tmp_path)


@job(data=[Frames])
def dataset(n: int, seed: int):
    return toy_frames(n, seed)


@pytest.mark.slow
def test_two_iterations_keep_splits_and_take_up_weights(job_store):
    trainer = CommitteeTrainer(settings=TINY, n_members=2, start_from="previous", functional="toy")
    one, two = dataset(20, 0), dataset(12, 1)
    first = trainer.make([one.output], 1)
    second = trainer.make([one.output, two.output], 2, previous=first.output)
    run_locally(
        Flow([one, two, first, second]),
        store=job_store,
        log=False,
        raise_immediately=True,
        create_folders=True,
    )
    decode = MontyDecoder().process_decoded
    before, after = (
        decode(job_store.get_output(f.output.uuid, load=True)) for f in (first, second)
    )
    kept = {(r["frame_id"], r["member"]): r["split"] for r in before.splits.table.to_pylist()}
    now = {(r["frame_id"], r["member"]): r["split"] for r in after.splits.table.to_pylist()}
    assert len(now) == 2 * 32
    assert {k: now[k] for k in kept} == kept
    assert [m.started_from for m in before.members] == [None, None]
    assert [m.started_from for m in after.members] == [s.label for s in before.committee.members]
    assert after.committee.members[0].functional == "toy"
    assert before.members[0].spec.artifact.sha256 != before.members[1].spec.artifact.sha256
    assert set(after.committee.references[0]) == {"Al", "Ni"}
    member = after.members[0]
    held_out = [key for key, name in now.items() if name == "calibrate"]
    assert len(held_out) == 2 * 3  # a tenth, the same for both members
    assert member.n_train + member.n_valid + member.n_test == 32 - 3
    assert "stress" in after.committee.calibrations  # three energies are too few
    assert "energy" not in after.committee.calibrations
    assert set(member.metrics) >= {"energy_mae", "forces_mae"}
