"""Diagnostics against loops; what a perfect and a useless σ give; figures; refusals."""

from __future__ import annotations

from math import erf, sqrt

import numpy as np
import pytest
from scipy.stats import spearmanr

from atomate2_alpot.uncertainty import (
    LinearCalibration,
    PowerLawCalibration,
    figures,
    rates_along,
    reliability,
    sparsification,
    spearman,
    threshold_maps,
    z_statistics,
)


@pytest.fixture
def points(rng):
    sigma = np.exp(rng.normal(-2, 0.8, 400))
    return sigma, rng.normal(0, sigma)


def test_z_is_its_definition(points):
    sigma, error = points
    found = z_statistics(np.r_[sigma, 0], np.r_[error, 1e-3])
    z = [e / s for s, e in zip(sigma, error, strict=True)]
    mean = sum(z) / 400
    assert found.mean == pytest.approx(mean)
    assert found.std == pytest.approx(sqrt(sum((x - mean) ** 2 for x in z) / 400))
    assert found.within_1 == sum(abs(x) <= 1 for x in z) / 400
    assert found.within_2 == sum(abs(x) <= 2 for x in z) / 400
    assert (found.n_points, found.n_left_out) == (400, 1)


def test_reliability_is_its_definition(points):
    sigma, error = points
    found = reliability(sigma, error, n_levels=9, n_bins=8)
    np.testing.assert_allclose(found.expected, np.arange(1, 10) / 10)
    for p, share in zip(found.expected, found.observed, strict=True):
        # |z| lies in the central interval of p when erf(|z| / √2) ≤ p
        inside = sum(erf(abs(e) / s / sqrt(2)) <= p for s, e in zip(sigma, error, strict=True))
        assert share == inside / 400
    expected = sum(abs(o - p) for o, p in zip(found.observed, found.expected, strict=True)) / 9
    assert found.calibration_error == pytest.approx(expected)
    order = sorted(range(400), key=lambda i: sigma[i])
    for b in range(8):
        group = order[50 * b : 50 * b + 50]
        assert found.bin_sigma[b] == pytest.approx(sqrt(sum(sigma[i] ** 2 for i in group) / 50))
        assert found.bin_error[b] == pytest.approx(sqrt(sum(error[i] ** 2 for i in group) / 50))


@pytest.mark.parametrize(("factor", "sign"), [(1, 0), (0.3, -1), (3, 1)])
def test_reliability_tells_too_small_from_too_large(rng, factor, sign):
    sigma = np.exp(rng.normal(-2, 0.8, 20_000))
    found = reliability(factor * sigma, rng.normal(0, sigma))
    if sign == 0:
        assert found.calibration_error < 0.01
    else:
        assert (np.sign(found.observed - found.expected) == sign).all()
        assert found.calibration_error > 0.2


def test_spearman_is_scipy_s_and_sees_ranks_alone(points):
    sigma, error = points
    sigma = sigma.round(1)  # ties
    assert spearman(sigma, error) == pytest.approx(spearmanr(sigma, np.abs(error)).statistic)
    assert spearman(sigma**3, error) == pytest.approx(spearman(sigma, error))
    assert spearman(sigma, sigma) == pytest.approx(1)


def slow_rates(spread, error, tau, eps):
    """TrainsPot, eqs. (3) and (4)."""
    tp = sum(s > tau and e > eps for s, e in zip(spread, error, strict=True))
    fn = sum(s <= tau and e > eps for s, e in zip(spread, error, strict=True))
    fp = sum(s > tau and e <= eps for s, e in zip(spread, error, strict=True))
    tpr = tp / (tp + fn) if tp + fn else np.nan
    return tpr, tp / (tp + fp) if tp + fp else np.nan


def test_maps_are_their_definition(points):
    spread, error = points[0], np.abs(points[1])
    taus, epss = np.r_[0, spread[3], 0.1, 0.3, 99], np.r_[0, 0.05, error[7], 0.6, 99]
    taus, epss = np.sort(taus), np.sort(epss)
    found = threshold_maps(spread, points[1], taus, epss)
    for i, tau in enumerate(taus):
        for j, eps in enumerate(epss):
            expected = slow_rates(spread, error, tau, eps)
            np.testing.assert_equal((found.tpr[i, j], found.ppv[i, j]), expected)


def test_maps_choose_their_thresholds(points):
    found = threshold_maps(*points)
    assert found.tpr.shape == (50, 50)
    assert found.spread[0] == pytest.approx(np.quantile(points[0], 0.01))


def test_a_perfect_spread_has_perfect_rates_along_its_line(rng):
    error = rng.exponential(size=500)
    calibration = LinearCalibration(0.4)
    found = rates_along(calibration, 0.4 * error, error, [0.5, 1.0, 2.0])
    np.testing.assert_allclose(found.tpr, 1)
    np.testing.assert_allclose(found.ppv, 1)
    np.testing.assert_allclose(found.spread, [0.2, 0.4, 0.8])


def test_rates_along_a_line_are_their_definition(points):
    law = PowerLawCalibration(1.3, 0.9)
    found = rates_along(law, points[0], points[1], [0.1, 0.2])
    for k, eps in enumerate([0.1, 0.2]):
        expected = slow_rates(points[0], np.abs(points[1]), float(law.invert(eps)), eps)
        assert (found.tpr[k], found.ppv[k]) == expected


def test_sparsification_is_its_definition(points):
    sigma, error = points
    found = sparsification(sigma, error)
    total = sqrt(sum(e * e for e in error) / 400)
    for k in (0, 1, 17, 200, 399):
        for curve, key in ((found.error, sigma), (found.oracle, np.abs(error))):
            rest = sorted(range(400), key=lambda i: -key[i])[k:]
            left = sqrt(sum(error[i] ** 2 for i in rest) / len(rest))
            assert curve[k] == pytest.approx(left / total)
    assert found.removed[17] == pytest.approx(17 / 400)
    assert found.area == pytest.approx(sum(found.error) / 400)
    assert found.area_oracle == pytest.approx(sum(found.oracle) / 400)


def test_sparsification_knows_the_perfect_and_the_useless(points):
    error = points[1]
    assert sparsification(np.abs(error), error).excess == pytest.approx(0)
    assert sparsification(np.ones(400), error).area == pytest.approx(1)  # ties are no ranking
    assert sparsification(1 / np.abs(error), error).area > 1
    assert 0 < sparsification(*points).excess < 1


@pytest.mark.parametrize("function", [z_statistics, reliability, spearman, sparsification])
def test_order_does_not_matter(points, rng, function):
    order = rng.permutation(400)
    one, two = function(*points), function(points[0][order], points[1][order])
    if isinstance(one, float):
        assert one == pytest.approx(two)
        return
    for name, value in vars(one).items():
        if name != "z":
            np.testing.assert_allclose(getattr(two, name), value, err_msg=name)


FUNCTIONS = [z_statistics, reliability, spearman, sparsification, threshold_maps]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("sigma", "error", "message"),
    [
        ([1.0, 2, 3], [1.0, 2], "flat arrays"),
        ([], [], "flat arrays"),
        ([[1.0]], [[1.0]], "flat arrays"),
        ([1.0, 2, np.nan], [1.0, 2, 3], "NaN"),
        ([1.0, 2, 3], [1.0, np.inf, 3], "NaN or infinity"),
        ([1.0, -2, 3], [1.0, 2, 3], "negative"),
    ],
)
def test_bad_points_are_refused(function, sigma, error, message):
    with pytest.raises(ValueError, match=message):
        function(sigma, error)


def test_what_says_nothing_is_refused():
    with pytest.raises(ValueError, match="all 3 uncertainties are 0"):
        z_statistics(np.zeros(3), np.ones(3))
    with pytest.raises(ValueError, match="rank correlation needs 3 points"):
        spearman(np.ones(5), np.arange(5))
    with pytest.raises(ValueError, match="all errors are 0"):
        sparsification(np.ones(3), np.zeros(3))
    with pytest.raises(ValueError, match="spread_thresholds must be increasing"):
        threshold_maps(np.ones(3), np.ones(3), [2, 1], [1])
    with pytest.raises(ValueError, match="error_thresholds: no value is above 0"):
        threshold_maps(np.ones(3), np.zeros(3), [1])


def test_every_diagnostic_has_a_figure(points, tmp_path):
    calibration = PowerLawCalibration.fit(*points)
    drawn = {
        "z": figures.draw_z(z_statistics(*points), "forces"),
        "reliability": figures.draw_reliability(reliability(*points), "eV/Å"),
        "maps": figures.draw_maps(threshold_maps(*points), calibration, "eV/Å"),
        "sparsification": figures.draw_sparsification(sparsification(*points)),
        "correlation": figures.draw_correlation(*points, calibration, "eV/Å"),
    }
    for name, figure in drawn.items():
        figure.savefig(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
    left, right = drawn["reliability"].axes
    np.testing.assert_allclose(left.lines[1].get_ydata(), reliability(*points).observed)
    assert right.get_xlabel() == "RMS of σ (eV/Å)"
    assert f"{spearman(*points):.2f}" in drawn["correlation"].axes[0].get_title()
    bare = figures.draw_correlation(*points)
    assert not bare.axes[0].get_legend()
    assert len(figures.draw_maps(threshold_maps(*points)).axes[0].lines) == 0
