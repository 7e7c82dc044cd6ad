"""Thresholds against their definitions; what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from atomate2_alpot.schemas import Frames
from atomate2_alpot.uncertainty import (
    LinearCalibration,
    PowerLawCalibration,
    atom_factors,
    calibrated_threshold,
    element_factors,
    iqr_threshold,
    quantile_threshold,
)


def slow_quantile(values, q):
    """Linear interpolation between order statistics."""
    values = sorted(values)
    place = q * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (place - low) * (values[high] - values[low])


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_iqr_and_quantile_are_their_definition(rng, n):
    errors = rng.exponential(size=n)
    q1, q3 = slow_quantile(errors, 0.25), slow_quantile(errors, 0.75)
    assert iqr_threshold(errors) == pytest.approx(q3 + 1.5 * (q3 - q1))
    assert iqr_threshold(errors, 3.0) == pytest.approx(q3 + 3 * (q3 - q1))
    assert quantile_threshold(errors, 0.9) == pytest.approx(slow_quantile(errors, 0.9))


def test_calibrated_is_the_spread_of_the_target_error():
    assert calibrated_threshold(LinearCalibration(0.4), 0.1) == pytest.approx(0.04)
    law = PowerLawCalibration(2.0, 0.7)
    assert law.apply(calibrated_threshold(law, 0.1)) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("values", "message"),
    [([], "there are no"), ([1, np.nan], "NaN"), ([1, -1], "negative"), ([np.inf], "infinity")],
)
def test_bad_errors_are_refused(values, message):
    for call in (iqr_threshold, lambda v: quantile_threshold(v, 0.5)):
        with pytest.raises(ValueError, match=message):
            call(values)


def test_bad_numbers_are_refused():
    with pytest.raises(ValueError, match="quantile is 2"):
        quantile_threshold([1.0], 2)
    for target in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="target error is"):
            calibrated_threshold(LinearCalibration(1.0), target)


@pytest.fixture
def frames():
    return Frames.from_arrays(
        [2, 2, 26, 26, 8], np.zeros((5, 3)) + np.arange(5)[:, None], [np.eye(3) * 9] * 2, [3, 2]
    )


def test_elements_count_once_a_frame(frames):
    found = element_factors(frames, {"He": 15.0, "O": 2.0, "U": 4.0})
    np.testing.assert_allclose(found, [15, 2])
    np.testing.assert_allclose(atom_factors(frames, {"He": 15.0, "O": 2}), [15, 15, 1, 1, 2])
    np.testing.assert_allclose(element_factors(frames, {}), 1)


@pytest.mark.parametrize(
    ("factors", "message"),
    [({"X": 1.0}, "'X' is no element"), ({"Hf": 0.0}, "Hf has 0"), ({"Zz": 2.0}, "'Zz' is no")],
)
def test_bad_factors_are_refused(frames, factors, message):
    with pytest.raises(ValueError, match=message):
        element_factors(frames, factors)
