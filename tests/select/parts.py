"""What the tests of criteria and samplers share."""

from __future__ import annotations

import numpy as np

from atomate2_alpot.potentials import Committee
from atomate2_alpot.schemas import CommitteeDoc, CommitteePrediction, Frames, PotentialSpec
from atomate2_alpot.structures import CandidateSpace, aflow_prototypes
from atomate2_alpot.uncertainty import LinearCalibration, PowerLawCalibration

ALL = {"formation_energy": None, "max_force": None, "mean_stress": None}
"""No limit on what is physical."""

LAWS = {
    "energy": LinearCalibration(2.0),
    "forces": PowerLawCalibration(1.5, 0.8),
    "stress": PowerLawCalibration(0.7, 1.2),
}


def toy(seed: int, **kwargs) -> PotentialSpec:
    return PotentialSpec(backend="toy", kwargs={"seed": seed, **kwargs})


def committee(**laws) -> CommitteeDoc:
    given = {name: law.as_dict() for name, law in laws.items()}
    return CommitteeDoc(members=[toy(1), toy(2), toy(3)], calibrations=given)


def candidates(n: int = 40, elements=("Al", "Ni", "O"), largest: int = 4) -> Frames:
    return CandidateSpace(aflow_prototypes((2, largest)), list(elements), seed=1).propose(0, n, 2)


def predict(frames: Frames) -> CommitteePrediction:
    return Committee([toy(1), toy(2), toy(3)]).predict(frames)


def ids(frames: Frames, indices) -> set[str]:
    return {frames.frame_id[i] for i in np.asarray(indices)}


def crystal(number: int, edge: float, n: int = 1) -> Frames:
    """Return ``n`` simple cubic cells, each a little larger than the one before."""
    edges = edge * (1 + 0.01 * np.arange(n))
    return Frames.from_arrays(
        [number] * n, np.zeros((n, 3)), [np.eye(3) * e for e in edges], [1] * n
    )
