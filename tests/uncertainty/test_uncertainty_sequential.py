"""Algorithm 2.1 of AutoPot against its lines written out."""

from __future__ import annotations

import numpy as np
import pytest

from atomate2_alpot.uncertainty import ActiveSet, FeatureError, select_sequentially
from atomate2_alpot.uncertainty import sequential as module

THRESHOLDS = (100.0, 10.0, 2.0)


def slow(active, features, offsets, thresholds):
    """Lines 1-8, with A inverted anew for every candidate."""
    rows, chosen = active.rows, []
    for threshold in thresholds:
        for s in range(len(offsets) - 1):
            if s in chosen:
                continue
            own = features[offsets[s] : offsets[s + 1]]
            grade = np.abs(own @ np.linalg.inv(rows)).max()
            if grade > threshold:
                chosen.append(s)
                while True:
                    c = own @ np.linalg.inv(rows)
                    i, j = np.unravel_index(np.abs(c).argmax(), c.shape)
                    if abs(c[i, j]) <= 1 + 1e-7:
                        break
                    rows[j] = own[i]
    return chosen, rows


@pytest.mark.parametrize("per_atom", [False, True])
@pytest.mark.parametrize("block", [1, 7, 64])
def test_it_is_its_definition(rng, monkeypatch, per_atom, block):
    monkeypatch.setattr(module, "BLOCK_FRAMES", block)
    active = ActiveSet.fit(rng.normal(size=(40, 5)))
    features = rng.normal(size=(150, 5)) * np.exp(1.5 * rng.normal(size=(150, 1)))
    offsets = np.arange(0, 151, 3) if per_atom else np.arange(151)
    found = select_sequentially(active, features, offsets, THRESHOLDS)
    chosen, rows = slow(active, features, offsets, THRESHOLDS)
    assert found.frames.tolist() == chosen
    assert len(chosen) > 3
    np.testing.assert_allclose(found.active.rows, rows)
    assert (found.grades > found.thresholds).all()
    assert (np.diff(found.thresholds) <= 0).all()
    assert found.active.grade(features).max() <= 2


def test_the_set_given_is_not_changed(rng):
    active = ActiveSet.fit(rng.normal(size=(40, 5)))
    rows = active.rows
    select_sequentially(active, 10 * rng.normal(size=(30, 5)))
    np.testing.assert_array_equal(active.rows, rows)
    np.testing.assert_allclose(active.inverse @ rows, np.eye(5), atol=1e-12)


def test_copies_are_chosen_once(rng):
    active = ActiveSet.fit(rng.normal(size=(40, 5)))
    far = 50 * rng.normal(size=(1, 5))
    found = select_sequentially(active, np.repeat(far, 20, axis=0))
    assert found.frames.tolist() == [0]


def test_it_stops_when_told(rng):
    active = ActiveSet.fit(0.01 * rng.normal(size=(40, 5)))
    candidates = rng.normal(size=(30, 5))
    everything = select_sequentially(active, candidates)
    found = select_sequentially(active, candidates, max_frames=2)
    assert found.frames.tolist() == everything.frames[:2].tolist()


def test_nothing_to_choose_is_no_error(rng):
    features = rng.normal(size=(40, 5))
    active = ActiveSet.fit(features)
    assert len(select_sequentially(active, features).frames) == 0
    assert len(select_sequentially(active, np.zeros((0, 5))).frames) == 0


@pytest.mark.parametrize("thresholds", [(), (2.0, 10.0), (10.0, 0.5), (2.0, 2.0)])
def test_thresholds_must_fall(rng, thresholds):
    active = ActiveSet.fit(rng.normal(size=(40, 5)))
    with pytest.raises(FeatureError, match="give falling ones, 1 or more"):
        select_sequentially(active, np.zeros((1, 5)), thresholds=thresholds)


@pytest.mark.parametrize("offsets", [[0, 2], [1, 3], [0, 0, 3]])
def test_offsets_must_fit(rng, offsets):
    active = ActiveSet.fit(rng.normal(size=(40, 5)))
    with pytest.raises(FeatureError, match="offsets do not cut 3 rows"):
        select_sequentially(active, np.zeros((3, 5)), offsets)
