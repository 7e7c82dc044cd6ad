"""Units, conversions, and the one table of metric names.

Inside the package everything is in ASE's units: eV, Å, eV/Å, eV/Å³, with the stress
positive under tension and Voigt order xx yy zz yz xz xy. Foreign units are converted
once, where the data enters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EV_PER_A3_TO_GPA: float = 160.21766208
"""1 eV/Å³ in GPa (CODATA 2014, the value ASE's ``units.GPa`` is built on)."""

EV_PER_A3_TO_KBAR: float = 10.0 * EV_PER_A3_TO_GPA
"""1 eV/Å³ in kBar. VASP prints kBar with the opposite sign (positive = compression)."""


EV_PER_A_PER_HARTREE_PER_BOHR: float = 51.42206747
"""eV/Å in one Ha/bohr (CODATA 2018)."""


def vasp_stress_to_ase(stress_kbar: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert a stress as VASP prints it to ASE's unit and sign.

    Parameters
    ----------
    stress_kbar : array
        kBar, positive under compression.

    Returns
    -------
    array of the same shape
        eV/Å³, positive under tension.
    """
    return -stress_kbar / EV_PER_A3_TO_KBAR


@dataclass(frozen=True)
class Metric:
    """One measurable quantity: how it is keyed, shown and in which unit.

    Parameters
    ----------
    key : str
        Name in documents.
    label : str
        Name in figures and tables.
    unit : str
        Unit of the stored value.
    shown_unit : str
        Unit in figures and tables.
    scale : float
        Factor from ``unit`` to ``shown_unit``.
    """

    key: str
    label: str
    unit: str
    shown_unit: str
    scale: float


def _metric(key: str, label: str, unit: str, shown_unit: str, scale: float = 1e3) -> Metric:
    return Metric(key, label, unit, shown_unit, scale)


METRICS: dict[str, Metric] = {
    m.key: m
    for m in (
        _metric("energy_mae", "energy MAE", "eV/atom", "meV/atom"),
        _metric("energy_rmse", "energy RMSE", "eV/atom", "meV/atom"),
        _metric("forces_mae", "force MAE", "eV/Å", "meV/Å"),
        _metric("forces_rmse", "force RMSE", "eV/Å", "meV/Å"),
        _metric("stress_mae", "stress MAE", "eV/Å³", "meV/Å³"),
        _metric("stress_rmse", "stress RMSE", "eV/Å³", "meV/Å³"),
        _metric("energy_spread", "energy disagreement", "eV/atom", "meV/atom"),
        _metric("forces_spread", "force disagreement", "eV/Å", "meV/Å"),
        _metric("stress_spread", "stress disagreement", "eV/Å³", "meV/Å³"),
        _metric("energy_sigma", "estimated energy error", "eV/atom", "meV/atom"),
        _metric("forces_sigma", "estimated force error", "eV/Å", "meV/Å"),
        _metric("stress_sigma", "estimated stress error", "eV/Å³", "meV/Å³"),
        _metric("grade", "extrapolation grade γ", "", "γ", 1.0),
        _metric("formation_energy", "formation energy", "eV/atom", "eV/atom", 1.0),
        _metric("max_force", "largest force", "eV/Å", "eV/Å", 1.0),
        _metric("mean_stress", "mean normal stress", "eV/Å³", "eV/Å³", 1.0),
    )
}
"""The table every document, figure and printed table takes names and units from."""
