"""Which of those that passed: the worst, what extrapolates in turn, and samplers made of samplers."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest
from ase.data import chemical_symbols
from parts import candidates, committee, crystal, ids, toy
from pydantic import TypeAdapter

from atomate2_alpot.potentials import load_predictor
from atomate2_alpot.schemas import Frames, PotentialSpec
from atomate2_alpot.select import (
    SAMPLERS,
    AnySampler,
    ChainSampler,
    DirectSampler,
    Known,
    RandomSampler,
    SequentialSampler,
    SplitSampler,
    TopSampler,
)
from atomate2_alpot.select.known import NOTHING_KNOWN
from atomate2_alpot.select.moments import local_moments
from atomate2_alpot.select.rows import feature_rows
from atomate2_alpot.uncertainty import ActiveSet

SEQUENTIAL = SequentialSampler(thresholds=(1000, 100, 10, 2))
COMPOSED = [
    TopSampler(),
    SEQUENTIAL,
    SequentialSampler(descriptor="committee", thresholds=(2, 1)),
    SequentialSampler(per="frame", descriptor="composition_rdf", thresholds=(2, 1)),
    DirectSampler(descriptor="committee"),
    ChainSampler(samplers=[SEQUENTIAL, DirectSampler()], oversample=2),
    ChainSampler(samplers=[DirectSampler(), TopSampler()], oversample=3),
    ChainSampler(samplers=[RandomSampler(), DirectSampler(), SEQUENTIAL], oversample=1.5),
    SplitSampler(samplers=[SEQUENTIAL, DirectSampler(), RandomSampler()], shares=[0.4, 0.4, 0.2]),
    SplitSampler(samplers=[TopSampler(), DirectSampler()], shares=[0.5, 0.5]),
]


@pytest.fixture(scope="module")
def frames() -> Frames:
    return candidates(70)


@pytest.fixture(scope="module")
def known(frames) -> Known:
    scores = np.random.default_rng(4).uniform(1, 9, 60)
    return Known(
        training=frames[60:],
        committee=committee(),
        scores=dict(zip(frames.frame_id[:60], scores, strict=True)),
    )


@pytest.fixture(scope="module")
def pool(frames) -> Frames:
    return frames[:60]


@pytest.mark.parametrize("sampler", COMPOSED, ids=lambda s: s.kind)
def test_samplers_keep_their_contract(pool, known, sampler, rng):
    sample = sampler.sample(pool, 12, 4, known)
    chosen = ids(pool, sample.indices)
    assert 0 < len(chosen) == len(sample.indices) <= 12
    assert (np.diff(sample.indices) > 0).all()
    assert len(sample.coordinates) == len(sample.labels) == 60
    json.dumps(sample.info, allow_nan=False)
    order = rng.permutation(60)
    mixed = dataclasses.replace(known, training=known.training.take(rng.permutation(10)))
    again = sampler.sample(pool.take(order), 12, 4, mixed)
    assert ids(pool.take(order), again.indices) == chosen


@pytest.mark.parametrize("sampler", COMPOSED, ids=lambda s: s.kind)
def test_samplers_are_settings_that_travel(sampler):
    adapter = TypeAdapter(AnySampler)
    assert adapter.validate_python(json.loads(adapter.dump_json(sampler))) == sampler
    assert SAMPLERS[sampler.kind] is type(sampler)


# --- top_n -------------------------------------------------------------------------------


def test_the_worst_are_those_of_the_largest_score(pool, known):
    worst = sorted(pool.frame_id, key=lambda i: -known.scores[i])[:7]
    sample = TopSampler().sample(pool, 7, 0, known)
    assert ids(pool, sample.indices) == set(worst)
    assert sample.info["lowest_score"] == pytest.approx(known.scores[worst[-1]])


def test_an_infinite_score_comes_first(pool, known):
    scores = {**known.scores, pool.frame_id[3]: np.inf}
    sample = TopSampler().sample(pool, 1, 0, dataclasses.replace(known, scores=scores))
    assert sample.indices.tolist() == [3]
    assert sample.info["lowest_score"] is None


def test_equal_scores_are_drawn_by_the_seed(pool):
    known = Known(scores=dict.fromkeys(pool.frame_id, 2.0))
    picks = {tuple(TopSampler().sample(pool, 5, seed, known).indices) for seed in range(4)}
    assert len(picks) == 4


def test_frames_without_a_score_cannot_be_ranked(pool):
    with pytest.raises(ValueError, match=r"top_n: 60 of 60 frames have no score"):
        TopSampler().sample(pool, 5, 0)


# --- sequential --------------------------------------------------------------------------


def algorithm_2_1(
    training: Frames, pool: Frames, order: np.ndarray, thresholds: tuple, budget: int
) -> list[int]:
    """AutoPot's, in loops: a set per element, updated with every atom of a chosen frame."""
    old, new = (np.round(local_moments(f), 8) for f in (training, pool))
    sets = {
        z: ActiveSet.fit(old[training.numbers == z], complete=1e-6)
        for z in np.unique(training.numbers)
    }
    chosen: list[int] = []
    for threshold in thresholds:
        for s in order:
            if s in chosen or len(chosen) == budget:
                continue
            atoms = np.arange(pool.offsets[s], pool.offsets[s + 1])
            gamma = [
                sets[z].grade(new[[i]])[0] if (z := pool.numbers[i]) in sets else np.inf
                for i in atoms
            ]
            if max(gamma) <= threshold:
                continue
            chosen.append(int(s))
            for z in np.unique(pool.numbers[atoms]):
                rows = new[atoms[pool.numbers[atoms] == z]]
                if z in sets:
                    sets[z].add(rows)
                else:
                    sets[z] = ActiveSet.fit(rows, complete=1e-6)
    return chosen


@pytest.mark.parametrize("budget", [5, 60])
def test_the_sequence_is_that_of_algorithm_2_1(pool, known, budget):
    order = np.random.default_rng(3).permutation(np.argsort(pool.frame_id))
    training = known.training.take(np.argsort(known.training.frame_id))
    expected = algorithm_2_1(training, pool, order, SEQUENTIAL.thresholds, budget)
    sample = SEQUENTIAL.sample(pool, budget, 3, known)
    assert sample.indices.tolist() == sorted(expected)
    assert sum(sample.info["n_by_threshold"]) == len(expected) <= budget


def test_what_is_known_already_is_not_chosen(pool, known):
    sample = SEQUENTIAL.sample(known.training, 10, 0, known)
    assert len(sample.indices) == 0
    assert sample.info["largest_grade"] is None


def test_an_element_is_learned_from_the_first_frame_that_holds_it(known):
    """γ = ∞ at first; afterwards its own crystals, nearly alike, interpolate."""
    iron = crystal(26, 2.5, 30)
    sample = SequentialSampler(thresholds=(1e9,)).sample(iron, 30, 0, known)
    assert len(sample.indices) == sample.info["n_with_unseen_element"] == 1
    assert np.isfinite(sample.coordinates).all()


def test_sequential_without_labelled_frames_says_so(pool):
    with pytest.raises(ValueError, match=r"needs labelled frames to measure from: there are 0"):
        SEQUENTIAL.sample(pool, 5, 0)


@pytest.mark.parametrize("kind", ["training", "pool"])
def test_frames_that_cannot_be_described_are_left_out(pool, known, monkeypatch, kind, caplog):
    from atomate2_alpot.testing import ToyPotential

    hidden = (known.training if kind == "training" else pool).frame_id[:4]
    original = ToyPotential.atom_features

    def partly(self, frames):
        features = original(self, frames)
        bad = np.isin(frames.frame_id, hidden)
        features[bad[frames.frame_index]] = np.nan
        return features

    monkeypatch.setattr(ToyPotential, "atom_features", partly)
    sampler = SequentialSampler(descriptor="model", spec=toy(5), thresholds=(1.5,))
    sample = sampler.sample(pool, 60, 0, known)
    assert not set(hidden) & ids(pool, sample.indices)
    assert sample.info["n_not_described"] == (4 if kind == "pool" else 0)
    assert ("NaN for 4 of 10 labelled" in caplog.text) is (kind == "training")
    if kind == "pool":
        hidden = pool.frame_id
        with pytest.raises(ValueError, match=r"describes none of 60 frames.*Al"):
            sampler.sample(pool, 60, 0, known)


@pytest.mark.parametrize("thresholds", [(1, 2), (2, 2), (10, 0.5), ()])
def test_thresholds_must_fall(thresholds):
    with pytest.raises(ValueError, match=r"give falling numbers|at least 1 item"):
        SequentialSampler(thresholds=thresholds)


# --- made of samplers --------------------------------------------------------------------


def test_a_chain_narrows_step_by_step(pool, known):
    chain = ChainSampler(samplers=[TopSampler(), DirectSampler(), RandomSampler()], oversample=2)
    sample = chain.sample(pool, 5, 1, known)
    assert [info["n_chosen"] for info in sample.info["samplers"]] == [20, 10, 5]
    kept = np.arange(60)
    for sampler, n in zip(chain.samplers, (20, 10, 5), strict=True):
        kept = kept[sampler.sample(pool.take(kept), n, 1, known).indices]
    assert sample.indices.tolist() == kept.tolist()


def test_a_chain_ends_where_nothing_is_left(known):
    chain = ChainSampler(samplers=[SEQUENTIAL, DirectSampler()])
    assert len(chain.sample(known.training, 5, 0, known).indices) == 0


def test_shares_are_taken_from_what_is_left(pool, known):
    split = SplitSampler(
        samplers=[TopSampler(), DirectSampler(), RandomSampler()], shares=[0.5, 0.3, 0.2]
    )
    sample = split.sample(pool, 20, 1, known)
    assert [info["n_chosen"] for info in sample.info["samplers"]] == [10, 6, 4]
    top = TopSampler().sample(pool, 10, 1, known).indices
    left = np.setdiff1d(np.arange(60), top)
    direct = left[DirectSampler().sample(pool.take(left), 6, 1, known).indices]
    assert set(top) | set(direct) <= set(sample.indices)
    assert len(sample.indices) == 20


def test_what_a_share_does_not_use_goes_to_the_next(pool, known):
    nothing = SequentialSampler(thresholds=(1e9,))
    split = SplitSampler(samplers=[nothing, RandomSampler()], shares=[0.9, 0.1])
    sample = split.sample(pool, 20, 1, known)
    assert [info["n_chosen"] for info in sample.info["samplers"]] == [0, 20]
    tiny = SplitSampler(samplers=[RandomSampler(), DirectSampler()], shares=[0.1, 0.9])
    assert [i["n_chosen"] for i in tiny.sample(pool, 1, 1, known).info["samplers"]] == [0, 1]


def test_composition_needs_what_its_parts_need():
    for outer in (
        lambda *parts: ChainSampler(samplers=list(parts)),
        lambda *parts: SplitSampler(samplers=list(parts), shares=[0.5, 0.5]),
    ):
        for parts in itertools.product((DirectSampler(), TopSampler(), SEQUENTIAL), repeat=2):
            made = outer(*parts)
            assert made.needs_training == any(p.needs_training for p in parts)
            assert made.needs_scores == any(p.needs_scores for p in parts)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "top"}, r"kind 'top': did you mean 'top_n'\?"),
        ({"kind": "chain", "samplers": [{"kind": "drect"}, {}]}, "did you mean 'direct'"),
        ({"kind": "chain", "samplers": [{}]}, "at least 2"),
        ({"kind": "chain", "samplers": [{}, {}], "oversample": 1}, "greater than 1"),
        ({"kind": "split", "samplers": [{}, {}], "shares": [1.0]}, "1 shares for 2 samplers"),
        ({"kind": "split", "samplers": [{}, {}], "shares": [0.5, 0.6]}, "sum to 1"),
        ({"kind": "split", "samplers": [{}, {}], "shares": [1.5, -0.5]}, "positive"),
        ({"kind": "random", "n": 3}, "Extra inputs"),
        ({"descriptor": "model"}, "needs `spec`"),
    ],
)
def test_wrong_settings_of_samplers_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        TypeAdapter(AnySampler).validate_python(settings)


# --- features ----------------------------------------------------------------------------


def test_moments_are_sums_over_neighbours(frames):
    """One frame, one atom, every term written out over images of the cell."""
    from ase.data import covalent_radii
    from pymatgen.core import Element

    frame = frames[3]
    x, z, cell = frame.positions, frame.numbers, frame.cell[0]
    chi = [Element.from_Z(int(v)).X for v in z]
    sums = {(w, k): [0.0, np.zeros(3), np.zeros((3, 3))] for w in range(3) for k in range(1, 7)}
    for j in range(len(z)):
        for image in np.ndindex(13, 13, 13):
            d = x[j] + (np.array(image) - 6) @ cell - x[0]
            r = np.linalg.norm(d)
            if r < 1e-9 or r >= 5.0:
                continue
            n = d / r
            weights = 1.0, chi[j] - chi[0], covalent_radii[z[j]] - covalent_radii[z[0]]
            for (w, k), terms in sums.items():
                radial = 0.5 * (1 + np.cos(np.pi * r / 5)) * np.sin(k * np.pi * r / 5) / r
                terms[0] += radial * weights[w]
                terms[1] += radial * weights[w] * n
                terms[2] += radial * weights[w] * (np.outer(n, n) - np.eye(3) / 3)
    expected = [1.0]
    for w in range(3):
        expected += [sums[w, k][0] for k in range(1, 7)]
        expected += [(sums[w, k][1] ** 2).sum() for k in range(1, 7)]
        expected += [(sums[w, k][2] ** 2).sum() for k in range(1, 7)]
    np.testing.assert_allclose(local_moments(frame)[0], expected, atol=2e-8)


def test_moments_are_invariant(frames, rng, monkeypatch):
    from atomate2_alpot.select import moments

    expected = local_moments(frames)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turned = Frames.from_arrays(
        frames.numbers, frames.positions @ rotation + 0.3, frames.cell @ rotation, frames.n_atoms
    )
    np.testing.assert_allclose(local_moments(turned), expected, atol=3e-8)
    monkeypatch.setattr(moments, "BLOCK_ATOMS", 5)
    np.testing.assert_array_equal(local_moments(frames), expected)
    assert local_moments(frames[:0]).shape == (0, 55)


def test_symmetry_leaves_exact_zeros():
    """Rounding noise must not become a direction of an active set."""
    features = feature_rows(crystal(26, 2.5, 3), SEQUENTIAL, NOTHING_KNOWN).values
    assert (features[:, 7:13] == 0).all()
    assert (features[:, 19:] == 0).all()
    assert (features[:, 1:7] != 0).all()


def test_noise_of_a_potential_s_features_is_none_either(pool, known, monkeypatch, rng):
    from atomate2_alpot.select import rows

    noise = 1e-10 * rng.normal(size=(len(pool.numbers), 2))
    monkeypatch.setattr(rows, "make_describer", lambda *_: lambda _: np.add(noise, [0, 0.125]))
    found = rows.feature_rows(pool, SEQUENTIAL, known).values
    np.testing.assert_array_equal(found, np.tile([0.0, 0.125], (len(noise), 1)))


@pytest.mark.parametrize("in_memory", [10**9, 10])
def test_rows_are_the_same_in_memory_and_in_a_file(pool, known, monkeypatch, in_memory):
    from atomate2_alpot.select import rows

    monkeypatch.setattr(rows, "BLOCK_ATOMS", 7)
    monkeypatch.setattr(rows, "IN_MEMORY", in_memory)
    found = rows.feature_rows(pool, SEQUENTIAL, known)
    assert isinstance(found.values, np.memmap) is (in_memory == 10)
    np.testing.assert_allclose(found.values, np.round(local_moments(pool), 8), atol=1e-15)
    np.testing.assert_array_equal(found.groups, [chemical_symbols[z] for z in pool.numbers])
    np.testing.assert_array_equal(found.offsets, pool.offsets)
    chosen = SEQUENTIAL.sample(pool, 20, 0, known).indices
    monkeypatch.undo()
    np.testing.assert_array_equal(chosen, SEQUENTIAL.sample(pool, 20, 0, known).indices)


def test_a_potential_without_features_of_atoms_is_named(pool, known):
    emt = PotentialSpec(backend="ase", name="ase.calculators.emt:EMT")
    assert not hasattr(load_predictor(emt), "atom_features")
    with pytest.raises(ValueError, match=r"'ase'.*no features of atoms.*local_moments"):
        SequentialSampler(descriptor="model", spec=emt).sample(pool, 5, 0, known)
