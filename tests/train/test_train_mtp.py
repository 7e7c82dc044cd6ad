"""MTP training: a teacher's potential is found, kills cost one step, bad input is named."""

from __future__ import annotations

import logging
import sys

import numpy as np
import pytest

pytest.importorskip("motep", reason="motep is not installed")

from motep.loss import LossFunction, LossSetting
from pydantic import ValidationError
from tiny_mtp import E0S, TINY, labelled, run_of, structures, teacher

from atomate2_alpot.potentials import PotentialError, load_predictor
from atomate2_alpot.potentials.mtp_file import MtpModel, read_model, write_model
from atomate2_alpot.schemas import Frames, Labels, PotentialSpec
from atomate2_alpot.train import MtpSettings, TrainingError
from atomate2_alpot.train import mtp as trainer
from atomate2_alpot.train.mtp import fit, starting_point
from atomate2_alpot.train.mtp_loss import LabelledSet, loss_of, normal_equations
from atomate2_alpot.train.mtp_start import first_potential
from atomate2_alpot.train.run import fitter_for

LEVEL_2 = TINY.model_copy(update={"level": 2})
SHORT = TINY.model_copy(update={"max_steps": 5, "tolerance": 0.0})


def predictor_of(file):
    return load_predictor(PotentialSpec(backend="mtp", name=str(file)))


def blank(frames: Frames, rows, *, forces=True, stress=True) -> Frames:
    """Take the forces, the stress or both of some frames away."""
    f, s = frames.forces.copy(), frames.stress.copy()
    if forces:
        f[np.isin(frames.frame_index, rows)] = np.nan
    if stress:
        s[rows] = np.nan
    return frames.with_labels(Labels(frames.energy, f, s))


def test_a_potential_of_level_2_is_found_from_its_own_labels(tmp_path):
    frames = labelled(structures(24), LEVEL_2)
    model, epochs = fit(run_of(frames, settings=LEVEL_2), tmp_path)
    assert epochs.column("epoch").tolist() == list(range(len(epochs)))
    others = labelled(structures(5, seed=9), LEVEL_2)
    prediction = predictor_of(model).predict(others)
    np.testing.assert_allclose(prediction.energy, others.energy, atol=1e-8)
    np.testing.assert_allclose(prediction.forces, others.forces, atol=1e-8)
    np.testing.assert_allclose(prediction.stress, others.stress, atol=1e-9)


def test_a_potential_of_a_higher_level_is_found_from_near_by(tmp_path):
    settings = TINY.model_copy(update={"level": 6})
    frames, start = labelled(structures(24), settings), teacher(settings)
    noise = np.random.default_rng(2).normal(1, 0.03, len(start.parameters))
    start.parameters = start.parameters * noise
    write_model(tmp_path / "near.mtp", MtpModel(start, E0S))
    run = run_of(frames, settings=settings, start_from=tmp_path / "near.mtp")
    _, epochs = fit(run, tmp_path)
    assert epochs.column("forces_rmse")[0] > 1e-2
    assert epochs.column("forces_rmse")[-1] < 1e-5


def test_loss_is_motep_s_where_all_is_labelled():
    settings = TINY.model_copy(update={"energy_weight": 2.0, "stress_weight": 0.3})
    frames, data = structures(6), teacher()
    frames = labelled(frames)
    rng = np.random.default_rng(0)
    data.parameters = data.parameters * rng.normal(1, 0.1, len(data.parameters))
    weights = {
        f"{k}_weight": getattr(settings, f"{k}_weight") for k in ("energy", "forces", "stress")
    }
    theirs = LossFunction(frames.to_ase(), data, LossSetting(**weights))
    expected = theirs(data.parameters)
    part = LabelledSet.of(frames, settings.cutoff)
    normal = normal_equations(data, part, settings)
    assert loss_of(frames, part.predict(data), settings) == pytest.approx(expected, rel=1e-10)
    assert normal.loss == pytest.approx(expected, rel=1e-10)
    np.testing.assert_allclose(2 * normal.gradient, theirs.jac(data.parameters), rtol=1e-8)


def test_hessian_is_that_of_the_linear_part():
    """With the radial coefficients held, the loss is a parabola in the others."""
    frames, data = labelled(structures(5)), teacher()
    part = LabelledSet.of(frames, TINY.cutoff)
    data.optimized = ["moment_coeffs", "species_coeffs"]
    rng = np.random.default_rng(1)
    start, step = data.parameters, rng.normal(0, 0.1, len(data.parameters))
    normal = normal_equations(data, part, TINY)
    data.parameters = start + step
    expected = normal.loss + 2 * normal.gradient @ step + step @ normal.hessian @ step
    assert loss_of(frames, part.predict(data), TINY) == pytest.approx(expected, rel=1e-9)


def test_missing_labels_leave_out_their_terms_only():
    frames = labelled(structures(6))
    data = teacher()
    data.parameters = 1.05 * data.parameters
    holes = blank(blank(frames, [1, 4], forces=False), [2, 4], stress=False)
    part = LabelledSet.of(holes, TINY.cutoff)
    prediction = part.predict(data)
    expected = 0.0
    for s in range(6):
        n, own = 2, slice(2 * s, 2 * s + 2)
        expected += TINY.energy_weight * ((prediction.energy[s] - frames.energy[s]) / n) ** 2
        if s not in (2, 4):
            squares = (prediction.forces[own] - frames.forces[own]) ** 2
            expected += TINY.forces_weight * squares.sum() / n
        if s not in (1, 4):
            virial = (prediction.stress[s] - frames.stress[s]) * frames.volume[s] / n
            expected += TINY.stress_weight * (virial**2).sum()
    assert loss_of(holes, prediction, TINY) == pytest.approx(expected / 6, rel=1e-12)
    assert normal_equations(data, part, TINY).loss == pytest.approx(expected / 6, rel=1e-10)


def test_training_without_stresses_and_in_partial_cells_says_so_and_works(tmp_path, caplog):
    frames = structures(20)
    pbc = np.ones((20, 3), dtype=bool)
    cells = frames.cell.copy()
    pbc[::3, 2], cells[::3, 2] = False, 0.0
    pbc[1], cells[1] = False, 0.0
    frames = Frames.from_arrays(frames.numbers, frames.positions, cells, [2] * 20, pbc=pbc)
    near = LabelledSet.of(frames, LEVEL_2.cutoff).predict(teacher(LEVEL_2))
    labels = Labels(near.energy, near.forces, np.full((20, 3, 3), np.nan))
    model, epochs = fit(run_of(frames.with_labels(labels), settings=LEVEL_2), tmp_path)
    assert "16 of 16 frames of the train set have no stress" in caplog.text
    assert epochs.column("energy_mae")[-1] < 1e-6
    assert np.isnan(epochs.column("stress_mae").astype(float)).all()
    np.testing.assert_allclose(predictor_of(model).predict(frames).energy, near.energy, atol=1e-5)


def test_the_model_is_the_one_of_the_best_validation(tmp_path):
    frames = labelled(structures(24))
    rng = np.random.default_rng(0)
    noisy = Labels(
        frames.energy + rng.normal(0, 0.2, 24),
        frames.forces + rng.normal(0, 0.5, frames.forces.shape),
        frames.stress,
    )
    model, epochs = fit(run_of(frames.with_labels(noisy)[:10], n_valid=3), tmp_path)
    valid = frames.with_labels(noisy)[7:10]
    found = loss_of(valid, predictor_of(model).predict(valid), TINY)
    assert found == pytest.approx(epochs.column("loss").min(), rel=1e-9)
    assert found < epochs.column("loss")[-1]


@pytest.mark.parametrize("settings", [SHORT, SHORT.model_copy(update={"warm_up_atoms": 10})])
def test_a_run_that_was_killed_ends_as_one_that_was_not(tmp_path, monkeypatch, settings):
    frames = labelled(structures(24))
    whole, expected = fit(run_of(frames, settings=settings), tmp_path / "whole")
    write, counts = trainer.Progress.write, []

    def killed(self, path):
        write(self, path)
        counts.append(1)
        if len(counts) % 3 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(trainer.Progress, "write", killed)
    model = None
    while model is None:
        try:
            model, epochs = fit(run_of(frames, settings=settings), tmp_path / "cut")
        except KeyboardInterrupt:
            continue
    assert len(counts) == len(epochs) > 3  # no step was taken twice
    assert model.read_bytes() == whole.read_bytes()
    np.testing.assert_array_equal(epochs.column("loss"), expected.column("loss"))


def test_a_broken_checkpoint_is_told_of_and_starts_anew(tmp_path, caplog):
    frames = labelled(structures(24))
    whole, _ = fit(run_of(frames, settings=SHORT), tmp_path / "whole")
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / trainer.CHECKPOINT).write_bytes(b"PK\x03\x04 half")
    model, _ = fit(run_of(frames, settings=SHORT), tmp_path / "cut")
    assert "training starts anew" in caplog.text
    assert model.read_bytes() == whole.read_bytes()


def test_another_seed_is_another_model(tmp_path):
    frames = labelled(structures(24))
    models = [fit(run_of(frames, settings=SHORT, seed=s), tmp_path / str(s))[0] for s in (1, 2)]
    assert models[0].read_bytes() != models[1].read_bytes()


def test_a_start_is_continued_from_where_it_was_also_with_other_e0s(tmp_path):
    frames = labelled(structures(24))
    model, epochs = fit(run_of(frames, settings=SHORT), tmp_path / "first")
    path, e0s = starting_point(PotentialSpec(backend="mtp", name=str(model)))
    assert e0s == E0S
    again = run_of(frames, settings=SHORT, start_from=path)
    _, later = fit(again, tmp_path / "again")
    assert later.column("loss")[0] == pytest.approx(epochs.column("loss").min(), rel=1e-6)
    moved = {"Al": E0S["Al"] + 1, "Ni": E0S["Ni"] - 2}
    data = first_potential(run_of(frames, settings=SHORT, start_from=path, e0s=moved), 2.0)
    change = data.species_coeffs - read_model(path).data.species_coeffs
    np.testing.assert_allclose(change, [1, -2], atol=1e-12)


def test_a_start_keeps_its_energies_with_another_inner_end(tmp_path):
    write_model(tmp_path / "old.mtp", MtpModel(teacher(), E0S))
    frames = labelled(structures(6))
    settings = TINY.model_copy(update={"min_dist": 1.1})
    run = run_of(frames, n_valid=2, settings=settings, start_from=tmp_path / "old.mtp")
    data = first_potential(run, nearest=2.0)
    assert data.radial_basis.min == 1.1
    prediction = LabelledSet.of(frames, TINY.cutoff).predict(data)
    np.testing.assert_allclose(prediction.energy, frames.energy, atol=1e-10)
    np.testing.assert_allclose(prediction.forces, frames.forces, atol=1e-10)


def test_a_start_takes_in_a_new_element(tmp_path):
    write_model(tmp_path / "old.mtp", MtpModel(teacher(), E0S))
    frames = labelled(structures(6))
    more = Frames.from_arrays(
        np.where(np.arange(12) % 4 == 0, 5, frames.numbers), frames.positions, frames.cell, [2] * 6
    ).with_labels(Labels(frames.energy, frames.forces, frames.stress))
    e0s = {**E0S, "B": -1.0}
    run = run_of(more, n_valid=2, e0s=e0s, start_from=tmp_path / "old.mtp")
    data = first_potential(run, nearest=2.0)
    assert data.species.tolist() == [5, 13, 28]
    prediction = LabelledSet.of(frames, TINY.cutoff).predict(data)
    np.testing.assert_allclose(prediction.energy, frames.energy, atol=1e-10)


def test_elements_that_never_meet_do_not_interact(tmp_path):
    frames = labelled(structures(40))
    same = frames.numbers.reshape(-1, 2)
    pure = frames[same[:, 0] == same[:, 1]]
    model, _ = fit(run_of(pure, n_valid=3, settings=SHORT), tmp_path)
    radial = read_model(model).data.radial_coeffs
    assert (radial[0, 1] == 0).all()
    assert (radial[0, 0] != 0).any()
    assert (radial[1, 1] != 0).any()


def test_without_free_constants_an_atom_alone_has_its_e0(tmp_path):
    frames = labelled(structures(24))
    alone = Frames.from_arrays(
        [13, 28], np.zeros((2, 3)), np.zeros((2, 3, 3)), [1, 1], np.zeros((2, 3))
    )
    for fixed in (True, False):
        settings = SHORT.model_copy(update={"fit_species": not fixed})
        model, _ = fit(run_of(frames, settings=settings), tmp_path / str(fixed))
        energy = predictor_of(model).predict(alone).energy
        assert np.allclose(energy, list(E0S.values()), atol=1e-9) == fixed


def test_min_dist_of_null_is_below_the_nearest_two():
    frames = labelled(structures(24))
    settings = TINY.model_copy(update={"min_dist": None})
    nearest = min(near.nearest for near in LabelledSet.of(frames, 4.0).near)
    data = first_potential(run_of(frames, settings=settings), nearest)
    assert data.radial_basis.min == pytest.approx(0.95 * nearest)


def lacking(frames, **labels):
    given = {"energy": frames.energy, "forces": frames.forces, "stress": frames.stress, **labels}
    return frames.with_labels(Labels(**given))


FAILURES = {
    "no E0": (lambda f: {"e0s": {"Al": -3.0}}, "no value for .*Ni"),
    "too near": (
        lambda f: {"settings": TINY.model_copy(update={"min_dist": 2.6})},
        r"min_dist=2\.6: two atoms of tiny's frames are .* apart; lower it",
    ),
    "other level": (
        lambda f: {"settings": TINY.model_copy(update={"level": 8}), "start_from": "old.mtp"},
        "level=8: start_from has other moments",
    ),
    "other cutoff": (
        lambda f: {"settings": TINY.model_copy(update={"cutoff": 4.5}), "start_from": "old.mtp"},
        r"cutoff=4\.5: start_from has 4\.0",
    ),
    "other radial functions": (
        lambda f: {
            "settings": TINY.model_copy(update={"n_radial_basis": 5}),
            "start_from": "old.mtp",
        },
        "n_radial_basis=5: start_from has 4",
    ),
    "no forces": (
        lambda f: {"train": lacking(f[:20], forces=None)},
        r"forces_weight=0\.01: no frame of the train set of tiny has forces; label them, or set",
    ),
    "no energies": (
        lambda f: {"valid": Frames.concat([f[20:], structures(1, seed=3)])},
        "valid set of tiny: 1 frames have no energy; drop them",
    ),
    "no validation": (lambda f: {"valid": f[:0]}, "valid set of tiny: no frame; give its share"),
    "nothing": (lambda f: {"train": f[:0]}, "train set of tiny: no frame"),
    "labels of the universe": (
        lambda f: {"train": lacking(f[:20], energy=f[:20].energy + 1e200)},
        "the loss is inf after 0 steps: a label is broken",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_cannot_be_trained_is_named(name, tmp_path):
    frames = labelled(structures(24))
    change, message = FAILURES[name]
    update = change(frames)
    write_model(tmp_path / "old.mtp", MtpModel(teacher(), E0S))
    if "start_from" in update:
        update["start_from"] = tmp_path / update["start_from"]
    sets = {"train": frames[:20], "valid": frames[20:], **update}
    run = run_of(frames)
    run = type(run)(**{**vars(run), **sets})
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(TrainingError, match=message):
        fit(run, tmp_path / "run")


def test_atoms_on_top_of_each_other_are_refused(tmp_path):
    frames = structures(8)
    positions = frames.positions.copy()
    positions[1] = positions[0] + [0, 0, 1e-3]
    broken = Frames.from_arrays(frames.numbers, positions, frames.cell, [2] * 8)
    settings = TINY.model_copy(update={"min_dist": None})
    run = run_of(lacking(broken, energy=np.zeros(8), forces=np.zeros((16, 3))), settings=settings)
    with pytest.raises(TrainingError, match=r"two atoms of tiny's frames are 0\.001 Å apart"):
        fit(run, tmp_path)


def test_a_stress_without_a_cell_is_refused(tmp_path):
    frames = structures(8)
    flat = Frames.from_arrays(
        frames.numbers, frames.positions, np.zeros((8, 3, 3)), [2] * 8, np.zeros((8, 3))
    ).with_labels(Labels(np.zeros(8), np.zeros((16, 3)), np.zeros((8, 3, 3))))
    with pytest.raises(TrainingError, match="4 frames have a stress but no cell; remove"):
        fit(run_of(flat), tmp_path)


def test_a_start_that_is_no_potential_is_named(tmp_path):
    (tmp_path / "no.mtp").write_text("MTP\n")
    with pytest.raises(PotentialError, match=r"no\.mtp"):
        fit(run_of(labelled(structures(8)), start_from=tmp_path / "no.mtp"), tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"level": 9}, "level=9: give an even number, 2 to 24"),
        ({"level": 26}, "level=26"),
        ({"cutof": 5}, "Extra inputs"),
        ({"min_dist": 6.0}, r"min_dist=6\.0: must be below cutoff=5\.0"),
        ({"n_radial_basis": 1}, "greater than or equal to 2"),
        ({"energy_weight": 0, "forces_weight": 0, "stress_weight": 0}, "are all 0"),
    ],
)
def test_settings_refuse_what_makes_no_potential(values, message):
    with pytest.raises(ValidationError, match=message):
        MtpSettings(**values)


def test_a_missing_package_is_named_with_its_remedy(monkeypatch):
    monkeypatch.delitem(sys.modules, "atomate2_alpot.train.mtp")
    monkeypatch.setitem(sys.modules, "motep.potentials.mtp.data", None)
    with pytest.raises(TrainingError, match=r"kind='mtp' needs a package.*atomate2-alpot\[mtp\]"):
        fitter_for("mtp")


def test_progress_is_logged(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    fit(run_of(labelled(structures(8)), settings=SHORT), tmp_path)
    assert "training tiny: step 5 on 4 frames, validation" in caplog.text
