"""The untrained model file of ace-jax, and writing coefficients into it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray

from atomate2_alpot.potentials.ace import ACEModel, read_model
from atomate2_alpot.train.ace_settings import AceSettings
from atomate2_alpot.train.errors import TrainingError

Array = NDArray[np.float64]

MAX_COEFFICIENTS: int = 20_000
"""The triangle of that many takes 3 GB."""


def build_model(
    settings: AceSettings, elements: Sequence[str], path: Path
) -> tuple[ACEModel, Array]:
    """Let ace-jax choose the functions, and write the model with coefficients of zero.

    Parameters
    ----------
    settings : AceSettings
    elements : sequence of str
    path : Path
        Ends in ``.npz``.

    Returns
    -------
    ACEModel
    array, shape (Z·D,)
        γ of each coefficient; the prior takes c·γ to be alike. γ = Σ (1.5·l)^p + n^p over the
        factors of a function (ACEpotentials' smoothness prior).

    Raises
    ------
    TrainingError
        See :func:`check_basis`.
    """
    check_basis(settings, elements)
    numbers = sorted(atomic_numbers[e] for e in elements)
    roughness = _write_basis(settings, numbers, _distances(numbers), path)
    model = read_model(path)
    _check_size(model.coefficients.size, settings, elements)
    return model, np.tile(roughness, len(numbers))


def check_basis(settings: AceSettings, elements: Sequence[str]) -> None:
    """Refuse settings that make no model of these elements, without making one.

    Raises
    ------
    TrainingError
        If the cutoff is too short for the elements, or there are too many functions.
    """
    distances = _distances(sorted(atomic_numbers[e] for e in elements))
    if distances.max() >= settings.cutoff:
        raise TrainingError(
            f"train.settings.cutoff={settings.cutoff}: below the distance of neighbours of "
            f"{', '.join(elements)}, {distances.max():.2f} Å; take about twice that"
        )
    _check_size(count_coefficients(settings, len(elements)), settings, elements)


def count_coefficients(settings: AceSettings, n_elements: int) -> int:
    """Return how many coefficients a model has, or from order 4 on how many at least.

    One for each multiset of (n, l), n ≥ 1, that couples to an invariant and whose degree
    Σ (n/elements + angular_cost·l) is small enough, and for each radial function of the pair
    term; per element. From order 4 on several functions share a multiset.
    """
    n_functions, largest_l = settings.degree, int(settings.degree / settings.angular_cost)
    for order in range(1, settings.order + 1):
        for ls in combinations_with_replacement(range(largest_l + 1), order):
            if sum(ls) % 2 or max(ls) > sum(ls) - max(ls):
                continue  # does not couple to zero
            left = settings.degree - settings.angular_cost * sum(ls)
            most = int(n_elements * left + 1e-9)
            n_functions += _count_radial(tuple(sorted(Counter(ls).values())), most)
    return n_functions * n_elements


@lru_cache(maxsize=1000)  # many l make the same few patterns
def _count_radial(multiplicities: tuple[int, ...], most: int) -> int:
    """Count the choices of n ≥ 1, as a multiset for each l, whose sum is ``most`` or less."""
    by_sum = np.zeros(max(most, 0) + 1)
    by_sum[0] = 1
    for k in multiplicities:
        # partitions into k parts, by their generating function x^k / Π_j (1 − x^j), j = 1 … k
        for part in range(1, k + 1):
            for total in range(part, len(by_sum)):
                by_sum[total] += by_sum[total - part]
        by_sum = np.concatenate([np.zeros(k), by_sum])[: len(by_sum)]
    return int(by_sum.sum())


def _check_size(n: int, settings: AceSettings, elements: Sequence[str]) -> None:
    if n > MAX_COEFFICIENTS:
        raise TrainingError(
            f"train.settings: order={settings.order}, degree={settings.degree} give {n} "
            f"coefficients for {', '.join(elements)}, more than {MAX_COEFFICIENTS}; lower them, or "
            "raise angular_cost"
        )


def write_model(path: Path, coefficients: Array, e0s: Array) -> None:
    """Put coefficients, shape (Z, D), and E0s, shape (Z,), in eV into a model file."""
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    n_invariants = len(arrays["WB"])
    arrays["WB"] = coefficients[:, :n_invariants].T
    arrays["Wpair"] = coefficients[:, n_invariants:].T
    arrays["E0"] = e0s
    np.savez(path, **arrays)


def _distances(numbers: list[int]) -> Array:
    """Return typical distances of neighbours in Å, shape (Z, Z): where functions resolve most."""
    from ace_jax.basis.radial_init import BOND_LEN

    # ace-jax knows 76 elements
    own = np.array([BOND_LEN.get(z, 2 * covalent_radii[z]) for z in numbers])
    return (own[:, None] + own) / 2


def _write_basis(settings: AceSettings, numbers: list[int], distances: Array, path: Path) -> Array:
    """Write ace-jax's model, and return γ of each function, shape (D,).

    It wants JAX in float64. JAX's own switch is of the whole process, where others may rely on
    float32; this one ends with the block.
    """
    import jax
    from ace_jax.basis.export import save_npz
    from ace_jax.basis.model import build_model as build
    from ace_jax.basis.prior import smoothness_prior

    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        basis = build(
            numbers,
            settings.order,
            settings.degree,
            wL=settings.angular_cost,
            rcut=settings.cutoff,
            r0=distances,
            coupling_cache=False,  # it takes a second, and the cache is nobody's to clean
        )
        save_npz(path, basis)
    factors = [*basis.nnll, *([(n, 0)] for n in range(1, basis.meta["n_pair"] + 1))]
    if settings.smoothness == 0:
        return np.ones(len(factors))
    return smoothness_prior(factors, p=settings.smoothness)
