"""Calibrations recover what draws were made with, match a direct minimiser, refuse the rest."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.optimize import minimize

from atomate2_alpot.uncertainty import (
    CalibrationError,
    LinearCalibration,
    PowerLawCalibration,
    calibration_from_dict,
)


def draws(rng, a, b, n=20_000):
    spread = np.exp(rng.normal(-3, 1, n))
    return spread, rng.normal(0, a * spread**b)


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (2.8, 0.7), (0.3, 1.4), (5.0, 0.2)])
def test_power_law_recovers_its_parameters(rng, a, b):
    fitted = PowerLawCalibration.fit(*draws(rng, a, b))
    assert fitted.b == pytest.approx(b, abs=0.02)
    assert fitted.a == pytest.approx(a, rel=0.06)
    assert fitted.n_points == 20_000


def test_calibrated_errors_are_normal(rng):
    spread, error = draws(rng, 2.8, 0.7)
    z = error / PowerLawCalibration.fit(spread[:10_000], error[:10_000]).apply(spread)
    assert np.std(z[10_000:]) == pytest.approx(1, abs=0.02)
    assert np.mean(z[10_000:]) == pytest.approx(0, abs=0.03)


def negative_log_likelihood(a, b, spread, error):
    """CAGO, eq. (5), written out."""
    total = 0.0
    for s, e in zip(spread, error, strict=True):
        sigma = a * s**b
        total += np.log(sigma**2) + e**2 / sigma**2
    return total


def test_power_law_is_the_minimum_of_the_likelihood(rng):
    spread, error = draws(rng, 2.0, 0.8, 200)
    error[::7] = 0.0  # labels that happen to be met exactly count too
    fitted = PowerLawCalibration.fit(spread, error)
    direct = minimize(
        lambda p: negative_log_likelihood(np.exp(p[0]), p[1], spread, error),
        [0.0, 1.0],
        method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-9, "maxiter": 4000},
    )
    assert fitted.a == pytest.approx(np.exp(direct.x[0]), rel=1e-5)
    assert fitted.b == pytest.approx(direct.x[1], abs=1e-5)
    best = negative_log_likelihood(fitted.a, fitted.b, spread, error)
    for a, b in ((1.01, 0), (0.99, 0), (1, 0.01), (1, -0.01)):
        assert negative_log_likelihood(fitted.a * a, fitted.b + b, spread, error) > best


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_power_law_scales_with_the_unit(rng, scale):
    spread, error = draws(rng, 2.0, 0.8, 500)
    one = PowerLawCalibration.fit(spread, error)
    other = PowerLawCalibration.fit(spread * scale, error * scale)
    assert other.b == pytest.approx(one.b, rel=1e-8)
    np.testing.assert_allclose(other.apply(spread * scale), scale * one.apply(spread))


def test_linear_is_least_squares_through_the_origin(rng):
    spread = rng.exponential(size=50)
    error = 2.5 * spread + rng.normal(0, 0.3, 50)
    numerator = sum(s * abs(e) for s, e in zip(spread, error, strict=True))
    fitted = LinearCalibration.fit(spread, error)
    assert fitted.a == pytest.approx(numerator / sum(e * e for e in error))
    slope = np.linalg.lstsq(np.abs(error)[:, None], spread, rcond=None)[0][0]
    assert fitted.a == pytest.approx(slope)


def test_linear_recovers_its_slope_and_turns_targets_into_thresholds():
    error = np.linspace(0.01, 0.5, 40)
    fitted = LinearCalibration.fit(0.4 * error, error)
    assert fitted.a == pytest.approx(0.4)
    np.testing.assert_allclose(fitted.apply(0.4 * error), error)  # σ = D / a
    assert fitted.invert(0.1) == pytest.approx(0.04)  # τ = a·ε


@pytest.mark.parametrize("cls", [LinearCalibration, PowerLawCalibration])
def test_fit_sees_neither_order_nor_sign_nor_copies(rng, cls):
    spread, error = draws(rng, 2.0, 0.8, 300)
    order = rng.permutation(300)
    one = cls.fit(spread, error).as_dict()
    for s, e in (
        (spread[order], error[order]),
        (spread, -error),
        (np.tile(spread, 2), np.tile(error, 2)),
    ):
        other = cls.fit(s, e).as_dict()
        for key in set(one) - {"kind", "n_points"}:
            assert other[key] == pytest.approx(one[key], rel=1e-9)


@pytest.mark.parametrize(
    "calibration", [LinearCalibration(0.4, 20), PowerLawCalibration(2.0, 0.7, 20, 3)]
)
def test_documents_round_trip_through_json(calibration):
    document = json.loads(json.dumps(calibration.as_dict()))
    assert calibration_from_dict(document) == calibration
    assert type(calibration).from_dict(document) == calibration
    spreads = np.array([[0.0, 0.1], [0.2, 3.0]])
    np.testing.assert_allclose(calibration.invert(calibration.apply(spreads)), spreads)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"kind": "cubic"}, "kind is 'cubic'"),
        ({}, "kind is None"),
        ({"kind": "linear", "a": -1.0}, "a is -1.0; give a positive"),
        ({"kind": "linear", "a": float("nan")}, "give a positive"),
        ({"kind": "linear", "slope": 1.0}, "slope"),
        ({"kind": "power_law", "a": 1.0}, "'b'"),
        ({"kind": "power_law", "a": 1.0, "b": "steep"}, "give a finite number"),
    ],
)
def test_bad_documents_are_refused(document, message):
    with pytest.raises(CalibrationError, match=message):
        calibration_from_dict(document)


def test_a_document_of_the_other_kind_is_refused():
    with pytest.raises(CalibrationError, match="'power_law' calibration, not 'linear'"):
        LinearCalibration.from_dict(PowerLawCalibration(1.0, 1.0).as_dict())


GOOD = np.linspace(0.01, 1, 20)


@pytest.mark.parametrize("cls", [LinearCalibration, PowerLawCalibration])
@pytest.mark.parametrize(
    ("spread", "error", "message"),
    [
        (GOOD[:9], GOOD[:9], "9 points with a spread .* needs 10"),
        (np.zeros(50), np.ones(50), "0 points with a spread .* check that the members"),
        (GOOD, GOOD[:5], "one length"),
        (GOOD.reshape(4, 5), GOOD.reshape(4, 5), "flat arrays"),
        (GOOD, np.where(GOOD > 0.5, np.nan, 1), "values of error are not finite"),
        (np.where(GOOD > 0.5, np.inf, 1), GOOD, "values of spread are not finite"),
        (-GOOD, GOOD, "spread is negative"),
        (GOOD, 0 * GOOD, "errors are"),
    ],
)
def test_fits_refuse_what_determines_nothing(cls, spread, error, message):
    with pytest.raises(CalibrationError, match=message):
        cls.fit(spread, error)


def test_power_law_refuses_one_spread_for_all():
    with pytest.raises(CalibrationError, match="cannot be fitted to one spread"):
        PowerLawCalibration.fit(np.full(30, 0.1), np.linspace(-1, 1, 30))


def test_power_law_refuses_errors_on_one_side_only():
    error = np.where(np.arange(20) > 15, 1.0, 0.0)
    with pytest.raises(CalibrationError, match="4 of 20 errors are not 0"):
        PowerLawCalibration.fit(GOOD, error)


@pytest.mark.parametrize("cls", [LinearCalibration, PowerLawCalibration])
@pytest.mark.parametrize("rounding", [0.0, 1e-6])  # of float64, of float32
def test_points_of_symmetry_are_left_out_and_counted(cls, rounding):
    with_symmetric = cls.fit(np.r_[GOOD, [rounding] * 7], np.r_[0.5 * GOOD, [1e-4] * 7])
    without = cls.fit(GOOD, 0.5 * GOOD)
    assert with_symmetric.n_left_out == 7
    assert with_symmetric.a == without.a


@pytest.mark.parametrize("calibration", [LinearCalibration(0.4), PowerLawCalibration(2.0, 0.7)])
@pytest.mark.parametrize("value", [-0.1, float("nan")])
def test_negative_and_nan_are_not_spreads(calibration, value):
    with pytest.raises(ValueError, match="spread holds negative values or NaN"):
        calibration.apply([0.1, value])
    with pytest.raises(ValueError, match="error holds negative values or NaN"):
        calibration.invert(value)


def test_an_exponent_that_ranks_nothing_gives_no_threshold():
    with pytest.raises(ValueError, match="does not grow with the spread"):
        PowerLawCalibration(1.0, -0.1).invert(0.1)
    with pytest.raises(ValueError, match="no finite"):
        PowerLawCalibration(1.0, -0.1).apply(0.0)
