"""Query by committee, DIRECT, descriptors, and the selector's flow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jobflow import run_locally
from monty.json import MontyDecoder

from atomate2_alpot.potentials import Committee
from atomate2_alpot.schemas import (
    CommitteeDoc,
    CommitteePrediction,
    Frames,
    PotentialSpec,
    Shard,
)
from atomate2_alpot.select import (
    DirectSampler,
    Known,
    QueryByCommittee,
    RandomSampler,
    direct_sample,
)
from atomate2_alpot.select import makers as select_makers
from atomate2_alpot.select.criteria import ElementFactors
from atomate2_alpot.select.descriptors import composition_rdf, describe
from atomate2_alpot.select.direct import principal_components
from atomate2_alpot.select.screening import choose_frames, prepare, screen_range
from atomate2_alpot.structures import CandidateSpace, aflow_prototypes
from atomate2_alpot.uncertainty import std_disagreement

ELEMENTS = ["Al", "Ni", "O"]


def toy(seed: int, **kwargs) -> PotentialSpec:
    return PotentialSpec(backend="toy", kwargs={"seed": seed, **kwargs})


@pytest.fixture(scope="module")
def space() -> CandidateSpace:
    return CandidateSpace(aflow_prototypes((2, 4)), ELEMENTS, seed=1)


@pytest.fixture(scope="module")
def screened(space):
    frames = space.propose(0, 30, 2)
    return frames, Committee([toy(1), toy(2)]).predict(frames)


def frames_of(*compositions) -> Frames:
    return Frames.concat(
        [
            Frames.from_arrays(
                z, np.arange(3 * len(z)).reshape(-1, 3) * 0.7, [np.eye(3) * 6], [len(z)]
            )
            for z in compositions
        ]
    )


def off() -> QueryByCommittee:
    low = dict.fromkeys(("energy", "forces", "stress"), 0.02)
    return QueryByCommittee(formation_energy=None, max_force=None, mean_stress=None, **low)


# --- criterion ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "factor"),
    [
        ([13, 28], 1),
        ([2, 13], 5 * 3),
        ([2, 2], 5 * 3),
        ([10, 13], 5 * 2),
        ([18, 36], 5),
        ([43, 13], 4),
        ([92, 8], 4),
        ([57, 8], 3),
        ([57, 92], 3 * 4),
        ([43, 2], 4 * 5 * 3),
    ],
)
def test_element_factors_are_mp_aloes_each_once(numbers, factor):
    assert ElementFactors().factors(frames_of(numbers)) == pytest.approx([factor])


def test_size_factor_is_the_square_root_of_half_the_atoms():
    frames = frames_of([13, 28], [13] * 8, [13])
    np.testing.assert_allclose(QueryByCommittee().factor(frames), np.sqrt([1, 4, 0.5]))
    np.testing.assert_allclose(QueryByCommittee(size_factor=False).factor(frames), 1)


def test_any_one_criterion_selects(screened):
    frames, prediction = screened
    spread = std_disagreement(prediction)
    for name in ("energy", "forces", "stress"):
        high = dict.fromkeys(("energy", "forces", "stress"), 1000000000.0)
        threshold = float(np.median(getattr(spread, name)))
        criterion = off().model_copy(
            update={**high, name: threshold, "size_factor": False, "element_factors": None}
        )
        verdict = criterion.score(frames, prediction).column("verdict")
        np.testing.assert_array_equal(verdict == "selected", getattr(spread, name) > threshold)


def test_scores_hold_what_they_say(screened):
    frames, prediction = screened
    scores = off().score(frames, prediction)
    spread = std_disagreement(prediction)
    np.testing.assert_allclose(scores.column("energy_spread"), spread.energy, rtol=1e-5)
    forces = np.linalg.norm(prediction.forces, axis=2)
    s = 4
    own = slice(frames.offsets[s], frames.offsets[s + 1])
    assert scores.column("max_force")[s] == pytest.approx(
        np.median(forces[:, own].max(axis=1)), rel=1e-5
    )
    trace = [np.trace(prediction.stress[m, s]) / 3 for m in range(2)]
    assert scores.column("mean_stress")[s] == pytest.approx(np.median(np.abs(trace)), rel=1e-5)
    assert scores.column("formation_energy")[s] == pytest.approx(
        np.median(prediction.formation_energies[:, s]), rel=1e-5
    )


@pytest.mark.parametrize("name", ["formation_energy", "max_force", "mean_stress"])
def test_unphysical_candidates_are_rejected_by_the_filter_that_says_so(screened, name):
    frames, prediction = screened
    values = off().score(frames, prediction).column(name)
    limit = float(np.quantile(values, 0.6))
    criterion = off().model_copy(update={name: limit})
    verdict = criterion.score(frames, prediction).column("verdict")
    np.testing.assert_array_equal(verdict == name, values > np.float32(limit))


@pytest.mark.parametrize("field", ["energy", "forces", "stress"])
def test_negative_thresholds_are_refused(field):
    with pytest.raises(ValueError, match=field):
        QueryByCommittee(**{field: -0.1})


def test_misspelt_criterion_is_refused():
    with pytest.raises(ValueError, match="enrgy"):
        QueryByCommittee(enrgy=0.1)


# --- DIRECT ------------------------------------------------------------------------------


def blobs(rng, n_clusters=6, per=30, d=5) -> np.ndarray:
    centres = rng.normal(0, 20, (n_clusters, d))
    return np.concatenate([c + rng.normal(0, 0.2, (per, d)) for c in centres])


def test_budget_is_met_exactly_and_spread_over_clusters(rng):
    features = blobs(rng)
    result = direct_sample(features, budget=12)
    assert len(result.indices) == len(set(result.indices)) == 12
    assert set(result.indices // 30) == set(range(6))


@given(st.integers(0, 10_000), st.integers(1, 60))
@settings(max_examples=20, deadline=None)
def test_choice_does_not_depend_on_the_order_of_rows(seed, budget):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(80, 4))
    order = rng.permutation(80)
    one = direct_sample(features, budget=budget, seed=3).indices
    two = direct_sample(features[order], budget=budget, seed=3).indices
    assert set(order[two]) == set(one)
    assert len(one) == budget


def test_same_seed_same_choice_and_no_global_state(rng):
    features = rng.normal(size=(200, 6))
    first = direct_sample(features, budget=33, seed=1).indices
    np.random.seed(0)  # noqa: NPY002 - must not matter
    np.testing.assert_array_equal(first, direct_sample(features, budget=33, seed=1).indices)


def test_k_per_cluster_takes_the_nearest_to_the_centroid_first(rng):
    features = blobs(rng)
    result = direct_sample(features, k_per_cluster=1, threshold_init=0.5)
    assert len(result.indices) == result.n_clusters
    distance = np.linalg.norm(result.coordinates - result.centroids[result.labels], axis=1)
    for i in result.indices:
        mates = result.labels == result.labels[i]
        assert distance[i] == pytest.approx(distance[mates].min())


def test_centroids_are_the_means_of_their_members(rng):
    result = direct_sample(blobs(rng), budget=20)
    for k, centroid in enumerate(result.centroids):
        np.testing.assert_allclose(centroid, result.coordinates[result.labels == k].mean(axis=0))


@pytest.mark.parametrize("budget", [50, 500])
@pytest.mark.parametrize("kind", ["steep", "plane"])
def test_a_budget_gets_nearly_as_many_clusters_and_never_more(rng, kind, budget):
    features = rng.normal(size=(3000, 128)) @ np.diag(np.linspace(3, 0.1, 128))
    features = features @ rng.normal(size=(128, 128))
    if kind == "plane":  # one common cause: two components, where the first radius is too large
        features = rng.normal(size=(3000, 1)) + 0.3 * rng.normal(size=(3000, 128))
    result = direct_sample(features, budget=budget)
    assert 0.75 * budget <= result.n_clusters <= budget == len(result.indices)
    again = direct_sample(features, budget=budget)
    assert (again.threshold, again.n_clusters) == (result.threshold, result.n_clusters)
    np.testing.assert_array_equal(again.indices, result.indices)


def test_without_a_budget_the_radius_stays_as_it_was_given(rng):
    assert direct_sample(blobs(rng), k_per_cluster=2, threshold_init=0.3).threshold == 0.3


def test_more_budget_than_rows_takes_all(rng):
    assert len(direct_sample(rng.normal(size=(7, 3)), budget=50).indices) == 7


def test_repeated_rows_are_chosen_last(rng):
    features = np.concatenate([np.zeros((50, 3)), rng.normal(size=(5, 3)) * 10])
    chosen = direct_sample(features, budget=6).indices
    assert (chosen >= 50).sum() == 5


def test_components_are_those_of_a_direct_eigendecomposition(rng):
    features = rng.normal(size=(60, 4)) @ rng.normal(size=(4, 4))
    scaled = (features - features.mean(0)) / features.std(0)
    values, vectors = np.linalg.eigh(np.cov(scaled.T, bias=True))
    expected = np.abs(scaled @ vectors[:, ::-1][:, :2] * (values[::-1][:2] / values.sum()))
    np.testing.assert_allclose(np.abs(principal_components(features)[:, :2]), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("features", "options", "message"),
    [
        (np.zeros((0, 3)), {}, "non-empty"),
        (np.array([[1.0, np.nan]]), {}, "1 rows hold NaN"),
        (np.ones((3, 2)), {"k_per_cluster": 0}, "k_per_cluster=0"),
        (np.ones((3, 2)), {"budget": 0}, "budget=0"),
        (np.ones((3, 2)), {"threshold_init": 0.0}, "threshold_init"),
    ],
)
def test_wrong_input_of_direct_is_named(features, options, message):
    with pytest.raises(ValueError, match=message):
        direct_sample(features, **options)


def test_constant_features_are_no_obstacle():
    assert len(direct_sample(np.ones((10, 3)), budget=4).indices) == 4


# --- descriptors -------------------------------------------------------------------------


def test_fingerprint_is_invariant(space, rng):
    frames = space.propose(0, 6, 2)
    expected = composition_rdf(frames)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    for structure, row in zip(frames.to_structures(), expected, strict=True):
        doubled = Frames.from_structures(structure * [2, 1, 1])
        np.testing.assert_allclose(composition_rdf(doubled)[0], row, atol=1e-8)
        moved = Frames.from_arrays(
            [s.specie.Z for s in structure][::-1],
            (structure.cart_coords[::-1] + 0.3) @ rotation,
            [structure.lattice.matrix @ rotation],
            [len(structure)],
        )
        np.testing.assert_allclose(composition_rdf(moved)[0], row, atol=1e-8)
    assert np.ptp(expected, axis=0).max() > 0.1


def test_unknown_descriptors_are_answered_with_the_nearest(space):
    with pytest.raises(ValueError, match="did you mean 'composition_rdf'"):
        describe(space.propose(0, 2, 2), "compositon_rdf", None)
    with pytest.raises(ValueError, match="choose from"):
        DirectSampler(descriptor="soap")
    emt, frames = (
        PotentialSpec(backend="ase", name="ase.calculators.emt:EMT"),
        space.propose(0, 2, 2),
    )
    with pytest.raises(ValueError, match="no features"):
        describe(frames, "model", emt)


# --- samplers, screening, flow -----------------------------------------------------------


@pytest.mark.parametrize(
    "sampler",
    [
        DirectSampler(),
        DirectSampler(k_per_cluster=2),
        DirectSampler(descriptor="model", spec=toy(1)),
        RandomSampler(),
    ],
)
def test_samplers_keep_their_contract(space, sampler, rng):
    frames = space.propose(0, 40, 2)
    sample = sampler.sample(frames, 10, seed=4)
    chosen = {frames.frame_id[i] for i in sample.indices}
    assert len(chosen) == len(sample.indices) <= 10
    shuffled = frames.take(rng.permutation(40))
    again = sampler.sample(shuffled, 10, seed=4)
    assert {shuffled.frame_id[i] for i in again.indices} == chosen


def choice(**update) -> dict[str, int]:
    return {"iteration": 1, "budget": 5, "seed": 0, **update}


def test_known_frames_are_not_chosen_again(space):
    committee = CommitteeDoc(members=[toy(1), toy(2)])
    doc = screen_range(space, 0, 40, 2, off(), Known(committee=committee))
    first = choose_frames([doc], off(), RandomSampler(), [], choice())
    second = choose_frames([doc], off(), RandomSampler(), [first.frames], choice(budget=100))
    assert not set(first.frames.frame_id) & set(second.frames.frame_id)
    assert second.n_selected == second.n_passed == first.n_passed - 5
    assert sum(first.verdicts.values()) == first.n_screened == 40
    assert len(first.map) == first.n_passed


def test_agreeing_committee_selects_nothing_and_says_what_it_saw(space):
    committee = CommitteeDoc(members=[toy(1), toy(1)])
    doc = screen_range(space, 0, 10, 2, off(), Known(committee=committee))
    selection = choose_frames([doc], off(), DirectSampler(), [], choice())
    assert selection.n_selected == len(selection.frames) == 0
    assert selection.spread_quantiles["energy"]["max"] == 0
    assert selection.verdicts == {"agreed": 10}


def test_preparation_aligns_and_finds_crystals():
    prepared = prepare(CommitteeDoc(members=[toy(1), toy(2)]), ELEMENTS)
    assert prepared.committee.reference_source == "crystals"
    assert [set(r) for r in prepared.committee.references] == [set(ELEMENTS)] * 2
    assert len(prepared.crystals) == 3
    given_references = [dict.fromkeys(ELEMENTS, 1.0)] * 2
    kept = prepare(CommitteeDoc(members=[toy(1), toy(2)], references=given_references), ELEMENTS)
    assert kept.committee.references == given_references


@pytest.mark.parametrize("gather_size", [100, 3])
def test_flow_selects_the_same_however_it_is_cut(space, job_store, monkeypatch, gather_size):
    monkeypatch.setattr(select_makers, "GATHER_SIZE", gather_size)
    committee = CommitteeDoc(members=[toy(1), toy(2)])

    def run(chunk_size):
        maker = select_makers.CommitteeSelector(criterion=off(), chunk_size=chunk_size)
        flow = maker.make([Shard(source=space, start=0, stop=45)], committee, [], [], 1, 8)
        run_locally(flow, store=job_store, log=False, raise_immediately=True)
        return MontyDecoder().process_decoded(job_store.get_output(flow.output.uuid, load=True))

    small, large = run(4), run(45)
    assert small.n_screened == large.n_screened == 45
    assert set(small.frames.frame_id) == set(large.frames.frame_id)
    assert small.n_selected == 8


def test_wrong_chunk_size_is_named():
    with pytest.raises(ValueError, match="chunk_size=0"):
        select_makers.CommitteeSelector(chunk_size=0)


def test_prediction_without_references_is_raw(screened):
    _, prediction = screened
    assert isinstance(prediction, CommitteePrediction)
    np.testing.assert_allclose(
        prediction.formation_energies, prediction.energies / prediction.n_atoms
    )
