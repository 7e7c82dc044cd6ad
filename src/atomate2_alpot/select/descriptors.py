"""Feature vectors of frames or atoms: a potential's own, or cheap ones without a model."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Literal, Self

import numpy as np
from ase.data import covalent_radii
from numpy.typing import NDArray
from pydantic import Field, model_validator

from atomate2_alpot.potentials import AtomFeaturePredictor, FeaturePredictor, load_predictor
from atomate2_alpot.potentials.neighbours import neighbour_pairs
from atomate2_alpot.schemas import Frames, PotentialSpec, Settings
from atomate2_alpot.select.known import Known
from atomate2_alpot.select.moments import local_moments
from atomate2_alpot.select.properties import element_properties

Per = Literal["atom", "frame"]
Describer = Callable[[Frames], NDArray[np.float64]]

CUTOFF: float = 5.0
"""Å, of the radial part."""

RADIAL_CENTRES: NDArray[np.float64] = np.linspace(0.6, 2.6, 21)
"""Distances in units of the sum of covalent radii, so that unlike elements share a scale."""

RADIAL_WIDTH: float = 0.1


def composition_rdf(frames: Frames) -> NDArray[np.float64]:
    """Describe frames by composition and radial distribution, without a model.

    Parameters
    ----------
    frames : Frames

    Returns
    -------
    array, shape (S, 53)
        Mean and standard deviation over atoms of five element properties; volume per atom
        over the atoms' covalent volume; the pair distribution, in Gaussians over
        r / (r_i + r_j), plain and weighted by the difference in electronegativity.
    """
    properties = element_properties()
    rows = []
    for s in range(len(frames)):
        own = slice(frames.offsets[s], frames.offsets[s + 1])
        z = frames.numbers[own]
        i, j, r, _ = neighbour_pairs(frames[s], CUTOFF)
        scaled = r / (covalent_radii[z[i]] + covalent_radii[z[j]])
        gauss = np.exp(-0.5 * ((scaled[:, None] - RADIAL_CENTRES) / RADIAL_WIDTH) ** 2)
        polar = np.abs(properties[z[i], 3] - properties[z[j], 3])
        table = properties[z]
        filling = frames.volume[s] / (4 / 3 * np.pi * covalent_radii[z] ** 3).sum()
        rows.append(
            np.concatenate(
                [
                    table.mean(axis=0),
                    table.std(axis=0),
                    [filling],
                    gauss.sum(axis=0) / len(z),
                    (gauss * polar[:, None]).sum(axis=0) / len(z),
                ]
            )
        )
    return np.array(rows).reshape(len(frames), -1)


PLAIN: dict[Per, dict[str, Describer]] = {
    "atom": {"local_moments": local_moments},
    "frame": {"composition_rdf": composition_rdf},
}
"""What is described -> name in a config file -> function that needs no model."""

OF_MODELS: dict[str, str] = {
    "model": "features of `spec`",
    "committee": "features of the first member of the committee that screens",
}
"""Name in a config file -> whose features."""


class Described(Settings):
    """Settings of whatever looks at candidates through features of their atoms."""

    per: Per = Field(
        "atom", description="atom: one row per environment, a set per element; frame: one per cell."
    )
    descriptor: str = Field(
        "local_moments",
        description="local_moments (atoms, no model), composition_rdf (frames, no model), model "
        "(features of `spec`), or committee (those of the first member that screens).",
    )
    spec: PotentialSpec | None = Field(None, description="Potential whose features `model` takes.")

    @model_validator(mode="after")
    def _descriptor_fits(self) -> Self:
        check_descriptor(self.per, self.descriptor, self.spec)
        return self


def check_descriptor(per: Per, descriptor: str, spec: PotentialSpec | None) -> None:
    """Raise ``ValueError`` if there is no such descriptor, or it lacks its potential.

    Parameters
    ----------
    per : {"atom", "frame"}
    descriptor : str
    spec : PotentialSpec, optional
    """
    known = [*PLAIN[per], *OF_MODELS]
    if descriptor not in known:
        near = get_close_matches(descriptor, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"descriptor {descriptor!r} per {per}{hint} (choose from {known})")
    if (descriptor == "model") != (spec is not None):
        raise ValueError(
            f"descriptor {descriptor!r}, but spec is {spec and spec.label!r}: descriptor `model` "
            "needs `spec`, the potential whose features it is, and no other uses one"
        )


def make_describer(
    per: Per, descriptor: str, spec: PotentialSpec | None, known: Known | None = None
) -> Describer:
    """Return the function that computes a registered descriptor; its model is loaded once.

    Parameters
    ----------
    per : {"atom", "frame"}
    descriptor : str
        A name of :data:`PLAIN` or :data:`OF_MODELS`.
    spec : PotentialSpec, optional
        For descriptor ``model``.
    known : Known, optional
        For descriptor ``committee``.

    Raises
    ------
    ValueError
        If there is no such descriptor, or the potential has no such features.
    """
    check_descriptor(per, descriptor, spec)
    if descriptor in PLAIN[per]:
        return PLAIN[per][descriptor]
    if descriptor == "committee":
        if known is None or known.committee is None:
            raise ValueError("descriptor `committee`: there is no committee here; give `model`")
        spec = known.committee.members[0]
    assert spec is not None  # by check_descriptor
    predictor = load_predictor(spec)
    if per == "atom" and isinstance(predictor, AtomFeaturePredictor):
        return predictor.atom_features
    if per == "frame" and isinstance(predictor, FeaturePredictor):
        return predictor.features
    raise ValueError(
        f"descriptor {descriptor!r}: backend {spec.backend!r} ({spec.label}) has no features of "
        f"{per}s; take another potential, or descriptor {next(iter(PLAIN[per]))!r}"
    )


def describe(
    frames: Frames, descriptor: str, spec: PotentialSpec | None, known: Known | None = None
) -> NDArray[np.float64]:
    """Describe frames, shape (S, D); see :func:`make_describer`."""
    return make_describer("frame", descriptor, spec, known)(frames)
