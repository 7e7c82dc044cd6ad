"""A committee is calibrated on frames that no member has seen, or says why not."""

from __future__ import annotations

import numpy as np
import pytest

from atomate2_alpot.potentials import Committee
from atomate2_alpot.schemas import Frames, Labels, PotentialSpec
from atomate2_alpot.train.calibrate import CalibrationSettings, calibrate
from atomate2_alpot.uncertainty import (
    calibration_from_dict,
    component_points,
    component_spread,
    member_errors,
    z_statistics,
)

COMMITTEE = Committee([PotentialSpec(backend="toy", kwargs={"seed": s}) for s in range(4)])


def labelled(n: int, seed: int, factor: float = 2.0) -> Frames:
    """Distorted cells whose labels miss the committee's mean by ``factor`` spreads."""
    rng = np.random.default_rng(seed)
    cells = 5 * np.eye(3) + rng.normal(0, 0.2, (n, 3, 3))
    grid = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    positions = np.concatenate([grid @ cell for cell in cells]) + rng.normal(0, 0.15, (4 * n, 3))
    batch = Frames.from_arrays(rng.choice([13, 28], 4 * n), positions, cells, [4] * n)
    seen = COMMITTEE.predict(batch)

    def draw(values: np.ndarray) -> np.ndarray:
        return values.mean(axis=0) + factor * values.std(axis=0, ddof=1) * rng.normal(
            size=values.shape[1:]
        )

    stress = draw(seen.stress)
    upper = np.triu(stress)
    stress = upper + np.swapaxes(np.triu(stress, 1), 1, 2)
    return batch.with_labels(Labels(draw(seen.energies), draw(seen.forces), stress))


@pytest.fixture(scope="module")
def frames() -> Frames:
    return labelled(200, 4)


def test_the_factor_between_spread_and_error_is_found(frames):
    fitted = calibrate(COMMITTEE, frames, CalibrationSettings())
    unseen = labelled(200, 5)
    points = component_points(unseen, COMMITTEE.predict(unseen))
    for name in ("energy", "forces", "stress"):
        sigma = calibration_from_dict(fitted[name]).apply(points[name].spread)
        raw = z_statistics(points[name].spread, points[name].error)
        assert raw.std == pytest.approx(2, rel=0.15)
        assert z_statistics(sigma, points[name].error).std == pytest.approx(1, rel=0.15)


def test_a_property_without_enough_points_is_left_out_and_named(frames, caplog):
    few = frames[:9]  # nine energies, 108 force components
    fitted = calibrate(COMMITTEE, few, CalibrationSettings())
    assert set(fitted) == {"forces", "stress"}
    assert (
        "energy of the committee is not calibrated: 9 points with a spread above rounding"
        in caplog.text
    )


def test_a_line_is_fitted_to_frames(frames):
    """One component is no measure of an error: |error| scatters around σ by as much."""
    fitted = calibrate(COMMITTEE, frames, CalibrationSettings(kind="linear"))
    assert {d["kind"] for d in fitted.values()} == {"linear"}
    assert {d["n_points"] + d["n_left_out"] for d in fitted.values()} == {len(frames)}
    prediction = COMMITTEE.predict(frames)
    spread = [np.mean(s**2) for s in frames.split_atoms(component_spread(prediction).forces)]
    error = member_errors(frames, prediction).forces
    slope = np.sqrt(spread) @ error / (error @ error)
    assert fitted["forces"]["a"] == pytest.approx(slope)


def test_a_law_by_which_errors_fall_with_the_spread_is_left_out_and_named(frames, caplog):
    """Else a calibrated criterion would stop the loop, and a calculator give nonsense."""
    seen = COMMITTEE.predict(frames)
    spread = seen.formation_energies.std(axis=0, ddof=1)
    energy = seen.energies.mean(axis=0) + frames.n_atoms * 1e-6 / spread
    labels = Labels(energy, frames.forces, frames.stress)
    fitted = calibrate(COMMITTEE, frames.with_labels(labels), CalibrationSettings())
    assert set(fitted) == {"forces", "stress"}
    assert "energy of the committee is not calibrated: b = -" in caplog.text


def test_labels_without_stress_calibrate_the_rest(frames):
    labels = Labels(frames.energy, frames.forces, np.full((len(frames), 3, 3), np.nan))
    fitted = calibrate(COMMITTEE, frames.with_labels(labels), CalibrationSettings())
    assert set(fitted) == {"energy", "forces"}


def test_without_a_held_out_frame_nothing_is_calibrated(frames, caplog):
    assert calibrate(COMMITTEE, frames[:0], CalibrationSettings()) == {}
    assert "no frame is held out" in caplog.text
