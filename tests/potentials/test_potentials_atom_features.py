"""Features of atoms: what D-optimality reads of a potential."""

from __future__ import annotations

import numpy as np
import pytest

from atomate2_alpot.potentials import AtomFeaturePredictor, load_predictor
from atomate2_alpot.schemas import Frames, PotentialSpec
from atomate2_alpot.testing import ToyPotential

WIDTH = {"chgnet": 64, "mace": 16, "toy": 3}
"""Columns; the tiny MACE has two layers of eight channels."""


@pytest.fixture(params=sorted(WIDTH))
def predictor(request, mace_file):
    if request.param == "chgnet":
        pytest.importorskip("chgnet")
    name = str(mace_file) if request.param == "mace" else None
    return load_predictor(PotentialSpec(backend=request.param, name=name))


def test_an_atom_has_as_many_features_whatever_its_element(predictor, alloy_frames):
    assert isinstance(predictor, AtomFeaturePredictor)
    features = predictor.atom_features(alloy_frames)
    assert features.shape[0] == len(alloy_frames.numbers)
    assert features.shape[1] in WIDTH.values()
    assert np.ptp(features, axis=0).max() > 1e-3


def test_features_of_atoms_follow_their_atoms_and_not_the_axes(predictor, alloy_frames):
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    rotated = Frames.from_arrays(
        alloy_frames.numbers[::-1],
        alloy_frames.positions[::-1] @ rotation,
        (alloy_frames.cell @ rotation)[::-1],
        alloy_frames.n_atoms[::-1],
    )
    expected = predictor.atom_features(alloy_frames)
    np.testing.assert_allclose(predictor.atom_features(rotated)[::-1], expected, atol=2e-3)


def test_a_frame_that_cannot_be_described_costs_itself(predictor, alloy_frames):
    if predictor.elements is None:
        pytest.skip("it knows every element")
    alien = Frames.from_arrays([95, 13], np.eye(2, 3) * 2, [np.eye(3) * 4], [2])
    features = predictor.atom_features(Frames.concat([alloy_frames[0], alien, alloy_frames[1]]))
    assert np.isnan(features).any(axis=1).tolist() == [False] * 2 + [True] * 2 + [False] * 3
    none = predictor.atom_features(alien)
    assert none.shape[0] == 2
    assert np.isnan(none).all()


def test_the_features_of_a_frame_are_the_mean_over_its_atoms(mace_file, alloy_frames):
    predictor = load_predictor(PotentialSpec(backend="mace", name=str(mace_file)))
    atoms = alloy_frames.split_atoms(predictor.atom_features(alloy_frames))
    expected = [values.mean(axis=0) for values in atoms]
    np.testing.assert_allclose(predictor.features(alloy_frames), expected, atol=1e-6)


def test_the_energy_of_a_toy_is_linear_in_its_features(alloy_frames):
    toy = ToyPotential(seed=3)
    pure = Frames.from_arrays(
        np.full(10, 28), alloy_frames.positions, alloy_frames.cell, alloy_frames.n_atoms
    )
    depth = toy.parameters()[0][28, 28]
    energy = toy.atom_features(pure) @ [0, depth / 2, -depth]
    sums = [part.sum() for part in pure.split_atoms(energy)]
    np.testing.assert_allclose(toy.predict(pure).energy, sums, rtol=1e-10)
