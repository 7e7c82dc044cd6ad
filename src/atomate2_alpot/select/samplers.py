"""Samplers: from the candidates that passed the criterion to those that are labelled."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from atomate2_alpot.schemas import Frames, PotentialSpec, Settings
from atomate2_alpot.select.descriptors import check_descriptor, describe
from atomate2_alpot.select.direct import direct_sample, principal_components
from atomate2_alpot.select.known import NOTHING_KNOWN, Known

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
    info: dict[str, Any] = field(default_factory=dict)


class Sampler(Protocol):
    """The contract: at most ``budget`` frames, the same for any order of the same frames."""

    @property
    def needs_training(self) -> bool:
        """Whether it measures from labelled frames."""
        ...

    @property
    def needs_scores(self) -> bool:
        """Whether it ranks by what the criterion found."""
        ...

    def sample(
        self, frames: Frames, budget: int, seed: int, known: Known = NOTHING_KNOWN
    ) -> Sample:
        """Choose frames."""
        ...


class DirectSampler(Settings):
    """DIRECT sampling of a budget (see :func:`direct_sample`)."""

    needs_training: ClassVar[bool] = False
    needs_scores: ClassVar[bool] = False
    kind: Literal["direct"] = "direct"
    descriptor: str = Field(
        "composition_rdf",
        description="composition_rdf (no model), model (features of `spec`), or committee (those "
        "of the first member that screens).",
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

    @model_validator(mode="after")
    def _descriptor_fits(self) -> Self:
        check_descriptor("frame", self.descriptor, self.spec)
        return self

    def sample(
        self, frames: Frames, budget: int, seed: int, known: Known = NOTHING_KNOWN
    ) -> Sample:
        """Choose frames; those that cannot be described are left out and counted.

        Raises
        ------
        ValueError
            If no frame can be described.
        """
        features, rows = _described(frames, self.descriptor, self.spec, known)
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
    """Uniformly random frames: the baseline, and TrainsPot's choice above a threshold."""

    needs_training: ClassVar[bool] = False
    needs_scores: ClassVar[bool] = False
    kind: Literal["random"] = "random"

    def sample(
        self,
        frames: Frames,
        budget: int,
        seed: int,
        known: Known = NOTHING_KNOWN,  # noqa: ARG002
    ) -> Sample:
        """Choose frames."""
        order = np.argsort(np.array(frames.frame_id))
        n = min(budget, len(frames))
        indices = np.sort(np.random.default_rng(seed).choice(order, n, replace=False))
        return mapped(frames, indices, self.model_dump(mode="json"))


class TopSampler(Settings):
    """The frames farthest above the criterion's threshold: the worst, however alike they are."""

    needs_training: ClassVar[bool] = False
    needs_scores: ClassVar[bool] = True
    kind: Literal["top_n"] = "top_n"

    def sample(
        self, frames: Frames, budget: int, seed: int, known: Known = NOTHING_KNOWN
    ) -> Sample:
        """Choose frames; equal scores are ordered at random.

        Raises
        ------
        ValueError
            If a frame has no score.
        """
        scores = np.array([known.scores.get(i, np.nan) for i in frames.frame_id], dtype=float)
        if np.isnan(scores).any():
            raise ValueError(
                f"sampler top_n: {np.isnan(scores).sum()} of {len(frames)} frames have no score; "
                "choose a criterion that compares something with a threshold"
            )
        order = shuffled(frames, seed)
        best = order[np.argsort(-scores[order], kind="stable")[:budget]]
        lowest = float(scores[best].min()) if len(best) else None
        info = {
            **self.model_dump(mode="json"),
            "lowest_score": lowest if lowest is not None and np.isfinite(lowest) else None,
        }
        return mapped(frames, np.sort(best), info)


def shuffled(frames: Frames, seed: int) -> NDArray[np.int64]:
    """Return a random order of frames, the same whatever order they come in, shape (S,)."""
    order = np.argsort(np.array(frames.frame_id, dtype=str))
    return np.random.default_rng(seed).permutation(order)


def mapped(frames: Frames, indices: NDArray[np.int64], info: dict[str, Any]) -> Sample:
    """Return a sample with a map of composition and radial distribution for the report."""
    features, rows = _described(frames, "composition_rdf", None, NOTHING_KNOWN)
    coordinates = np.zeros((0, 2))
    if len(rows):
        coordinates = principal_components(features)[:, :2]
    coordinates = _spread_out(coordinates, rows, len(frames))
    return Sample(indices, coordinates, np.full(len(frames), -1), info)


def _described(
    frames: Frames, descriptor: str, spec: PotentialSpec | None, known: Known
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the features of the frames that can be described, and which these are."""
    features = describe(frames, descriptor, spec, known)
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
