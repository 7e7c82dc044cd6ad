"""A moment tensor potential that trains in a second, and frames that one labelled."""

from __future__ import annotations

import numpy as np
from motep.potentials.mtp.data import BasisData, MTPData

from atomate2_alpot.potentials.mtp_file import untrained
from atomate2_alpot.schemas import Frames, Labels
from atomate2_alpot.train import MtpSettings
from atomate2_alpot.train.mtp_loss import LabelledSet
from atomate2_alpot.train.run import TrainingRun

E0S = {"Al": -3.0, "Ni": -5.0}
TINY = MtpSettings(
    level=4, cutoff=4.0, min_dist=1.5, n_radial_basis=4, max_steps=40, tolerance=1e-6
)


def teacher(settings: MtpSettings = TINY) -> MTPData:
    """A potential of the kind of some settings, with random coefficients."""
    rng = np.random.default_rng(5)
    radial = BasisData("RBChebyshev", 1.5, settings.cutoff, settings.n_radial_basis)
    data = untrained(settings.level, radial, list(E0S))
    shape = (2, 2, data.radial_funcs_count, settings.n_radial_basis)
    data.radial_coeffs = rng.uniform(-0.5, 0.5, shape)
    data.moment_coeffs = rng.uniform(0.2, 0.5, data.alpha_scalar_moments)
    data.species_coeffs = np.array([-2.5, -5.2])
    return data


def structures(n: int, seed: int = 0) -> Frames:
    """Distorted cells of two atoms, Al and Ni."""
    rng = np.random.default_rng(seed)
    cells = 3.0 * np.eye(3) + rng.normal(0, 0.15, (n, 3, 3))
    positions = np.concatenate([np.array([[0, 0, 0], [0.5] * 3]) @ cell for cell in cells])
    positions += rng.normal(0, 0.08, positions.shape)
    return Frames.from_arrays(rng.choice([13, 28], 2 * n), positions, cells, [2] * n)


def labelled(frames: Frames, settings: MtpSettings = TINY) -> Frames:
    """Label frames by the teacher."""
    labels = LabelledSet.of(frames, settings.cutoff).predict(teacher(settings))
    return frames.with_labels(Labels(labels.energy, labels.forces, labels.stress))


def run_of(frames: Frames, n_valid: int = 4, **update) -> TrainingRun:
    options = {"settings": TINY, "e0s": E0S, "seed": 1, "name": "tiny", **update}
    return TrainingRun(train=frames[:-n_valid], valid=frames[-n_valid:], **options)
