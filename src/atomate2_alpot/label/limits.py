"""Sanity limits of labels: what no training set should contain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from atomate2_alpot.schemas import Settings


class LabelLimits(Settings):
    """A label beyond any of these is recorded as failed, with the limit as its reason."""

    max_force: float | None = Field(
        50.0, gt=0, description="Largest |F| of an atom in eV/Å; null = no limit."
    )
    max_stress: float | None = Field(
        1.0, gt=0, description="Largest |component| of the stress in eV/Å³; null = no limit."
    )
    max_energy: float | None = Field(
        100.0, gt=0, description="Largest |energy| in eV/atom; null = no limit."
    )

    def violation(
        self, energy_per_atom: float, forces: NDArray[np.float64], stress: NDArray[np.float64]
    ) -> str | None:
        """Return which limit a label breaks and by what value, or None.

        Parameters
        ----------
        energy_per_atom : float
            eV/atom.
        forces : array, shape (N, 3)
            eV/Å.
        stress : array, shape (3, 3)
            eV/Å³; NaN entries (no stress) are not judged.
        """
        finite_stress = stress[np.isfinite(stress)]
        values = {
            "max_energy": (abs(energy_per_atom), "eV/atom"),
            "max_force": (float(np.linalg.norm(forces, axis=1).max()), "eV/Å"),
            "max_stress": (float(np.abs(finite_stress).max(initial=0.0)), "eV/Å³"),
        }
        for name, (value, unit) in values.items():
            limit = getattr(self, name)
            if limit is not None and value > limit:
                return f"{name}: {value:.4g} > {limit:g} {unit}"
        return None
