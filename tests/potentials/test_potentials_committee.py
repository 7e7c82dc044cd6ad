"""Committees: alignment by elemental references, coverage, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from atomate2_alpot.potentials import Committee, PotentialError
from atomate2_alpot.potentials.references import (
    LATTICES,
    STRETCHES,
    elemental_crystals,
    references_by_least_squares,
    references_from_labels,
    survey_crystals,
)
from atomate2_alpot.schemas import Frames, Labels, PotentialSpec


def toys(*seeds, **kwargs) -> list[PotentialSpec]:
    return [PotentialSpec(backend="toy", kwargs={"seed": s, **kwargs}) for s in seeds]


def test_prediction_stacks_members_in_order(alloy_frames):
    both = Committee(toys(1, 2)).predict(alloy_frames)
    second = Committee(toys(2)).predict(alloy_frames)
    np.testing.assert_array_equal(both.energies[1], second.energies[0])
    np.testing.assert_array_equal(both.forces[1], second.forces[0])
    assert both.stress.shape == (2, 3, 3, 3)
    assert both.forces.shape == (2, 10, 3)


def test_shift_per_element_is_no_disagreement(alloy_frames):
    member = toys(1)[0]
    committee = Committee([member, member], [{"Al": 0.0, "Ni": 0.0}, {"Al": -6.0, "Ni": 2.5}])
    prediction = committee.predict(alloy_frames)
    counts = alloy_frames.composition(["Al", "Ni"])
    np.testing.assert_allclose(prediction.reference_energies[1], counts @ [-6.0, 2.5])
    shifted = prediction.energies[1] - prediction.reference_energies[1]
    np.testing.assert_allclose(prediction.formation_energies[1], shifted / [2, 3, 5])


@pytest.mark.slow
def test_references_align_members_of_different_functionals(alloy_frames):
    pytest.importorskip("chgnet")
    specs = [PotentialSpec(backend="chgnet", name=n) for n in ("0.3.0", "r2scan")]
    survey = survey_crystals(Committee(specs), ["Al", "Ni"])
    raw = Committee(specs).predict(alloy_frames).formation_energies
    aligned = Committee(specs, survey.references).predict(alloy_frames).formation_energies
    assert np.abs(raw[0] - raw[1]).mean() > 2.0
    assert np.abs(aligned[0] - aligned[1]).mean() < 0.5
    # Ni and Al are close packed: volumes per atom within a few per cent of experiment
    ground = survey.ground_states
    volumes = dict(
        zip(ground.numbers[ground.offsets[:-1]], ground.volume / ground.n_atoms, strict=True)
    )
    assert volumes[13] == pytest.approx(16.6, rel=0.2)
    assert volumes[28] == pytest.approx(10.9, rel=0.2)


def test_crystals_have_the_nearest_neighbours_their_name_says():
    from ase.neighborlist import neighbor_list

    coordination = {"fcc": 12, "bcc": 8, "diamond": 4, "dimer": 1}
    crystals = elemental_crystals(["Cu"])
    assert len(crystals) == len(LATTICES) * len(STRETCHES)
    for atoms in crystals.to_ase():
        d = neighbor_list("d", atoms, 6.0)
        n = np.sum(d < d.min() * 1.01) / len(atoms)
        assert n == coordination[atoms.info["prototype"]]
        assert d.min() / (2 * 1.32) == pytest.approx(STRETCHES, rel=1e-6) or any(
            np.isclose(d.min() / (2 * 1.32), STRETCHES)
        )


def test_collapse_under_compression_is_not_taken_for_a_reference(monkeypatch):
    from atomate2_alpot.potentials import references

    curves = np.array(
        [[-9000.0, -3.0, -3.4, -3.6, -3.5, -3.2, -3.0], [-1, -2, -3, -4, -5, -6, -7.0]]
    )
    minima = references._minima(curves)
    assert np.isfinite(minima).sum() == 1
    assert minima[0, 3] == -3.6


def test_closed_shells_take_the_widest_crystal():
    from atomate2_alpot.potentials import references

    curves = np.array([[5.0, 4.0, 3.0, 2.0, 1.0, 0.5, 0.1]])
    assert np.flatnonzero(np.isfinite(references._minima(curves)[0])).tolist() == [6]


def test_least_squares_references_recover_exact_ones(rng):
    counts = rng.integers(1, 5, (20, 2))
    frames = Frames.concat(
        [
            Frames.from_arrays(
                [13] * a + [28] * b, rng.random((a + b, 3)) * 5, [np.eye(3) * 6], [a + b]
            )
            for a, b in counts
        ]
    )
    energies = counts @ np.array([-3.7, -5.7])
    fitted = references_by_least_squares(frames, energies.astype(float))
    assert fitted == pytest.approx({"Al": -3.7, "Ni": -5.7})


def test_least_squares_takes_the_shortest_answer_where_the_data_leave_it_open():
    frames = Frames.from_arrays([13, 28], [[0, 0, 0], [2, 2, 2]], [np.eye(3) * 4], [2])
    fitted = references_by_least_squares(frames, np.array([-10.0]))
    assert fitted == pytest.approx({"Al": -5.0, "Ni": -5.0})


def test_references_from_labels_prefer_pure_frames():
    pure = Frames.from_arrays(
        [13, 13], np.zeros((2, 3)), np.stack([np.eye(3) * 3, np.eye(3) * 4]), [1, 1]
    )
    pure = pure.with_labels(Labels([-3.0, -3.5]))
    mixed = Frames.from_arrays([13, 28], [[0, 0, 0], [2, 2, 2]], [np.eye(3) * 4], [2])
    mixed = mixed.with_labels(Labels([-9.0]))
    assert references_from_labels(Frames.concat([pure, mixed])) == pytest.approx(
        {"Al": -3.5, "Ni": -5.5}
    )


def test_an_isolated_atom_is_no_reference_where_its_element_has_another():
    def frame(numbers, energy, pbc):
        positions = [[1.5 * i, 0, 0] for i in range(len(numbers))]
        return Frames.from_arrays(
            numbers,
            positions,
            [9 * np.eye(3)],
            [len(numbers)],
            pbc=[[pbc] * 3],
            labels=Labels([energy]),
        )

    crystal, compound = frame([13], -3.7, True), frame([13, 28], -9.0, True)
    atoms = [frame([13], -0.2, False), frame([28], -0.5, False), frame([8], -1.6, False)]
    found = references_from_labels(Frames.concat([*atoms, crystal, compound]))
    assert found == pytest.approx({"O": -1.6, "Al": -3.7, "Ni": -5.3})


def test_missing_element_names_element_and_member(alloy_frames, mace_file):
    frames = Frames.from_arrays([13, 8], [[0, 0, 0], [2, 2, 2]], [np.eye(3) * 4], [2])
    committee = Committee([*toys(1), PotentialSpec(backend="mace", name=str(mace_file))])
    with pytest.raises(PotentialError, match=r"member 1 \(mace:.*\['O'\].*\['Al', 'Ni'\]"):
        committee.predict(frames)


def test_missing_reference_names_element_and_member(alloy_frames):
    committee = Committee(toys(1, 2), [{"Al": 0.0, "Ni": 0.0}, {"Al": 0.0}])
    with pytest.raises(PotentialError, match=r"toy:default\[seed=2\].*\['Ni'\]"):
        committee.predict(alloy_frames)


def test_nan_from_a_member_is_an_error_that_names_it(alloy_frames):
    committee = Committee([*toys(1), *toys(2, nan_fraction=1.0)])
    with pytest.raises(PotentialError, match=r"member 1 .*NaN or infinity for 3 of 3"):
        committee.predict(alloy_frames)
    allowed = committee.predict(alloy_frames, allow_nonfinite=True)
    finite, mask = allowed.take_finite()
    assert not mask.any()
    assert finite.energies.shape == (2, 0)


def test_take_finite_keeps_what_every_member_evaluates(alloy_frames):
    committee = Committee(toys(1, 2))
    prediction = committee.predict(alloy_frames)
    prediction.forces[1, alloy_frames.offsets[1]] = np.nan
    finite, mask = prediction.take_finite()
    assert mask.tolist() == [True, False, True]
    assert finite.n_atoms.tolist() == [2, 5]
    np.testing.assert_array_equal(finite.forces[0, :2], prediction.forces[0, :2])
    np.testing.assert_array_equal(finite.forces[0, 2:], prediction.forces[0, 5:])


def test_empty_committee_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        Committee([])


def test_one_reference_per_member_is_required():
    with pytest.raises(ValueError, match="1 references for 2 members"):
        Committee(toys(1, 2), [{}])
