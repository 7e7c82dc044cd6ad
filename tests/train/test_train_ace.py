"""Training linear ACE: equations, solution, regularisation, committees, broken input."""

from __future__ import annotations

import gzip
import logging
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from jobflow import Flow, job, run_locally
from monty.json import MontyDecoder
from pydantic import ValidationError
from scipy.stats import multivariate_normal

from atomate2_alpot.potentials import load_predictor
from atomate2_alpot.schemas import Frames, Labels, PotentialSpec
from atomate2_alpot.testing import ToyPotential
from atomate2_alpot.train import (
    AceSettings,
    CalibrationSettings,
    CommitteeTrainer,
    TrainingError,
    fit_e0s,
)
from atomate2_alpot.train.ace_design import equations
from atomate2_alpot.train.ace_solve import Triangle
from atomate2_alpot.train.run import TrainingRun, fitter_for
from atomate2_alpot.uncertainty.errors import error_metrics

pytest.importorskip("ace_jax")

from atomate2_alpot.train.ace import fit, starting_point
from atomate2_alpot.train.ace_model import build_model, count_coefficients, write_model

TINY = AceSettings(order=2, degree=4, cutoff=4.0)
E0S = {"Al": -3.0, "Ni": -5.0}
TUNGSTEN = Path(__file__).parents[3] / "shared" / "data" / "tungsten"


def cells(n: int, seed: int = 0) -> Frames:
    """Distorted cells of three atoms."""
    rng = np.random.default_rng(seed)
    lattice = np.eye(3) * 3.6 + rng.normal(0, 0.15, (n, 3, 3))
    inner = np.array([[0, 0, 0], [0.5, 0.5, 0.1], [0.5, 0.0, 0.5]])
    positions = (inner + rng.normal(0, 0.04, (n, 3, 3))) @ lattice
    numbers = rng.choice([13, 28], (n, 3))
    return Frames.from_arrays(numbers.ravel(), positions.reshape(-1, 3), lattice, [3] * n)


def labelled(frames: Frames, predictor) -> Frames:
    p = predictor.predict(frames)
    return frames.with_labels(Labels(p.energy, p.forces, p.stress))


def toy(n: int, seed: int = 0) -> Frames:
    return labelled(cells(n, seed), ToyPotential(5))


def run_of(frames: Frames, n_train: int = 12, **update) -> TrainingRun:
    options = {"settings": TINY, "e0s": fit_e0s(frames), "seed": 1, "name": "tiny", **update}
    return TrainingRun(train=frames[:n_train], valid=frames[n_train:], **options)


def loaded(path: Path):
    return load_predictor(PotentialSpec(backend="ace", name=str(path)))


def settings(**update) -> AceSettings:
    return AceSettings(**{**TINY.model_dump(), **update})


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """A linear ACE of the tiny basis with random coefficients."""
    path = tmp_path_factory.mktemp("truth") / "truth.npz"
    model, scale = build_model(TINY, list(E0S), path)
    drawn = np.random.default_rng(4).normal(size=model.coefficients.size) / scale
    write_model(path, drawn.reshape(model.coefficients.shape), np.array(list(E0S.values())))
    return loaded(path)


def test_it_finds_the_model_its_labels_are_from(truth, tmp_path):
    frames = labelled(cells(20), truth)
    path, epochs = fit(run_of(frames, 16, e0s=E0S), tmp_path)
    unseen = cells(6, seed=9)
    found, expected = loaded(path).predict(unseen), truth.predict(unseen)
    np.testing.assert_allclose(found.energy, expected.energy, atol=1e-6)
    np.testing.assert_allclose(found.forces, expected.forces, atol=1e-6)
    np.testing.assert_allclose(found.stress, expected.stress, atol=1e-6)
    assert np.ptp(expected.energy) > 0.1
    assert epochs.column("loss")[0] < 1e-12


def test_equations_hold_for_any_coefficients(truth):
    frames = labelled(cells(4), truth)
    alone = Frames.from_arrays(
        [13, 28], [[0, 0, 0], [2.3, 0.4, 0]], np.zeros((1, 3, 3)), [2], pbc=np.zeros((1, 3))
    )
    prediction = truth.predict(alone)
    stress = np.full((1, 3, 3), np.nan)
    alone = alone.with_labels(Labels(prediction.energy, prediction.forces, stress))
    frames = Frames.concat([frames, alone])
    n_rows = []
    for rows in equations(truth.model.basis, frames, truth.model.e0s, TINY, "test"):
        np.testing.assert_allclose(
            rows.values @ truth.model.coefficients.ravel(), rows.target, atol=1e-9
        )
        n_rows.append(len(rows.target))
    assert n_rows == [1 + 9 + 6] * 4 + [1 + 6]


def test_missing_stress_is_left_out(tmp_path):
    frames = toy(16)
    stress = frames.stress.copy()
    stress[3:] = np.nan
    frames = frames.with_labels(Labels(frames.energy, frames.forces, stress))
    path, epochs = fit(run_of(frames), tmp_path)
    assert np.isfinite(loaded(path).predict(frames).stress).all()
    assert epochs.table.column("stress_mae").to_pylist() == [None]
    assert epochs.column("forces_mae")[0] > 0


def test_blocks_of_equations_give_the_regularised_normal_equations(rng, monkeypatch):
    monkeypatch.setattr("atomate2_alpot.train.ace_solve.BLOCK_ROWS", 250)
    a, y = rng.normal(size=(900, 7)), rng.normal(size=900)
    triangle = Triangle(7)
    for block in np.split(np.arange(900), 9):
        triangle.add(a[block], y[block])
    problem = triangle.solve()
    for strength in (0.0, 0.3, 40.0):
        direct = np.linalg.solve(a.T @ a + strength * np.eye(7), a.T @ y)
        np.testing.assert_allclose(problem.solution(strength), direct, atol=1e-11)
        misfit = ((a @ direct - y) ** 2).sum() + strength * (direct**2).sum()
        assert problem.quadratic(strength) == pytest.approx(misfit, rel=1e-10)
    assert problem.largest == pytest.approx(np.linalg.eigvalsh(a.T @ a)[-1])
    assert problem.rank == 7


@pytest.mark.parametrize("n_rows", [4, 40])
def test_evidence_is_the_largest_likelihood_of_the_labels(rng, n_rows):
    a = rng.normal(size=(n_rows, 6)) * 2.0 ** -np.arange(6)
    y = a @ rng.normal(size=6) + 0.2 * rng.normal(size=n_rows)
    triangle = Triangle(6)
    triangle.add(a, y)
    problem = triangle.solve()

    def likelihood(strength):
        noise = problem.quadratic(strength) / n_rows
        covariance = noise * (np.eye(n_rows) + a @ a.T / strength)
        return multivariate_normal(np.zeros(n_rows), covariance).logpdf(y)

    grid = problem.largest * np.geomspace(1e-8, 1e2, 400)
    best = max(likelihood(x) for x in grid)
    assert likelihood(problem.most_probable()) >= best - 1e-3


def test_draws_have_the_posterior_covariance(rng):
    a, y = rng.normal(size=(30, 3)), rng.normal(size=30)
    triangle = Triangle(3)
    triangle.add(a, y)
    problem, strength = triangle.solve(), 0.5
    draws = np.array([problem.draw(strength, np.random.default_rng(s)) for s in range(4000)])
    noise = problem.quadratic(strength) / 30
    covariance = noise * np.linalg.inv(a.T @ a + strength * np.eye(3))
    np.testing.assert_allclose(draws.mean(axis=0), problem.solution(strength), atol=0.02)
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.1 * covariance.max())


def test_ridge_takes_what_is_best_on_the_validation_set(tmp_path):
    frames = toy(18)
    tried = (1e-14, 1e-8, 1e-2)
    run = run_of(frames, settings=settings(solver="ridge", regularisation=tried))
    path, epochs = fit(run, tmp_path / "all")
    loss = epochs.column("loss")
    best = int(np.argmin(loss))
    assert len(loss) == 3
    alone = settings(solver="ridge", regularisation=(tried[best],))
    fit(run_of(frames, settings=alone), tmp_path / "one")
    expected = loaded(tmp_path / "one" / "tiny.npz").predict(frames).energy
    np.testing.assert_allclose(loaded(path).predict(frames).energy, expected, atol=1e-10)
    metrics = error_metrics(run.valid, loaded(path).predict(run.valid))
    assert set(metrics) == set(epochs.table.column_names) - {"epoch", "loss"}
    for name, value in metrics.items():
        assert epochs.column(name)[best] == pytest.approx(value, rel=1e-6)


def test_bootstrap_is_a_fit_to_frames_drawn_with_replacement(tmp_path):
    frames = toy(16)
    options = {"solver": "ridge", "regularisation": (1e-8,)}
    drawn = np.random.default_rng(1).integers(12, size=12)
    bootstrap = run_of(frames, settings=settings(committee="bootstrap", **options))
    repeated = TrainingRun(
        train=frames[:12][drawn],
        valid=frames[12:],
        settings=settings(**options),
        e0s=bootstrap.e0s,
        seed=1,
        name="tiny",
    )
    assert len(set(drawn)) < 12
    one, two = (
        loaded(fit(run, tmp_path / run.settings.committee)[0]) for run in (bootstrap, repeated)
    )
    np.testing.assert_allclose(one.predict(frames).forces, two.predict(frames).forces, atol=1e-7)


def test_posterior_members_scatter_about_the_fit(tmp_path):
    frames = toy(16)

    def coefficients(seed, committee="posterior"):
        run = run_of(frames, seed=seed, settings=settings(committee=committee))
        return loaded(fit(run, tmp_path / f"{committee}-{seed}")[0]).model.coefficients

    one, two = coefficients(1), coefficients(2)
    assert np.abs(one - two).max() > 0
    np.testing.assert_array_equal(coefficients(1), one)
    # same split, same fit: without a draw the seed changes nothing
    np.testing.assert_array_equal(coefficients(1, "split"), coefficients(2, "split"))


def test_the_same_run_gives_the_same_file_and_leaves_jax_in_float32(tmp_path):
    import jax.numpy as jnp

    frames = toy(14)
    files = [fit(run_of(frames), tmp_path / name)[0].read_bytes() for name in "ab"]
    assert files[0] == files[1]
    assert jnp.zeros(1).dtype == jnp.float32


def test_assembly_reports_progress(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="atomate2_alpot"):
        fit(run_of(toy(16)), tmp_path)
    assert "training tiny: equations of 6/12 frames" in caplog.text
    assert "training tiny: 192 equations, " in caplog.text


def test_energies_alone_can_be_fitted(tmp_path):
    frames = toy(16)
    frames = frames.with_labels(
        Labels(frames.energy, np.full_like(frames.forces, np.nan), np.full((16, 3, 3), np.nan))
    )
    with pytest.raises(TrainingError, match=r"forces_weight=1\.0: no frame.*set it to 0"):
        fit(run_of(frames), tmp_path)
    path, epochs = fit(run_of(frames, settings=settings(forces_weight=0)), tmp_path)
    assert epochs.column("energy_mae")[0] < 1
    assert np.isfinite(loaded(path).predict(frames).forces).all()


def test_no_validation_set_leaves_the_errors_out(tmp_path):
    frames = toy(12)
    _, epochs = fit(run_of(frames), tmp_path)
    assert epochs.table.column("loss").to_pylist() == [None]
    assert epochs.table.column("energy_rmse").to_pylist() == [None]
    with pytest.raises(TrainingError, match=r"regularisation=.*no validation set.*'evidence'"):
        fit(run_of(frames, settings=settings(solver="ridge")), tmp_path)


def test_too_few_equations_are_refused_unless_regularised(tmp_path):
    frames = toy(4)
    unregularised = settings(solver="ridge", regularisation=(0.0,))
    with pytest.raises(
        TrainingError, match=r"regularisation=\(0\.0,\): 16 equations.*determine \d+ of 58 .*lower"
    ):
        fit(run_of(frames, 1, e0s=E0S, settings=unregularised), tmp_path)
    fit(run_of(frames, 1, e0s=E0S), tmp_path)


def test_an_element_without_frames_is_named(tmp_path, caplog):
    frames = toy(12)
    only = Frames.concat([frames[s] for s in range(12) if set(frames[s].numbers) == {13}])
    unregularised = settings(solver="ridge", regularisation=(0.0,))
    run = TrainingRun(only, only, unregularised, E0S, seed=0, name="half")
    with pytest.raises(TrainingError, match=r"no frame holds Ni"):
        fit(run, tmp_path)
    path, _ = fit(TrainingRun(only, only, TINY, E0S, seed=0, name="half"), tmp_path)
    assert "no frame of its train set holds Ni" in caplog.text
    np.testing.assert_allclose(loaded(path).model.coefficients[1], 0, atol=1e-12)


def test_a_frame_without_energy_is_named(tmp_path):
    frames = Frames.concat([toy(7), cells(1, seed=8)])
    with pytest.raises(TrainingError, match=rf"{frames.frame_id[7]} of the valid set.*no energy"):
        fit(run_of(frames, 6, e0s=E0S), tmp_path)


def test_atoms_in_one_place_are_named(tmp_path):
    stacked = Frames.from_arrays([13, 28], np.zeros((2, 3)), [np.eye(3) * 4], [2])
    stacked = stacked.with_labels(Labels(np.zeros(1), np.zeros((2, 3)), np.zeros((1, 3, 3))))
    frames = Frames.concat([toy(4), stacked])
    with pytest.raises(TrainingError, match=rf"frame {stacked.frame_id[0]} are in one place"):
        fit(run_of(frames, 5, e0s=E0S), tmp_path)


def test_impossible_requests_say_what_to_change(tmp_path, monkeypatch):
    frames = toy(8)
    with pytest.raises(TrainingError, match=r"e0s: no value for \['Ni'\]"):
        fit(run_of(frames, 6, e0s={"Al": 0.0}), tmp_path)
    with pytest.raises(TrainingError, match=r"cutoff=2\.0: below the distance.*2\.90 Å"):
        fit(run_of(frames, 6, settings=settings(cutoff=2.0)), tmp_path)
    with pytest.raises(TrainingError, match="train set is empty"):
        fit(run_of(frames, 0), tmp_path)
    far = Frames.from_arrays([13], np.zeros((1, 3)), [np.eye(3) * 9], [1])
    far = far.with_labels(Labels(np.zeros(1), np.zeros((1, 3)), np.zeros((1, 3, 3))))
    with pytest.raises(TrainingError, match=r"cutoff=4\.0: no atom.*has a neighbour"):
        fit(TrainingRun(far, far, TINY, {"Al": 0.0}, 0, "far"), tmp_path)
    monkeypatch.setattr("atomate2_alpot.train.ace_model.MAX_COEFFICIENTS", 10)
    with pytest.raises(TrainingError, match=r"order=2, degree=4 give \d+ coefficients.*lower"):
        fit(run_of(frames, 6), tmp_path)


def test_missing_package_is_named(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ace_jax.basis.radial_init", None)
    with pytest.raises(TrainingError, match=r"pip install 'atomate2-alpot\[ace\]'"):
        fit(run_of(toy(8), 6), tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ordre": 2}, "ordre"),
        ({"order": 0}, "order"),
        ({"cutoff": -1}, "cutoff"),
        ({"regularisation": (-1.0,)}, "cannot be negative"),
        ({"regularisation": ()}, "regularisation"),
        ({"committee": "posterior", "solver": "ridge"}, "only solver 'evidence' knows"),
        ({"energy_weight": 0, "forces_weight": 0, "stress_weight": 0}, "set one above"),
    ],
)
def test_settings_refuse(given, message):
    with pytest.raises(ValidationError, match=message):
        AceSettings(**given)


def test_there_is_nothing_to_start_from():
    spec = PotentialSpec(backend="ace", name="old.npz")
    with pytest.raises(TrainingError, match=r"old\.npz.*starts from nothing"):
        starting_point(spec)
    for start in ("previous", spec):
        with pytest.raises(ValueError, match=r"start_from.*'ace' is solved in one step"):
            CommitteeTrainer(settings=TINY, start_from=start)
    assert fitter_for("ace").fit is fit


@job(data=[Frames])
def dataset(n: int):
    return toy(n)


@pytest.mark.slow
def test_a_committee_is_trained_through_its_flow(job_store):
    trainer = CommitteeTrainer(
        settings=settings(committee="bootstrap"),
        n_members=2,
        calibration=CalibrationSettings(fraction=0.2),
        functional="toy",
    )
    data = dataset(40)
    flow = trainer.make([data.output], 1)
    run_locally(Flow([data, flow]), store=job_store, log=False, raise_immediately=True)
    decode = MontyDecoder().process_decoded
    document = decode(job_store.get_output(flow.output.uuid, load=True))
    one, two = document.committee.members
    assert one.backend == two.backend == "ace"
    assert one.artifact.sha256 != two.artifact.sha256
    frames = toy(5, seed=7)
    energies = [load_predictor(s).predict(frames).energy for s in (one, two)]
    assert np.isfinite(energies).all()
    assert np.abs(energies[0] - energies[1]).max() > 0
    member = document.members[0]
    assert member.trainer == "ace"
    assert set(member.metrics) >= {"energy_mae", "forces_mae", "stress_mae"}
    assert len(member.epochs) == 1
    assert "forces" in document.committee.calibrations


def tungsten(name: str) -> Frames:
    from ase.io import read

    with gzip.open(TUNGSTEN / name, "rt") as stream:
        return Frames.from_ase(read(StringIO(stream.read()), ":", format="extxyz"))


@pytest.mark.slow
@pytest.mark.skipif(not TUNGSTEN.is_dir(), reason="the tungsten data are not beside the project")
def test_tungsten_is_learned_in_seconds(tmp_path):
    frames = Frames.concat([tungsten("A_elastic.xyz.gz"), tungsten("B_defects.xyz.gz")])
    frames = frames[np.random.default_rng(0).permutation(len(frames))[:130]]
    run = run_of(frames, 90, settings=AceSettings(order=2, degree=8))
    path, epochs = fit(run, tmp_path)
    metrics = error_metrics(run.valid, loaded(path).predict(run.valid))
    scale = np.nanstd(run.valid.forces)
    assert metrics["forces_rmse"] < 0.35 * scale
    assert metrics["energy_rmse"] < 0.03
    assert epochs.column("forces_rmse")[0] == pytest.approx(metrics["forces_rmse"], rel=1e-6)


@pytest.mark.parametrize(
    ("elements", "order", "degree", "angular_cost"),
    [(["W"], 3, 9, 1.5), (["Al", "Ni"], 2, 7, 1.0), (["Al", "Ni", "O"], 3, 5, 0.7)],
)
def test_coefficients_are_counted_without_making_them(
    tmp_path, elements, order, degree, angular_cost
):
    chosen = settings(order=order, degree=degree, angular_cost=angular_cost)
    model, _ = build_model(chosen, elements, tmp_path / "x.npz")
    assert count_coefficients(chosen, len(elements)) == model.coefficients.size


def test_from_order_four_on_the_count_is_a_lower_bound(tmp_path):
    chosen = settings(order=4, degree=8)
    model, _ = build_model(chosen, ["Al"], tmp_path / "x.npz")
    assert 0.5 * model.coefficients.size < count_coefficients(chosen, 1)
    assert count_coefficients(chosen, 1) <= model.coefficients.size
