"""The potential that training starts from: untrained, or an earlier one."""

from __future__ import annotations

import numpy as np
from ase.data import atomic_numbers
from motep.potentials.mtp.data import BasisData, MTPData
from numpy.typing import NDArray

from atomate2_alpot.potentials.mtp_file import RADIAL_TYPE, MtpModel, read_model, untrained
from atomate2_alpot.train.errors import TrainingError
from atomate2_alpot.train.mtp_settings import MtpSettings
from atomate2_alpot.train.run import TrainingRun

MARGIN: float = 0.95
"""Of the smallest distance, where the radial functions begin."""

TOO_NEAR: float = 0.2
"""Å. Nothing is that near in a calculation that means anything."""


def first_potential(run: TrainingRun[MtpSettings], nearest: float) -> MTPData:
    """Return a potential with coefficients to start from.

    The radial coefficients are random, the moment coefficients zero, and the species coefficients
    the E0s: the first step is then a linear fit on top of the E0s. Those of ``start_from`` are
    kept, its E0s exchanged for those of the run.

    Parameters
    ----------
    run : TrainingRun
    nearest : float
        Smallest distance of two atoms in Å.

    Raises
    ------
    TrainingError
        If atoms are nearer than ``min_dist``, or the start is of another kind than the settings.
    """
    settings = run.settings
    start = None if run.start_from is None else read_model(run.start_from)
    radial = BasisData(
        RADIAL_TYPE, _inner(run, start, nearest), settings.cutoff, settings.n_radial_basis
    )
    elements = sorted(run.e0s, key=lambda e: atomic_numbers[e])
    data = untrained(settings.level, radial, elements)
    n = len(elements)
    rng = np.random.default_rng(run.seed)
    shape = (n, n, data.radial_funcs_count, settings.n_radial_basis)
    data.radial_coeffs = settings.init_scale * rng.uniform(-1, 1, shape)
    data.radial_coeffs *= _pairs_of(run, elements)[:, :, None, None]
    data.moment_coeffs = np.zeros(data.alpha_scalar_moments)
    data.species_coeffs = np.array([run.e0s[e] for e in elements])
    if start is not None:
        _take_over(data, start, elements, settings)
    data.optimized = ["moment_coeffs", "radial_coeffs"]
    if settings.fit_species:
        data.optimized.insert(1, "species_coeffs")
    return data


def _inner(run: TrainingRun[MtpSettings], start: MtpModel | None, nearest: float) -> float:
    asked = run.settings.min_dist
    if nearest < TOO_NEAR:
        raise TrainingError(
            f"two atoms of {run.name}'s frames are {nearest:.3f} Å apart; leave such frames out"
        )
    if asked is None:
        known = np.inf if start is None else float(start.data.radial_basis.min)
        return min(MARGIN * min(nearest, run.settings.cutoff), known)
    if nearest < asked:
        raise TrainingError(
            f"min_dist={asked}: two atoms of {run.name}'s frames are {nearest:.3f} Å apart; lower "
            "it, set it to null, or leave those frames out"
        )
    return asked


def _pairs_of(run: TrainingRun[MtpSettings], elements: list[str]) -> NDArray[np.bool_]:
    """Tell which elements occur together in training frames; others must not interact at random."""
    counts = run.train.composition(elements) > 0
    return np.asarray((counts[:, :, None] & counts[:, None, :]).any(axis=0))


def _take_over(data: MTPData, start: MtpModel, elements: list[str], settings: MtpSettings) -> None:
    """Put the coefficients of a start in place; radial ones for another inner end exactly."""
    old = start.data
    for name, found, asked in (
        ("cutoff", float(old.radial_basis.max), settings.cutoff),
        ("n_radial_basis", int(old.radial_basis.size), settings.n_radial_basis),
    ):
        if found != asked:
            raise TrainingError(f"{name}={asked}: start_from has {found}; they must be the same")
    for table in ("alpha_index_basic", "alpha_index_times", "alpha_moment_mapping"):
        if not np.array_equal(getattr(old, table), getattr(data, table)):
            raise TrainingError(
                f"level={settings.level}: start_from has other moments ({old.potential_name}, "
                f"{old.alpha_scalar_moments} basis functions, not {data.alpha_scalar_moments})"
            )
    places = np.array([elements.index(e) for e in start.elements])
    data.moment_coeffs = old.moment_coeffs.copy()
    data.radial_coeffs[np.ix_(places, places)] = old.radial_coeffs @ _change_of_basis(old, data)
    for place, element, value in zip(places, start.elements, old.species_coeffs, strict=True):
        data.species_coeffs[place] += value - start.e0s.get(element, data.species_coeffs[place])


def _change_of_basis(old: MTPData, new: MTPData) -> NDArray[np.float64]:
    """Return the matrix from old to new radial coefficients: polynomials of the same degree."""
    size, chebyshev = int(new.radial_basis.size), np.polynomial.chebyshev

    def values(data: MTPData) -> NDArray[np.float64]:
        lower, upper = float(data.radial_basis.min), float(data.radial_basis.max)
        x = (2 * nodes - lower - upper) / (upper - lower)
        return np.asarray(data.scaling * chebyshev.chebvander(x, size - 1), dtype=np.float64)

    lower, upper = float(new.radial_basis.min), float(new.radial_basis.max)
    nodes = (lower + upper + (upper - lower) * chebyshev.chebpts1(size)) / 2
    return np.asarray(np.linalg.solve(values(new), values(old)).T, dtype=np.float64)
