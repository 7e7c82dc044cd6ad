"""Linear ACE: what ace-jax computes, derivatives of it, and grades from its basis functions."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from atomate2_alpot.potentials import AtomFeaturePredictor, PotentialError, load_predictor
from atomate2_alpot.potentials.ace_basis import find_bonds
from atomate2_alpot.potentials.ace_bonds import solid_harmonics
from atomate2_alpot.schemas import Artifact, Frames, PotentialSpec
from atomate2_alpot.testing import check_predictor
from atomate2_alpot.train import AceSettings
from atomate2_alpot.uncertainty import ElementActiveSets

pytest.importorskip("ace_jax")

from atomate2_alpot.train.ace_model import build_model, write_model

ELEMENTS = ("Al", "Ni")
E0S = np.array([-3.0, -5.0])


@pytest.fixture(scope="module")
def ace_file(tmp_path_factory):
    """A small linear ACE of Al and Ni with random coefficients."""
    path = tmp_path_factory.mktemp("ace") / "random.npz"
    model, scale = build_model(AceSettings(order=3, degree=4, cutoff=4.5), ELEMENTS, path)
    drawn = np.random.default_rng(2).normal(size=model.coefficients.size) / scale
    write_model(path, drawn.reshape(model.coefficients.shape), E0S)
    return path


@pytest.fixture
def predictor(ace_file):
    return load_predictor(PotentialSpec(backend="ace", name=str(ace_file)))


def molecule(n: int = 4, seed: int = 0) -> Frames:
    """Atoms without a cell."""
    positions = 2.2 * np.random.default_rng(seed).normal(size=(n, 3))
    return Frames.from_arrays(
        [13, 28] * (n // 2), positions, np.zeros((1, 3, 3)), [n], pbc=np.zeros((1, 3))
    )


def test_what_a_predictor_promises(predictor, alloy_frames):
    refused = Frames.from_arrays([95], np.zeros((1, 3)), [np.eye(3) * 3], [1])
    check_predictor(
        predictor,
        alloy_frames,
        force_tolerance=1e-4,
        stress_tolerance=1e-4,
        batch_tolerance=1e-11,
        refused=refused,
    )


@pytest.mark.slow
def test_it_is_the_model_of_ace_jax(ace_file, predictor, alloy_frames):
    import jax
    from ace_jax import ACECalculator

    prediction = predictor.predict(alloy_frames)
    atoms = alloy_frames.to_ase()[2]
    own = slice(alloy_frames.offsets[2], alloy_frames.offsets[3])
    with jax.enable_x64(True):
        atoms.calc = ACECalculator(str(ace_file))
        assert prediction.energy[2] == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(prediction.forces[own], atoms.get_forces(), atol=1e-9)
        np.testing.assert_allclose(prediction.stress[2], atoms.get_stress(voigt=False), atol=1e-10)


@pytest.mark.slow
def test_basis_functions_are_the_site_descriptors_of_ace_jax(ace_file, predictor, alloy_frames):
    import ace_jax
    import jax

    frame = alloy_frames[2]
    with jax.enable_x64(True):
        theirs = ace_jax.site_descriptors(
            str(ace_file), frame.positions, frame.numbers, frame.cell[0], pbc=True
        )
    ours = predictor.atom_features(frame)
    n = predictor.model.basis.n_invariants
    pairs = ours.shape[1] - n
    for row, (z, values) in zip(theirs, zip(frame.numbers, ours, strict=True), strict=True):
        k = [13, 28].index(z)
        np.testing.assert_allclose(row[k * n : (k + 1) * n], values[:n], atol=1e-12)
        start = 2 * n + k * pairs
        np.testing.assert_allclose(row[start : start + pairs], values[n:], atol=1e-12)


def test_energy_is_e0_plus_features_times_coefficients(predictor, alloy_frames):
    coefficients = predictor.model.coefficients
    place = np.searchsorted([13, 28], alloy_frames.numbers)
    site = E0S[place] + (predictor.atom_features(alloy_frames) * coefficients[place]).sum(axis=1)
    energy = predictor.predict(alloy_frames).energy
    np.testing.assert_allclose(np.add.reduceat(site, alloy_frames.offsets[:-1]), energy, atol=1e-10)
    e0 = np.add.reduceat(E0S[place], alloy_frames.offsets[:-1])
    by_frame = e0 + predictor.features(alloy_frames) @ coefficients.ravel()
    np.testing.assert_allclose(by_frame, energy, atol=1e-10)
    assert isinstance(predictor, AtomFeaturePredictor)


def test_slopes_of_basis_functions_are_their_differences(predictor, alloy_frames):
    basis = predictor.model.basis
    (bonds,) = find_bonds(alloy_frames, basis.elements, basis.cutoff, 100)
    _, slopes = basis.slopes(bonds)
    h = 1e-5
    for bond in (0, len(bonds.centre) // 2):
        for axis in range(3):
            moved = []
            for sign in (1, -1):
                vector = bonds.vector.copy()
                vector[bond, axis] += sign * h
                moved.append(basis.values(type(bonds)(**{**vars(bonds), "vector": vector})))
            change = (moved[0] - moved[1])[bonds.centre[bond]] / (2 * h)
            np.testing.assert_allclose(slopes[bond, axis], change, atol=1e-6)


def test_harmonics_are_those_of_scipy_times_a_power_of_r(rng):
    from scipy.special import sph_harm_y

    vectors = rng.normal(size=(20, 3))
    r = np.linalg.norm(vectors, axis=1)
    polar, azimuth = np.arccos(vectors[:, 2] / r), np.arctan2(vectors[:, 1], vectors[:, 0])
    values, _ = solid_harmonics(vectors, 4)
    for degree in range(5):
        for m in range(-degree, degree + 1):
            y = sph_harm_y(degree, abs(m), polar, azimuth) * (-1) ** m  # no Condon-Shortley phase
            real = np.sqrt(2) * (y.real if m > 0 else y.imag) if m else y.real
            expected = r**degree * real
            np.testing.assert_allclose(
                values[:, degree * degree + degree + m], expected, atol=1e-12
            )


@pytest.mark.parametrize("batch_atoms", [1, 4, 7])
def test_batches_of_any_size_agree(ace_file, predictor, alloy_frames, batch_atoms):
    spec = PotentialSpec(backend="ace", name=str(ace_file), kwargs={"batch_atoms": batch_atoms})
    small, large = load_predictor(spec).predict(alloy_frames), predictor.predict(alloy_frames)
    np.testing.assert_allclose(small.energy, large.energy, atol=1e-11)
    np.testing.assert_allclose(small.forces, large.forces, atol=1e-11)
    np.testing.assert_allclose(small.stress, large.stress, atol=1e-11)


def test_a_molecule_without_a_cell_is_one_in_a_large_box(predictor):
    alone = molecule()
    boxed = Frames.from_arrays(alone.numbers, alone.positions, [np.eye(3) * 60], [4])
    a, b = predictor.predict(alone), predictor.predict(boxed)
    np.testing.assert_allclose(a.energy, b.energy, atol=1e-10)
    np.testing.assert_allclose(a.forces, b.forces, atol=1e-10)
    assert (a.stress == 0).all()


def test_an_atom_alone_has_its_e0(predictor):
    atom = Frames.from_arrays([28], np.zeros((1, 3)), [np.eye(3) * 20], [1])
    prediction = predictor.predict(atom)
    assert prediction.energy[0] == E0S[1]
    assert (prediction.forces == 0).all()


def test_two_atoms_in_one_place_cost_their_frame_only(predictor, alloy_frames):
    stacked = Frames.from_arrays([13, 28], np.zeros((2, 3)), [np.eye(3) * 4], [2])
    frames = Frames.concat([alloy_frames[0], stacked, alloy_frames[1]])
    prediction = predictor.predict(frames)
    assert np.isfinite(prediction.energy).tolist() == [True, False, True]
    assert np.isnan(prediction.forces[2:4]).all()
    np.testing.assert_allclose(
        prediction.energy[[0, 2]], predictor.predict(alloy_frames).energy[:2], atol=1e-11
    )


def test_unknown_elements_have_no_features(predictor, alloy_frames):
    strange = Frames.from_arrays([95], np.zeros((1, 3)), [np.eye(3) * 3], [1])
    frames = Frames.concat([alloy_frames[0], strange, alloy_frames[1]])
    inside = predictor.atom_features(alloy_frames)
    features = predictor.atom_features(frames)
    assert np.isnan(features[2]).all()
    np.testing.assert_allclose(np.delete(features, 2, axis=0), inside[:5], atol=1e-12)
    assert np.isnan(predictor.features(frames)).all(axis=1).tolist() == [False, True, False]
    assert predictor.atom_features(strange).shape == (1, inside.shape[1])


def test_grades_are_the_largest_component_of_b_times_the_inverse(predictor, rng):
    n = 40
    cells = [np.eye(3) * 3.4 + rng.normal(0, 0.2, (3, 3)) for _ in range(2 * n)]
    inner = np.array([[0, 0, 0], [0.5, 0.5, 0.1], [0.5, 0.0, 0.5], [0.1, 0.5, 0.5]])
    positions = [(inner + rng.normal(0, 0.05, (4, 3))) @ c for c in cells]
    frames = Frames.from_arrays(
        [13, 28, 13, 28] * 2 * n, np.concatenate(positions), cells, [4] * 2 * n
    )
    train, test = frames[:n], frames[n:]
    sets = ElementActiveSets.fit(train, predictor.atom_features(train), filter_forces=False)
    grades = sets.grade(test, predictor.atom_features(test))
    for symbol, z in (("Al", 13), ("Ni", 28)):
        b = predictor.atom_features(test)[test.numbers == z]
        direct = np.abs(np.linalg.solve(sets.sets[symbol].rows.T, b.T)).max(axis=0)
        np.testing.assert_allclose(grades.atoms[test.numbers == z], direct, rtol=1e-5)
    members = sets.grade(train, predictor.atom_features(train)).atoms
    assert members.max() <= 1 + 1e-6 < grades.atoms.max()


def test_an_artifact_needs_neither_jax_nor_ace_jax(ace_file, predictor, alloy_frames, tmp_path):
    alloy_frames.to_extxyz(tmp_path / "frames.xyz")
    code = (
        "import sys; from atomate2_alpot.potentials import load_predictor; "
        "from atomate2_alpot.schemas import Frames, PotentialSpec; "
        f"p = load_predictor(PotentialSpec(backend='ace', name={str(ace_file)!r})); "
        "print(*p.predict(Frames.from_extxyz('frames.xyz')).energy); "
        "assert not {'jax', 'ace_jax', 'torch'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    energy = [float(word) for word in done.stdout.split()]
    np.testing.assert_allclose(energy, predictor.predict(alloy_frames).energy, atol=1e-6)


def test_artifact_predicts_as_its_file(ace_file, predictor, alloy_frames, monkeypatch, tmp_path):
    from atomate2_alpot.potentials import ace

    monkeypatch.setattr(ace.SETTINGS, "CACHE_DIR", tmp_path / "cache")
    spec = PotentialSpec(backend="ace", artifact=Artifact.from_file(ace_file))
    np.testing.assert_array_equal(
        load_predictor(spec).predict(alloy_frames).energy, predictor.predict(alloy_frames).energy
    )


def test_what_is_no_model_file_is_said(ace_file, tmp_path):
    def opened(path, **options):
        return load_predictor(PotentialSpec(backend="ace", name=str(path), kwargs=options))

    with pytest.raises(PotentialError, match=r"nothing\.npz.*no such file"):
        opened(tmp_path / "nothing.npz")
    (tmp_path / "words.npz").write_text("no archive")
    with pytest.raises(PotentialError, match=r"words\.npz is no model file of ace-jax"):
        opened(tmp_path / "words.npz")
    (tmp_path / "cut.npz").write_bytes(ace_file.read_bytes()[:2000])
    with pytest.raises(PotentialError, match=r"cut\.npz is no model file of ace-jax"):
        opened(tmp_path / "cut.npz")
    np.savez(tmp_path / "pickled.npz", meta_json=np.array([{"a": 1}], dtype=object))
    with pytest.raises(PotentialError, match=r"pickled\.npz is no model file.*allow_pickle"):
        opened(tmp_path / "pickled.npz")
    with pytest.raises(PotentialError, match=r"unknown option 'batch_atom'.*'batch_atoms'"):
        opened(ace_file, batch_atom=3)


def test_a_model_of_another_kind_is_refused(ace_file, tmp_path):
    import json

    with np.load(ace_file) as file:
        arrays = dict(file)
    meta = json.loads(bytes(arrays["meta_json"]).decode())
    meta["radial_kind"] = "spline"
    arrays["meta_json"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    np.savez(tmp_path / "spline.npz", **arrays)
    spec = PotentialSpec(backend="ace", name=str(tmp_path / "spline.npz"))
    with pytest.raises(PotentialError, match=r"radial_kind 'spline'.*backend 'ase'"):
        load_predictor(spec)
