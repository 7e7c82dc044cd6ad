"""Errors of predictions that need no model: what a learning curve has to be read against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from atomate2_alpot.schemas import ParityTable


def trivial_errors(
    energies: Sequence[tuple[str, float, bool]], parity: ParityTable | None
) -> dict[str, float]:
    """Return the mean absolute errors of knowing next to nothing.

    Energies: one energy per element, fitted by least squares to the energies per atom of the
    training labels. Forces and stress: zero, over the very components that the committee is
    judged on.

    Parameters
    ----------
    energies : sequence of (formula, energy in eV/atom, whether it is in the test set)
    parity : ParityTable, optional
        Of the test set.

    Returns
    -------
    dict
        ``energy_mae``, ``forces_mae``, ``stress_mae`` (units.METRICS), those that can be told.
    """
    errors = {}
    train = [(f, e) for f, e, held_out in energies if not held_out]
    test = [(f, e) for f, e, held_out in energies if held_out]
    if train and test:
        composition, symbols = _fractions([f for f, _ in train + test])
        target = np.array([e for _, e in train + test])
        fitted = composition[: len(train)]
        # an element, or a mix of them, that no training label determines has no baseline
        if np.linalg.matrix_rank(fitted) == len(symbols):
            per_element, *_ = np.linalg.lstsq(fitted, target[: len(train)])
            difference = (composition @ per_element - target)[len(train) :]
            errors["energy_mae"] = float(np.abs(difference).mean())
    if parity is not None:
        quantity, reference = parity.column("quantity"), parity.column("reference")
        for name in ("forces", "stress"):
            values = reference[quantity == name]
            if len(values):
                errors[f"{name}_mae"] = float(np.abs(values).mean())
    return errors


def _fractions(formulas: list[str]) -> tuple[np.ndarray, list[str]]:
    """Return atomic fractions, shape (n, n_elements), and the symbols of the columns."""
    from pymatgen.core import Composition

    known = {f: Composition(f).fractional_composition.get_el_amt_dict() for f in set(formulas)}
    symbols = sorted({s for amounts in known.values() for s in amounts})
    rows = [[known[f].get(s, 0.0) for s in symbols] for f in formulas]
    return np.array(rows), symbols
