"""The untrained model file of ace-jax, and writing coefficients into it."""

from __future__ import annotations

from collections.abc import Sequence
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
        If the cutoff is too short for the elements, there are too many functions, or ace-jax is
        not installed.
    """
    numbers = sorted(atomic_numbers[e] for e in elements)
    distances = _distances(numbers)
    if distances.max() >= settings.cutoff:
        raise TrainingError(
            f"train.settings.cutoff={settings.cutoff}: below the distance of neighbours of "
            f"{', '.join(elements)}, {distances.max():.2f} Å; take about twice that"
        )
    roughness = _write_basis(settings, numbers, distances, path)
    model = read_model(path)
    if model.coefficients.size > MAX_COEFFICIENTS:
        raise TrainingError(
            f"train.settings: order={settings.order}, degree={settings.degree} give "
            f"{model.coefficients.size} coefficients for {', '.join(elements)}, more than "
            f"{MAX_COEFFICIENTS}; lower them, or raise angular_cost"
        )
    return model, np.tile(roughness, len(numbers))


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
