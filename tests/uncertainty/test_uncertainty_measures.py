"""Every measure per frame, atom and component against loops; invariances; refusals."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from predictions import VOIGT, random_prediction

from atomate2_alpot.schemas import CommitteePrediction, Frames, Labels
from atomate2_alpot.uncertainty import (
    ATOM_FORMS,
    DISAGREEMENTS,
    atom_disagreement,
    component_points,
    component_spread,
    frame_points,
    mean_errors,
    member_errors,
)


def make_frames(rng, sizes=(2, 5, 1, 3)) -> Frames:
    n = sum(sizes)
    stress = rng.normal(size=(len(sizes), 3, 3))
    labels = Labels(rng.normal(size=len(sizes)) * 10, rng.normal(size=(n, 3)), stress)
    return Frames.from_arrays(
        [13] * n, rng.random((n, 3)) * 9, [np.eye(3) * 9] * len(sizes), sizes, labels=labels
    )


def variance(values, ddof=0):
    values = list(values)
    mean = sum(values) / len(values)
    return sum((v - mean) ** 2 for v in values) / (len(values) - ddof)


def slow_atom(forces, form):
    """Spread of one atom's forces (M, 3), by loops."""
    m, mean = len(forces), sum(forces) / len(forces)
    if form == "max":
        return max(np.sqrt(sum((f[c] - mean[c]) ** 2 for c in range(3))) for f in forces)
    if form == "pairwise":
        pairs = list(combinations(range(m), 2))
        return sum(np.linalg.norm(forces[a] - forces[b]) for a, b in pairs) / len(pairs)
    total = sum(variance(forces[:, c], form == "unbiased") for c in range(3))
    return np.sqrt(total / (3 if form == "component" else 1))


def slow_frame(p, form):
    """Energy, forces and stress of every frame, by loops."""
    rows = []
    for s in range(len(p.n_atoms)):
        atoms = range(p.offsets[s], p.offsets[s + 1])
        n = len(atoms)
        e = [(p.energies[m, s] - p.reference_energies[m, s]) / n for m in range(p.n_members)]
        if form == "max":
            mean = sum(p.stress[:, s]) / p.n_members
            rows.append(
                (
                    max(abs(x - sum(e) / len(e)) for x in e),
                    max(slow_atom(p.forces[:, i], "max") for i in atoms),
                    max(
                        np.sqrt(sum((p.stress[k, s][v] - mean[v]) ** 2 for v in VOIGT))
                        for k in range(p.n_members)
                    ),
                )
            )
        elif form == "component":
            f = [variance(p.forces[:, i, c]) for i in atoms for c in range(3)]
            v = [variance(p.stress[:, s, i, j]) for i in range(3) for j in range(3)]
            rows.append((np.sqrt(variance(e)), np.sqrt(sum(f) / len(f)), np.sqrt(sum(v) / len(v))))
        else:  # unbiased
            f = sum(variance(p.forces[:, i, c], 1) for i in atoms for c in range(3)) / n
            v = sum(variance(p.stress[:, s, i, j], 1) for i, j in VOIGT)
            rows.append((np.sqrt(variance(e, 1)), np.sqrt(f), np.sqrt(v)))
    return np.array(rows).T


@pytest.mark.parametrize("n_members", [2, 3, 6])
@pytest.mark.parametrize("form", ["max", "component", "unbiased"])
def test_spread_of_frames_is_its_definition(rng, n_members, form):
    prediction = random_prediction(rng, n_members)
    found = DISAGREEMENTS[form](prediction)
    expected = slow_frame(prediction, form)
    np.testing.assert_allclose([found.energy, found.forces, found.stress], expected)


@pytest.mark.parametrize("form", sorted(ATOM_FORMS))
def test_spread_of_atoms_is_its_definition(rng, form):
    p = random_prediction(rng, 4)
    expected = [slow_atom(p.forces[:, i], form) for i in range(p.offsets[-1])]
    np.testing.assert_allclose(atom_disagreement(p, form), expected)


@pytest.mark.parametrize("form", sorted(ATOM_FORMS))
def test_an_atom_is_a_frame_of_its_own(rng, form):
    p = random_prediction(rng, 3, sizes=(1, 1, 1))
    np.testing.assert_allclose(atom_disagreement(p, form), DISAGREEMENTS[form](p).forces)


def test_spread_of_components_is_its_definition(rng):
    p = random_prediction(rng, 4)
    found = component_spread(p)
    for s, n in enumerate(p.n_atoms):
        e = (p.energies[:, s] - p.reference_energies[:, s]) / n
        assert found.energy[s] == pytest.approx(np.sqrt(variance(e, 1)))
        for v, (i, j) in enumerate(VOIGT):
            expected = np.sqrt(variance(p.stress[:, s, i, j], 1))
            assert found.stress[s, v] == pytest.approx(expected)
    for i in range(p.offsets[-1]):
        for c in range(3):
            expected = np.sqrt(variance(p.forces[:, i, c], 1))
            assert found.forces[i, c] == pytest.approx(expected)


def test_the_norm_of_component_spreads_is_that_of_the_atom(rng):
    """CAGO, eq. (9)."""
    p = random_prediction(rng, 4)
    norm = np.sqrt((component_spread(p).forces ** 2).sum(axis=1))
    np.testing.assert_allclose(norm, atom_disagreement(p, "unbiased"))


def take(p: CommitteePrediction, order) -> CommitteePrediction:
    """Return frames in another order, or several times."""
    atoms = np.concatenate([np.arange(p.offsets[s], p.offsets[s + 1]) for s in order])
    return CommitteePrediction(
        p.energies[:, order],
        p.forces[:, atoms],
        p.stress[:, order],
        p.reference_energies[:, order],
        np.concatenate([[0], np.cumsum(p.n_atoms[order])]),
        p.members,
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.integers(0, 2**31))
@pytest.mark.parametrize("form", sorted(DISAGREEMENTS))
def test_frames_do_not_see_each_other(form, order, seed):
    """Permuting and duplicating frames permutes and duplicates the spreads, nothing else."""
    p = random_prediction(np.random.default_rng(seed))
    whole, part = DISAGREEMENTS[form](p), DISAGREEMENTS[form](take(p, order))
    for name in ("energy", "forces", "stress"):
        np.testing.assert_allclose(getattr(part, name), getattr(whole, name)[order])


@pytest.mark.parametrize("form", sorted(DISAGREEMENTS))
def test_the_order_of_members_does_not_matter(rng, form):
    p = random_prediction(rng, 4)
    order = rng.permutation(4)
    q = CommitteePrediction(
        p.energies[order],
        p.forces[order],
        p.stress[order],
        p.reference_energies[order],
        p.offsets,
        tuple(p.members[i] for i in order),
    )
    for name in ("energy", "forces", "stress"):
        a, b = (getattr(DISAGREEMENTS[form](x), name) for x in (p, q))
        np.testing.assert_allclose(a, b)


@pytest.mark.parametrize("form", sorted(DISAGREEMENTS))
@pytest.mark.parametrize("name", ["energies", "forces", "stress"])
def test_a_missing_member_is_an_error(rng, form, name):
    p = random_prediction(rng, 3)
    short = replace(p, **{name: getattr(p, name)[:2]})
    with pytest.raises(ValueError, match="missing member|cannot disagree"):
        DISAGREEMENTS[form](short)


@pytest.mark.parametrize("form", sorted(DISAGREEMENTS))
def test_nan_is_never_a_silent_mean(rng, form):
    p = random_prediction(rng, 3)
    p.forces[2, 4, 1] = np.nan
    with pytest.raises(ValueError, match=r"forces of member 2 \(c\)"):
        DISAGREEMENTS[form](p)
    with pytest.raises(ValueError, match="forces of member 2"):
        atom_disagreement(p)
    with pytest.raises(ValueError, match="forces of member 2"):
        component_spread(p)


def test_one_member_has_no_spread_in_any_form(rng):
    p = random_prediction(rng, 1)
    for function in (*DISAGREEMENTS.values(), atom_disagreement, component_spread):
        with pytest.raises(ValueError, match="cannot disagree"):
            function(p)


def test_a_frame_without_atoms_is_refused(rng):
    p = replace(random_prediction(rng), offsets=np.array([0, 2, 2, 8, 11]))
    with pytest.raises(ValueError, match="frame 1 has no atoms"):
        DISAGREEMENTS["std"](p)


def test_an_unknown_form_is_refused(rng):
    with pytest.raises(ValueError, match="'spread'; give one of"):
        atom_disagreement(random_prediction(rng), "spread")


# --- errors of committees --------------------------------------------------------------------


def test_errors_of_the_mean_are_their_definition(rng):
    frames, p = make_frames(rng), random_prediction(rng, 4)
    found = mean_errors(frames, p)
    for s, n in enumerate(p.n_atoms):
        mean = sum(p.energies[:, s]) / 4
        assert found.energy[s] == pytest.approx(abs(frames.energy[s] - mean) / n)
        errors = [
            np.linalg.norm(frames.forces[i] - sum(p.forces[:, i]) / 4)
            for i in range(p.offsets[s], p.offsets[s + 1])
        ]
        np.testing.assert_allclose(found.atoms[p.offsets[s] : p.offsets[s + 1]], errors)
        assert found.forces[s] == pytest.approx(max(errors))


def test_errors_of_members_are_their_definition(rng):
    frames, p = make_frames(rng), random_prediction(rng, 3)
    found = member_errors(frames, p)
    for s, n in enumerate(p.n_atoms):
        atoms = range(p.offsets[s], p.offsets[s + 1])
        e = [((p.energies[m, s] - frames.energy[s]) / n) ** 2 for m in range(3)]
        f = [
            (p.forces[m, i, c] - frames.forces[i, c]) ** 2
            for m in range(3)
            for i in atoms
            for c in range(3)
        ]
        v = [
            (p.stress[m, s, i, j] - frames.stress[s, i, j]) ** 2
            for m in range(3)
            for i in range(3)
            for j in range(3)
        ]
        for name, values in (("energy", e), ("forces", f), ("stress", v)):
            expected = np.sqrt(sum(values) / len(values))
            assert getattr(found, name)[s] == pytest.approx(expected)


def test_error_squared_is_spread_squared_plus_bias_squared(rng):
    """What ties TrainsPot's eqs. (1) and (2): the same average must stand in both."""
    frames, p = make_frames(rng), random_prediction(rng, 5)
    p = replace(p, reference_energies=np.zeros_like(p.energies))
    total, spread = member_errors(frames, p), DISAGREEMENTS["component"](p)
    bias = member_errors(
        frames,
        replace(
            p,
            energies=np.repeat(p.energies.mean(axis=0)[None], 5, axis=0),
            forces=np.repeat(p.forces.mean(axis=0)[None], 5, axis=0),
            stress=np.repeat(p.stress.mean(axis=0)[None], 5, axis=0),
        ),
    )
    for name in ("energy", "forces", "stress"):
        parts = getattr(spread, name) ** 2 + getattr(bias, name) ** 2
        np.testing.assert_allclose(getattr(total, name) ** 2, parts)


def test_points_of_frames_are_spread_and_error_of_a_member(rng):
    frames, p = make_frames(rng), random_prediction(rng, 3)
    bare = frames.with_labels(Labels(frames.energy, frames.forces))
    points, errors, spread = frame_points(bare, p), member_errors(bare, p), component_spread(p)
    assert len(points["stress"].error) == 0
    np.testing.assert_array_equal(points["forces"].frame, np.arange(4))
    np.testing.assert_allclose(points["energy"].spread, spread.energy)
    np.testing.assert_allclose(points["energy"].error, errors.energy)
    for s in range(4):
        atoms = range(p.offsets[s], p.offsets[s + 1])
        squares = [variance(p.forces[:, i, c], 1) for i in atoms for c in range(3)]
        expected = np.sqrt(sum(squares) / len(squares))
        assert points["forces"].spread[s] == pytest.approx(expected)


def test_points_leave_out_what_has_no_label(rng):
    frames, p = make_frames(rng), random_prediction(rng, 3)
    assert len(component_points(frames, p)["stress"].error) == 24
    bare = frames.with_labels(Labels(frames.energy, frames.forces))
    points = component_points(bare, p)
    assert len(points["stress"].error) == 0
    assert len(points["energy"].error) == 4
    forces = points["forces"]
    np.testing.assert_array_equal(forces.frame, np.repeat(frames.frame_index, 3))
    i, c = 5, 2
    assert forces.error[3 * i + c] == pytest.approx(
        sum(p.forces[:, i, c]) / 3 - frames.forces[i, c]
    )
    assert forces.spread[3 * i + c] == pytest.approx(np.sqrt(variance(p.forces[:, i, c], 1)))


@pytest.mark.parametrize("function", [mean_errors, member_errors, component_points, frame_points])
def test_other_frames_are_refused(rng, function):
    with pytest.raises(ValueError, match="predict these frames"):
        function(make_frames(rng, (2, 5)), random_prediction(rng))
