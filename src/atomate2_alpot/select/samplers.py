"""Samplers: from the candidates that passed the criterion to those that are labelled."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from atomate2_alpot.schemas import Frames, PotentialSpec, Settings
from atomate2_alpot.select.descriptors import DESCRIPTORS, describe
from atomate2_alpot.select.direct import direct_sample, principal_components

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sample:
    """What a sampler chose.

    Parameters
    ----------
    indices : array of int, shape (n,)
        Chosen frames, ascending.
    coordinates : array, shape (S, 2)
        A map of all frames, for the report; NaN for a frame that could not be described.
    labels : array of int, shape (S,)
        Cluster of each frame; -1 where it has none.
    info : dict
        What to keep in the document.
    """

    indices: NDArray[np.int64]
    coordinates: NDArray[np.float64]
    labels: NDArray[np.int64]
    info: dict[str, Any]


class Sampler(Protocol):
    """The contract: at most ``budget`` frames, the same for any order of the same frames."""

    def sample(self, frames: Frames, budget: int, seed: int) -> Sample:
        """Choose frames."""
        ...


class DirectSampler(Settings):
    """DIRECT sampling of a budget (see :func:`direct_sample`)."""

    kind: Literal["direct"] = "direct"
    descriptor: str = Field(
        "composition_rdf", description="composition_rdf (no model), or model (features of `spec`)."
    )
    spec: PotentialSpec | None = Field(
        None, description="Potential whose features describe frames; MP-ALOE uses M3GNet's."
    )
    threshold_init: float = Field(0.1, gt=0, description="First BIRCH radius.")
    k_per_cluster: int | None = Field(
        None,
        gt=0,
        description="Frames per cluster, as in the paper (5), capped by the budget; null = as many "
        "clusters as the budget allows, each giving in turn.",
    )

    @field_validator("descriptor")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in DESCRIPTORS:
            raise ValueError(f"descriptor {name!r}: choose from {sorted(DESCRIPTORS)}")
        return name

    def sample(self, frames: Frames, budget: int, seed: int) -> Sample:
        """Choose frames; those that cannot be described are left out and counted.

        Raises
        ------
        ValueError
            If no frame can be described.
        """
        features, rows = _described(frames, self.descriptor, self.spec)
        result = direct_sample(
            features,
            k_per_cluster=self.k_per_cluster or 1,
            threshold_init=self.threshold_init,
            budget=None if self.k_per_cluster else budget,
            seed=seed,
        )
        indices = rows[result.indices]
        if len(indices) > budget:
            order = np.argsort(np.array(frames.frame_id)[indices])
            indices = np.sort(np.random.default_rng(seed).choice(indices[order], budget, False))
        labels = np.full(len(frames), -1)
        labels[rows] = result.labels
        return Sample(
            indices,
            _spread_out(result.coordinates[:, :2], rows, len(frames)),
            labels,
            {
                **self.model_dump(mode="json"),
                "n_clusters": result.n_clusters,
                "threshold": result.threshold,
                "n_not_described": len(frames) - len(rows),
            },
        )


class RandomSampler(Settings):
    """Uniformly random frames: the baseline."""

    kind: Literal["random"] = "random"

    def sample(self, frames: Frames, budget: int, seed: int) -> Sample:
        """Choose frames."""
        order = np.argsort(np.array(frames.frame_id))
        n = min(budget, len(frames))
        indices = np.sort(np.random.default_rng(seed).choice(order, n, replace=False))
        features, rows = _described(frames, "composition_rdf", None)
        coordinates = _spread_out(principal_components(features)[:, :2], rows, len(frames))
        return Sample(indices, coordinates, np.full(len(frames), -1), self.model_dump(mode="json"))


def _described(
    frames: Frames, descriptor: str, spec: PotentialSpec | None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the features of the frames that can be described, and which these are."""
    features = describe(frames, descriptor, spec)
    rows = np.flatnonzero(np.isfinite(features).all(axis=1)) if features.size else np.arange(0)
    name = descriptor if spec is None else f"{descriptor} ({spec.label})"
    if len(frames) and not len(rows):
        raise ValueError(
            f"descriptor {name} describes none of {len(frames)} frames (NaN or nothing for each); "
            f"does it know their elements {frames.elements}? Else choose composition_rdf"
        )
    if len(rows) < len(frames):
        missing = np.setdiff1d(np.arange(len(frames)), rows)
        logger.warning(
            "descriptor %s: NaN for %d of %d frames, which are left out (first: %s)",
            name,
            len(missing),
            len(frames),
            [frames.frame_id[s] for s in missing[:3]],
        )
    return features[rows], rows


def _spread_out(
    coordinates: NDArray[np.float64], rows: NDArray[np.int64], n: int
) -> NDArray[np.float64]:
    out = np.full((n, 2), np.nan)
    out[rows] = coordinates
    return out


SAMPLERS: dict[str, type[DirectSampler] | type[RandomSampler]] = {
    "direct": DirectSampler,
    "random": RandomSampler,
}
"""``kind`` in a config file -> class."""
