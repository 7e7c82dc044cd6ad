"""Who passes: estimated errors against targets, extrapolation grades, all that is physical."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from parts import ALL, LAWS, candidates, committee, crystal, predict, toy

from atomate2_alpot.schemas import ActiveSetTable, Frames, PotentialSpec
from atomate2_alpot.select import (
    AllPhysical,
    CalibratedQuery,
    ExtrapolationGrade,
    Known,
    QueryByCommittee,
    RandomSampler,
)
from atomate2_alpot.select.criteria import RawThresholds
from atomate2_alpot.select.moments import local_moments
from atomate2_alpot.select.screening import choose_frames, refer, screen_range
from atomate2_alpot.structures import CandidateSpace, aflow_prototypes
from atomate2_alpot.uncertainty import (
    ActiveSet,
    ActiveSets,
    ElementActiveSets,
    LinearCalibration,
    LocalActiveSet,
    PowerLawCalibration,
    unbiased_disagreement,
)

NEVER = 1e9


@pytest.fixture(scope="module")
def frames() -> Frames:
    return candidates(40)


@pytest.fixture(scope="module")
def prediction(frames):
    return predict(frames)


# --- disagreement ------------------------------------------------------------------------


def test_the_score_is_the_largest_ratio_of_a_disagreement_to_its_threshold(frames, prediction):
    criterion = QueryByCommittee(form="unbiased", energy=0.03, forces=0.2, stress=0.05, **ALL)
    scores = criterion.score(frames, prediction)
    spread, factor = unbiased_disagreement(prediction), criterion.factor(frames)
    for s, score in enumerate(scores.column("score")):
        ratios = [spread.energy[s] / 0.03, spread.forces[s] / 0.2, spread.stress[s] / 0.05]
        assert score == pytest.approx(max(ratios) / factor[s], rel=1e-5)
    selected = scores.column("verdict") == "selected"
    np.testing.assert_array_equal(selected, scores.column("score") > 1)
    assert 0 < selected.sum() < len(frames)


# --- estimated errors --------------------------------------------------------------------


def sigma_by_hand(prediction, form: str) -> dict[str, np.ndarray]:
    """Spread of each component over members, calibrated one by one, then of each frame."""
    out = {"energy": [], "forces": [], "stress": []}
    for s, n in enumerate(prediction.n_atoms):
        energies = [prediction.energies[m, s] / n for m in range(3)]
        out["energy"].append(np.std(energies, ddof=1) / 2.0)
        first = prediction.offsets[s]
        atoms = []
        for i in range(first, first + n):
            spread = [np.std(prediction.forces[:, i, x], ddof=1) for x in range(3)]
            atoms.append(sum((1.5 * value**0.8) ** 2 for value in spread))
        mean = sum(atoms) / n
        forms = {"component": mean / 3, "vector": mean, "max": max(atoms)}
        out["forces"].append(np.sqrt(forms[form]))
        squares = [
            (0.7 * np.std(prediction.stress[:, s, a, b], ddof=1) ** 1.2) ** 2
            for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
        ]
        out["stress"].append(np.sqrt(sum(squares) / (6 if form == "component" else 1)))
    return {name: np.array(values) for name, values in out.items()}


@pytest.mark.parametrize("form", ["component", "vector", "max"])
def test_estimated_errors_are_those_of_calibrated_components(frames, prediction, form):
    expected = sigma_by_hand(prediction, form)
    targets = {name: float(np.median(values)) for name, values in expected.items()}
    criterion = CalibratedQuery(form=form, **targets, **ALL)
    scores = criterion.score(frames, prediction, Known(committee=committee(**LAWS)))
    for name, values in expected.items():
        np.testing.assert_allclose(scores.column(f"{name}_sigma"), values, rtol=1e-5)
    exceeds = np.any([expected[name] > targets[name] for name in targets], axis=0)
    np.testing.assert_array_equal(scores.column("verdict") == "selected", exceeds)
    assert 0 < exceeds.sum() < len(frames)
    assert criterion.thresholds == {f"{name}_sigma": t for name, t in targets.items()}


def test_a_target_error_is_a_threshold_on_the_disagreement(frames, prediction):
    """TrainsPot's τ = a·ε, on D of the unbiased variance, for one property at a time."""
    laws = {"energy": LinearCalibration(0.4), "forces": LinearCalibration(0.6)}
    known = Known(committee=committee(**laws))
    spread = unbiased_disagreement(prediction)
    both = {"energy": spread.energy, "forces": spread.forces / np.sqrt(3)}
    for name, values in both.items():
        target = float(np.median(values)) / laws[name].a * 1.01
        only = {"energy": None, "forces": None, "stress": None, name: target}
        verdict = CalibratedQuery(**only, **ALL).score(frames, prediction, known).column("verdict")
        np.testing.assert_array_equal(verdict == "selected", values > laws[name].invert(target))


def test_factors_of_elements_raise_the_targets():
    helium = crystal(2, 3.0, 4)
    law = committee(forces=LAWS["forces"], energy=LAWS["energy"])
    plain = CalibratedQuery(energy=0.01, forces=None, stress=None, **ALL)
    raised = plain.model_copy(update={"element_factors": QueryByCommittee().element_factors})
    scores = [c.score(helium, predict(helium), Known(committee=law)) for c in (plain, raised)]
    np.testing.assert_allclose(scores[0].column("score"), 15 * scores[1].column("score"), rtol=1e-5)


def test_a_missing_calibration_is_an_error_that_names_property_and_remedy():
    criterion = CalibratedQuery()
    with pytest.raises(ValueError, match=r"no calibration of \['forces', 'stress'\].*fallback"):
        criterion.used(committee(energy=LAWS["energy"]))
    with pytest.raises(ValueError, match=r"toy.*no calibration of \['energy', 'forces', 'stress'"):
        criterion.used(committee())
    without = criterion.model_copy(update={"forces": None, "stress": None})
    assert without.used(committee(energy=LAWS["energy"])) is without


def test_errors_that_do_not_grow_with_the_spread_are_refused():
    falling = committee(**{**LAWS, "forces": PowerLawCalibration(1.0, -0.2)})
    with pytest.raises(ValueError, match=r"forces: b = -0\.2.*does not grow"):
        CalibratedQuery().used(falling)


def test_the_fallback_judges_as_the_thresholds_it_states_and_is_counted(frames, prediction):
    raw = RawThresholds(energy=0.03, forces=0.2, stress=NEVER, size_factor=False)
    criterion = CalibratedQuery(fallback=raw, **ALL)
    used = criterion.used(committee(energy=LAWS["energy"]))
    assert used == QueryByCommittee(**dict(raw), **ALL)
    assert criterion.used(committee(**LAWS)) is criterion
    space = CandidateSpace(aflow_prototypes((2, 4)), ["Al", "Ni", "O"], seed=1)
    for doc, n in ((committee(), 40), (committee(**LAWS), 0)):
        known = Known(committee=doc)
        screened = screen_range(space, 0, 40, 2, criterion, known)
        done = choose_frames(
            [screened],
            criterion,
            RandomSampler(),
            [],
            {"iteration": 1, "budget": 3, "seed": 0},
            known,
        )
        assert done.criterion["n_by_fallback"] == n
        assert done.criterion["kind"] == ("committee" if n else "calibrated")
        assert set(done.thresholds) == set(done.spread_quantiles)
        assert ("forces_sigma" in done.thresholds) is (n == 0)
        assert set(done.criterion["calibrations"]) == (set() if n else set(LAWS))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"energy": None, "forces": None, "stress": None}, "all null"),
        ({"forces": 0.0}, "greater than 0"),
        ({"fallback": {"enrgy": 1}}, "enrgy"),
        ({"form": "std"}, "component"),
    ],
)
def test_wrong_settings_of_a_calibrated_query_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CalibratedQuery(**options)


# --- extrapolation -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def graded(frames):
    """A criterion, what it knows, and the frames that it has not seen."""
    criterion = ExtrapolationGrade(threshold=30.0, **ALL)
    known = Known(training=frames[:15], committee=committee())
    return criterion, dataclasses.replace(known, active=criterion.reference(known)), frames[15:]


def grades_by_hand(training: Frames, frames: Frames, local: int | None = None) -> np.ndarray:
    """Per element: γ = max |b A⁻¹| of each atom, smallest over clusters; largest over atoms."""
    old, new = (np.round(local_moments(f), 8) for f in (training, frames))
    out = np.zeros(len(frames))
    for s in range(len(frames)):
        for i in range(frames.offsets[s], frames.offsets[s + 1]):
            rows = old[training.numbers == frames.numbers[i]]
            if local is None:
                sets = [ActiveSet.fit(rows, complete=1e-6)]
            else:
                sets = LocalActiveSet.fit(rows, n_clusters=min(local, len(rows))).sets
            gamma = [np.abs(np.linalg.solve(a.rows.T, new[i])).max() for a in sets]
            out[s] = max(out[s], min(gamma))
    return out


@pytest.mark.parametrize("clusters", [None, 3])
def test_the_grade_of_a_frame_is_the_largest_of_its_atoms(graded, clusters):
    criterion, known, new = graded
    criterion = criterion.model_copy(update={"clusters": clusters})
    order = np.argsort(known.training.frame_id)
    expected = grades_by_hand(known.training.take(order), new[:6], clusters)
    known = dataclasses.replace(known, active=criterion.reference(known))
    scores = criterion.score(new[:6], predict(new[:6]), known)
    np.testing.assert_allclose(scores.column("grade"), expected, rtol=1e-4)
    np.testing.assert_allclose(scores.column("score"), expected / 30, rtol=1e-4)
    assert (scores.column("verdict") == "selected").tolist() == (expected > 30).tolist()
    assert set(scores.column("verdict")) <= {"selected", "interpolates"}


def test_frames_of_the_training_set_interpolate(graded):
    criterion, known, _ = graded
    grades = criterion.grade(known.training, known)
    assert grades.max() < 1 + 1e-6
    tight = criterion.model_copy(update={"threshold": 1.001})
    verdict = tight.score(known.training, predict(known.training), known).column("verdict")
    assert set(verdict) == {"interpolates"}


def test_grades_do_not_depend_on_the_order_of_the_training_frames(graded, rng):
    criterion, known, _ = graded
    other = dataclasses.replace(known, training=known.training.take(rng.permutation(15)))
    assert criterion.reference(other) == known.active
    twice = dataclasses.replace(known, training=Frames.concat([known.training] * 2))
    assert criterion.reference(twice) == known.active


@pytest.mark.parametrize("clusters", [None, 2, "birch"])
def test_active_sets_travel(graded, clusters):
    criterion, known, new = graded
    local = criterion.model_copy(update={"clusters": clusters})
    table = local.reference(known)
    copy = ActiveSetTable.from_dict(table.as_dict())
    grades = [local.grade(new, dataclasses.replace(known, active=t)) for t in (table, copy)]
    np.testing.assert_array_equal(*grades)
    assert set(ActiveSets.from_table(copy).sets) == {"Al", "Ni", "O"}


def test_an_upper_limit_is_a_verdict_of_its_own(graded):
    criterion, known, new = graded
    limit = float(np.quantile(criterion.grade(new, known), 0.7))
    capped = criterion.model_copy(update={"max_grade": limit})
    scores = capped.score(new, predict(new), known)
    grades, verdict = scores.column("grade"), scores.column("verdict")
    np.testing.assert_array_equal(verdict == "max_grade", grades > np.float32(limit))
    assert capped.thresholds == {"grade": 30.0, "max_grade": limit}


def test_an_element_that_no_labelled_frame_holds_passes_and_is_counted(graded):
    criterion, known, _ = graded
    capped = criterion.model_copy(update={"max_grade": 100.0})
    alien = crystal(26, 2.5, 3)
    scores = capped.score(alien, predict(alien), known)
    assert set(scores.column("verdict")) == {"selected"}
    assert np.isposinf(scores.column("grade")).all()
    space = CandidateSpace(aflow_prototypes((2, 4)), ["Al", "Fe", "Ni", "O"], seed=1)
    screened = screen_range(space, 0, 12, 2, capped, known)
    choice = {"iteration": 1, "budget": 9, "seed": 0}
    done = choose_frames([screened], capped, RandomSampler(), [], choice, known)
    with_iron = sum("Fe" in space.propose(s, s + 1, 2).elements for s in range(12))
    assert done.criterion["n_with_unseen_element"] == with_iron > 0
    assert np.isfinite(done.spread_quantiles["grade"]["max"])


def test_frames_and_potentials_describe_too(frames, prediction):
    for options in (
        {"descriptor": "committee"},
        {"descriptor": "model", "spec": toy(5)},
        {"per": "frame", "descriptor": "composition_rdf"},
    ):
        criterion = ExtrapolationGrade(**options, **ALL)
        known = Known(training=frames[:20], committee=committee())
        known = dataclasses.replace(known, active=refer(criterion, known).table)
        grades = criterion.grade(frames, known)
        assert grades[:20].max() < 1 + 1e-6
        assert grades[20:].max() > 1
    assert list(ActiveSets.from_table(known.active).sets) == ["frame"]


def test_outlying_forces_can_be_left_out_of_the_active_set(rng):
    from atomate2_alpot.schemas import Labels

    training = crystal(13, 3.0, 30)
    forces = np.where(np.arange(30)[:, None] == 29, 9.0, rng.normal(0, 0.1, (30, 3)))
    training = training.with_labels(Labels(np.zeros(30), forces, np.zeros((30, 3, 3))))
    known = Known(training=training)
    criterion = ExtrapolationGrade(filter_forces=True, **ALL)
    order = np.argsort(training.frame_id)
    ordered = training.take(order)
    expected = ElementActiveSets.fit(
        ordered, np.round(local_moments(ordered), 8), make=lambda f: ActiveSet.fit(f, complete=1e-6)
    )
    sets = ActiveSets.from_table(criterion.reference(known))
    np.testing.assert_allclose(sets.sets["Al"].rows, expected.sets["Al"].rows)
    assert criterion.grade(training, dataclasses.replace(known, active=sets.to_table()))[29] > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 3.0, "max_grade": 3.0}, "max_grade=3 is not above threshold=3"),
        ({"threshold": 0.5}, "greater than or equal to 1"),
        ({"clusters": 0}, "greater than or equal to 1"),
        ({"clusters": "kmeans"}, "birch"),
        ({"descriptor": "local_momnts"}, "did you mean 'local_moments'"),
        ({"descriptor": "composition_rdf"}, r"per atom \(choose"),
        ({"descriptor": "model"}, "needs `spec`"),
        ({"spec": toy(1)}, "no other uses one"),
    ],
)
def test_wrong_settings_of_a_grade_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ExtrapolationGrade(**options)


def test_a_grade_without_labelled_frames_says_so(frames):
    criterion = ExtrapolationGrade()
    with pytest.raises(ValueError, match=r"there are 0, and .*label_crystals"):
        criterion.reference(Known())
    with pytest.raises(ValueError, match=r"known.active"):
        criterion.grade(frames, Known())
    emt = PotentialSpec(backend="ase", name="ase.calculators.emt:EMT")
    with pytest.raises(ValueError, match=r"'ase'.*no features of atoms"):
        ExtrapolationGrade(descriptor="model", spec=emt).reference(Known(training=frames))
    with pytest.raises(ValueError, match=r"no committee here"):
        ExtrapolationGrade(descriptor="committee").reference(Known(training=frames))


# --- all physical ------------------------------------------------------------------------


def test_all_that_is_physical_passes(frames, prediction):
    every = AllPhysical(**ALL).score(frames, prediction)
    assert set(every.column("verdict")) == {"selected"}
    limit = float(np.median(every.column("max_force"))) * 1.001
    criterion = AllPhysical(**{**ALL, "max_force": limit})
    scores = criterion.score(frames, prediction)
    physical = scores.column("max_force") <= limit
    np.testing.assert_array_equal(scores.column("verdict") == "selected", physical)
    assert 0 < physical.sum() < len(frames)
    assert np.isnan(scores.column("score")).all()


def test_screening_needs_a_committee(frames):
    space = CandidateSpace(aflow_prototypes((2, 4)), frames.elements, seed=1)
    with pytest.raises(ValueError, match=r"known.committee"):
        screen_range(space, 0, 2, 2, AllPhysical(), Known())
