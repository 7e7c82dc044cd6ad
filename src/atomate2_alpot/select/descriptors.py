"""Feature vectors of frames for DIRECT: a potential's own, or a cheap one without a model."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from functools import cache

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from numpy.typing import NDArray

from atomate2_alpot.potentials import FeaturePredictor, load_predictor
from atomate2_alpot.schemas import Frames, PotentialSpec

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
    from matscipy.neighbours import neighbour_list

    properties = element_properties()
    rows = []
    for s in range(len(frames)):
        own = slice(frames.offsets[s], frames.offsets[s + 1])
        z = frames.numbers[own]
        i, j, r = neighbour_list(
            "ijd",
            positions=frames.positions[own],
            cell=frames.cell[s],
            pbc=frames.pbc[s],
            cutoff=CUTOFF,
        )
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


@cache
def element_properties() -> NDArray[np.float64]:
    """Return number, group, period, electronegativity, covalent radius by Z, shape (119, 5).

    Electronegativities that are not defined (some noble gases) are set to zero.
    """
    import warnings

    from pymatgen.core import Element

    table = np.zeros((119, 5))
    for z in range(1, 119):
        element = Element(chemical_symbols[z])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            electronegativity = np.nan_to_num(element.X)
        table[z] = z, element.group, element.row, electronegativity, covalent_radii[z]
    return table


def model_features(frames: Frames, spec: PotentialSpec) -> NDArray[np.float64]:
    """Describe frames by the learned features of a potential, shape (S, D).

    Raises
    ------
    ValueError
        If the backend has no features.
    """
    predictor = load_predictor(spec)
    if not isinstance(predictor, FeaturePredictor):
        raise ValueError(
            f"sampler.spec: backend {spec.backend!r} has no features; use chgnet, mace or matgl, "
            "or descriptor: composition_rdf"
        )
    return predictor.features(frames)


def _of_model(frames: Frames, spec: PotentialSpec | None) -> NDArray[np.float64]:
    if spec is None:
        raise ValueError("sampler.spec is not set: descriptor 'model' needs a PotentialSpec")
    return model_features(frames, spec)


def _plain(frames: Frames, spec: PotentialSpec | None) -> NDArray[np.float64]:
    if spec is not None:
        raise ValueError("sampler.spec is set, but descriptor 'composition_rdf' uses no model")
    return composition_rdf(frames)


DESCRIPTORS: dict[str, Callable[[Frames, PotentialSpec | None], NDArray[np.float64]]] = {
    "composition_rdf": _plain,
    "model": _of_model,
}
"""Name in a config file -> function."""


def describe(frames: Frames, descriptor: str, spec: PotentialSpec | None) -> NDArray[np.float64]:
    """Compute a registered descriptor.

    Raises
    ------
    ValueError
        If there is no such descriptor, naming the nearest.
    """
    if descriptor not in DESCRIPTORS:
        near = get_close_matches(descriptor, DESCRIPTORS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"descriptor {descriptor!r}{hint} (known: {sorted(DESCRIPTORS)})")
    return DESCRIPTORS[descriptor](frames, spec)
