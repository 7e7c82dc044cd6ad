"""MaxVol against exhaustive search, LAPACK, and two published codes; updates; refusals."""

from __future__ import annotations

import tracemalloc
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import qr

from atomate2_alpot.uncertainty import ActiveSet, FeatureError
from atomate2_alpot.uncertainty import rows as rows_module
from atomate2_alpot.uncertainty.maxvol import pivot_rows
from atomate2_alpot.uncertainty.rows import Rows, RowView


def ace_like(rng, n, m):
    """Correlated, heavy-tailed features of a few latent variables."""
    z = rng.normal(size=(n, 12)) * np.exp(0.4 * rng.normal(size=(n, 1)))
    waves = np.sin(z @ (0.3 * rng.normal(size=(12, m))) + rng.normal(size=m))
    return waves + (z @ (0.1 * rng.normal(size=(12, m)))) ** rng.integers(1, 4, m)


def slow_grade(row, active):
    """γ as the change of the determinant when b replaces each member (AutoPot, §2.2)."""
    volume, largest = abs(np.linalg.det(active)), 0.0
    for j in range(len(active)):
        changed = active.copy()
        changed[j] = row
        largest = max(largest, abs(np.linalg.det(changed)) / volume)
    return largest


def log_volume(features, indices):
    return np.linalg.slogdet(features[indices])[1]


def test_grade_is_the_largest_change_of_the_determinant(rng):
    active = ActiveSet.fit(ace_like(rng, 60, 5))
    others = 2 * ace_like(rng, 20, 5)
    expected = [slow_grade(row, active.rows) for row in others]
    np.testing.assert_allclose(active.grade(others), expected)


def test_no_single_swap_enlarges_the_volume(rng):
    features = ace_like(rng, 300, 8)
    active = ActiveSet.fit(features)
    np.testing.assert_allclose(active.rows, features[active.indices])
    assert active.grade(features).max() <= 1 + 1e-6
    np.testing.assert_allclose(active.grade(active.rows), 1)
    assert active.log_volume == pytest.approx(log_volume(features, active.indices))
    np.testing.assert_allclose(active.inverse @ active.rows, np.eye(8), atol=1e-12)


def test_it_is_near_the_largest_volume_of_all(rng):
    """A local optimum; for 3 of 18 rows of noise it is the global one nearly always."""
    best = 0
    for _ in range(20):
        features = rng.normal(size=(18, 3))
        largest = max(abs(np.linalg.det(features[list(c)])) for c in combinations(range(18), 3))
        found = np.exp(ActiveSet.fit(features).log_volume)
        assert found >= 0.7 * largest
        best += found >= 0.999 * largest
    assert best >= 12


@pytest.mark.parametrize("make", [ace_like, lambda rng, n, m: rng.normal(size=(n, m))])
@pytest.mark.parametrize(("n", "m"), [(40, 40), (900, 7), (3000, 40)])
def test_pivots_are_those_of_lapack(rng, make, n, m):
    features = make(rng, n, m)
    expected = qr(features.T, mode="r", pivoting=True)[-1][:m]
    found = pivot_rows(Rows(features))
    np.testing.assert_array_equal(found.indices, expected)
    assert found.missing.shape == (0, m)


@pytest.mark.parametrize("make", [ace_like, lambda rng, n, m: rng.normal(size=(n, m))])
@pytest.mark.parametrize(("n", "m"), [(200, 10), (4000, 25), (6000, 60)])
def test_volume_is_that_of_motep(rng, make, n, m):
    maxvol = pytest.importorskip("motep.grade.maxvol", reason="motep is not installed")
    features = make(rng, n, m)
    theirs = maxvol.MaxVol(threshold=1e-9).run(features)
    ours = ActiveSet.fit(features)
    assert ours.log_volume == pytest.approx(log_volume(features, theirs.indices), abs=0.01)
    probes = 2 * make(rng, 50, m)
    c = np.linalg.lstsq(theirs.submatrix.T, probes.T, rcond=None)[0].T
    if set(theirs.indices) == set(ours.indices):
        np.testing.assert_allclose(ours.grade(probes), np.abs(c).max(axis=1), rtol=1e-6)


@pytest.mark.parametrize(("n", "m"), [(200, 5), (2000, 20)])
def test_volume_is_not_below_that_of_teneva(rng, n, m):
    """It starts from LU and stops at 1 + e: often a smaller optimum, so a bound on one side.

    From the rows it found, ours is the same or larger.
    """
    teneva = pytest.importorskip("teneva", reason="teneva is not installed")
    features = ace_like(rng, n, m)
    indices, _ = teneva.maxvol(features, e=1.0 + 1e-9, k=10_000)
    assert ActiveSet.fit(features).log_volume >= log_volume(features, indices) + np.log(0.99)
    few = ActiveSet.fit(features[indices])
    assert few.log_volume == pytest.approx(log_volume(features, indices), abs=0.01)


def test_volume_is_that_of_maxvolpy(rng):
    maxvolpy = pytest.importorskip("maxvolpy.maxvol", reason="maxvolpy is not installed")
    features = rng.normal(size=(500, 5))
    indices, _ = maxvolpy.maxvol(features, 1.0 + 1e-9)
    assert ActiveSet.fit(features).log_volume >= log_volume(features, indices) + np.log(0.99)


# --- invariances ------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_neither_order_nor_copies_matter(seed):
    rng = np.random.default_rng(seed)
    features, probes = ace_like(rng, 80, 6), ace_like(rng, 30, 6)
    one = ActiveSet.fit(features)
    order = rng.permutation(80)
    shuffled = ActiveSet.fit(features[order])
    assert set(order[shuffled.indices]) == set(one.indices)
    np.testing.assert_allclose(shuffled.grade(probes), one.grade(probes), rtol=1e-7)
    doubled = ActiveSet.fit(np.concatenate([features, features[order]]))
    np.testing.assert_allclose(doubled.grade(probes), one.grade(probes), rtol=1e-7)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(1e-12, 1e12))
def test_scales_of_columns_do_not_matter(seed, size):
    """γ is the same in any unit (UQ on heterogeneous data, §2.2.2), however far columns differ."""
    rng = np.random.default_rng(seed)
    features, probes = ace_like(rng, 80, 6), ace_like(rng, 30, 6)
    active = ActiveSet.fit(features)
    scale = 2.0 ** rng.integers(-40, 40, 6) * size
    other = ActiveSet.from_rows(features[active.indices] * scale)
    np.testing.assert_allclose(other.grade(probes * scale), active.grade(probes), rtol=1e-6)
    fitted = ActiveSet.fit(features * scale)
    assert fitted.grade(features * scale).max() <= 1 + 1e-6


def test_any_invertible_change_of_features_keeps_the_grades(rng):
    features, probes, change = ace_like(rng, 200, 6), ace_like(rng, 9, 6), rng.normal(size=(6, 6))
    active = ActiveSet.fit(features)
    other = ActiveSet.from_rows(active.rows @ change)
    np.testing.assert_allclose(other.grade(probes @ change), active.grade(probes), rtol=1e-8)


def test_blocks_change_nothing(rng, monkeypatch, tmp_path):
    features = ace_like(rng, 3000, 20)
    whole = ActiveSet.fit(features)
    monkeypatch.setattr(rows_module, "BLOCK_BYTES", 0)  # 64 rows a block
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    blocks = ActiveSet.fit(mapped)
    np.testing.assert_array_equal(blocks.indices, whole.indices)
    np.testing.assert_allclose(blocks.grade(mapped), whole.grade(features))


def test_nothing_of_the_size_of_the_features_is_allocated(rng, monkeypatch, tmp_path):
    """80 MB on disk; what is allocated beside it are blocks, pools and a few numbers per row."""
    path, n, m = tmp_path / "features.npy", 200_000, 50
    mapped = np.lib.format.open_memmap(path, "w+", float, (n, m))
    for start in range(0, n, 20_000):
        mapped[start : start + 20_000] = rng.normal(size=(20_000, m))
    monkeypatch.setattr(rows_module, "BLOCK_BYTES", 1_000_000)
    ActiveSet.fit(mapped[:1000])  # imports
    tracemalloc.start()
    ActiveSet.fit(mapped).grade(mapped)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_ill_conditioned_features_are_handled(rng):
    """Polynomials of one variable: columns that nearly depend on each other (condition 1e8)."""
    x = rng.uniform(0, 1, 3000)
    features = x[:, None] ** np.arange(12)
    active = ActiveSet.fit(features)
    assert active.grade(features).max() <= 1 + 1e-5
    assert active.grade([1.05 ** np.arange(12.0)])[0] > 2
    assert active.grade([0.5 ** np.arange(12.0)])[0] <= 1 + 1e-5


@pytest.mark.parametrize("kind", [list, np.float32, "view"])
def test_features_may_come_in_other_forms(rng, kind):
    features = np.asarray(ace_like(rng, 200, 4), np.float32)
    given_as = {list: features.tolist(), np.float32: features}.get(
        kind, RowView(features, np.arange(200))
    )
    expected = ActiveSet.fit(features.astype(float))
    np.testing.assert_array_equal(ActiveSet.fit(given_as).indices, expected.indices)


# --- updates ----------------------------------------------------------------------------------


def enlarging(rng, active):
    """Return a row of grade 1.05."""
    row = rng.normal(size=(1, active.n_features))
    return row * 1.05 / active.grade(row)


def test_a_thousand_rank_one_updates_are_recomputation(rng):
    m = 20
    active = ActiveSet.fit(rng.normal(size=(100, m)))
    n_rows = 100
    for _ in range(1000):
        n_rows += 1
        assert active.add(enlarging(rng, active)) == 1
        error = np.abs(active.inverse - np.linalg.inv(active.rows)).max()
        assert error < 1e-8 * np.abs(active.inverse).max()
    assert active.indices.max() < n_rows
    probes = rng.normal(size=(50, m))
    fresh = ActiveSet.from_rows(active.rows)
    np.testing.assert_allclose(active.grade(probes), fresh.grade(probes), rtol=1e-8)


def test_updates_without_a_fresh_inverse_stay_close_too(rng, monkeypatch):
    monkeypatch.setattr("atomate2_alpot.uncertainty.extrapolation.MIN_REFRESH", 10**9)
    active = ActiveSet.fit(rng.normal(size=(100, 20)))
    for _ in range(1000):
        assert active.add(enlarging(rng, active)) == 1
    error = np.abs(active.inverse @ active.rows - np.eye(20)).max()
    assert error < 1e-8


def test_rows_in_directions_that_were_hardly_spanned_leave_an_inverse(rng):
    """As strained bulk, then defects: the rank-one formula alone loses as many digits."""
    m, mixed = 30, rng.normal(size=(30, 30))
    sizes = np.where(np.arange(m) < 10, 1.0, 1e-9)
    active = ActiveSet.fit(rng.normal(size=(100, m)) * sizes @ mixed, complete=1e-6)
    for _ in range(5):
        frame = rng.normal(size=(40, m)) * np.geomspace(1, 1e-3, m) @ mixed
        assert active.add(frame) > 0
        assert active.grade(frame).max() < 1 + 1e-6
        fresh = np.linalg.inv(active.rows)
        np.testing.assert_allclose(active.inverse, fresh, atol=1e-8 * np.abs(fresh).max())


def test_adding_a_frame_multiplies_the_volume_by_its_grade(rng):
    active = ActiveSet.fit(rng.normal(size=(50, 6)))
    row, before = 3 * rng.normal(size=(1, 6)), active.log_volume
    grade = active.grade(row)[0]
    assert grade > 1
    assert active.add(row) == 1
    assert active.log_volume == pytest.approx(before + np.log(grade))
    assert active.grade(row)[0] == pytest.approx(1)
    assert 50 in active.indices


def test_a_frame_of_many_atoms_interpolates_once_added(rng):
    active = ActiveSet.fit(rng.normal(size=(50, 6)))
    frame = 2 * rng.normal(size=(40, 6))
    assert active.add(frame) >= 1
    assert active.grade(frame).max() <= 1 + 1e-6
    assert active.add(frame) == 0
    known = [i - 50 for i in active.indices if 50 <= i < 90]
    np.testing.assert_allclose(active.rows[active.indices >= 50], frame[known])


def test_a_frame_that_interpolates_changes_nothing(rng):
    features = rng.normal(size=(50, 6))
    active = ActiveSet.fit(features)
    rows = active.rows
    assert active.add(features[:10]) == 0
    np.testing.assert_array_equal(active.rows, rows)


# --- completion and refusals ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.ones((30, 4)), "span 1 of 4 directions .all rows are equal"),
        (np.zeros((30, 4)), r"span 0 of 4 .*columns \[0, 1, 2, 3\] are zero"),
        (np.eye(5)[:3], "3 rows of features span 3 of 5 directions .at least 5 rows"),
        (np.outer(np.arange(1.0, 9), [1.0, 2, 3]), "span 1 of 3"),
        (np.zeros((0, 4)), "no rows"),
        (np.zeros(4), r"shape \(4,\); give \(n, m\)"),
        (np.zeros((3, 0)), r"shape \(3, 0\)"),
        (np.array([[1.0, 2], [np.nan, 1], [3, 4]]), "feature 0 of row 1 is NaN"),
        (np.array([[1.0, 2], [2, np.inf], [3, 4]]), "feature 1 of row 1 is NaN or inf"),
        (np.full((4, 2), 1e300), "too large"),
    ],
)
def test_what_determines_no_active_set_is_refused(features, message):
    with pytest.raises(FeatureError, match=message):
        ActiveSet.fit(features)


def test_a_nearly_dependent_column_is_refused(rng):
    features = rng.normal(size=(100, 5))
    features[:, 4] = features[:, :4].sum(axis=1)
    with pytest.raises(FeatureError, match="span 4 of 5 directions; add frames, .*complete=1e-6"):
        ActiveSet.fit(features)


def test_missing_directions_can_be_completed(rng):
    features = rng.normal(size=(100, 3)) @ rng.normal(size=(3, 8))
    active = ActiveSet.fit(features, complete=1e-6)
    assert (active.indices == -1).sum() == 5
    assert active.grade(features).max() <= 1 + 1e-6
    assert active.grade(rng.normal(size=(20, 8))).min() > 1e3
    inside = ActiveSet.fit(features @ np.linalg.pinv(features[:3]))  # the same in 3 coordinates
    probes = rng.normal(size=(20, 3)) @ features[:3]
    expected = inside.grade(probes @ np.linalg.pinv(features[:3]))
    np.testing.assert_allclose(active.grade(probes), expected, rtol=1e-6)


def test_what_rounding_spans_is_completed_too(rng):
    """As functions that symmetry ties to each other, in bulk crystals: γ stays below 1/complete."""
    features = rng.normal(size=(60, 4)) @ rng.normal(size=(4, 7))
    noisy = features + 1e-8 * rng.normal(size=features.shape)
    assert (ActiveSet.fit(noisy).indices >= 0).all()
    active = ActiveSet.fit(noisy, complete=1e-6)
    assert (active.indices < 0).sum() == 3
    assert active.grade(noisy).max() <= 1 + 1e-6
    assert 1e3 < active.grade(rng.normal(size=(20, 7))).max() < 1e7


def test_completed_directions_give_way_to_real_ones(rng):
    features = rng.normal(size=(100, 8))
    active = ActiveSet.fit(features[:3], complete=1e-6)
    for row in features[3:]:
        active.add(row[None])
    assert (active.indices >= 0).all()
    assert active.grade(features[active.indices]).max() == pytest.approx(1)


@pytest.mark.parametrize("complete", [0.0, -1e-6, 2.0])
def test_a_completion_must_be_small(complete):
    with pytest.raises(FeatureError, match="small fraction"):
        ActiveSet.fit(np.ones((5, 2)), complete=complete)


def test_features_of_another_fit_are_refused(rng):
    active = ActiveSet.fit(rng.normal(size=(20, 4)))
    for wrong in (np.zeros((3, 5)), np.zeros(4)):
        with pytest.raises(FeatureError, match=r"give \(n, 4\), as in the fit"):
            active.grade(wrong)
    with pytest.raises(FeatureError, match="row 1 of the features is NaN"):
        active.grade([[0, 0, 0, 0], [0, np.nan, 0, 0]])
    with pytest.raises(FeatureError, match="row 0 of the features is NaN"):
        active.add([[0, np.nan, 0, 0]])
    assert len(active.grade(np.zeros((0, 4)))) == 0
    assert active.add(np.zeros((0, 4))) == 0


def test_rows_of_a_set_must_be_independent():
    with pytest.raises(FeatureError, match="must be independent"):
        ActiveSet.from_rows(np.ones((3, 3)))
    with pytest.raises(FeatureError, match="square"):
        ActiveSet.from_rows(np.ones((3, 4)))
