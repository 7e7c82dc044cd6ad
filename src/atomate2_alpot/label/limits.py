"""Sanity limits of labels: what no training set should contain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pymatgen.core import Structure

from atomate2_alpot.potentials.references import references_by_least_squares
from atomate2_alpot.schemas import Frames, Settings


class LabelLimits(Settings):
    """A label beyond any of these is recorded as failed, with the limit as its reason."""

    min_distance: float | None = Field(
        0.5,
        gt=0,
        description="Shortest distance of two atoms in Å, judged before anything is computed; "
        "null = no limit.",
    )
    max_force: float | None = Field(
        50.0, gt=0, description="Largest |F| of an atom in eV/Å; null = no limit."
    )
    max_stress: float | None = Field(
        1.0, gt=0, description="Largest |component| of the stress in eV/Å³; null = no limit."
    )
    max_energy: float | None = Field(
        100.0, gt=0, description="Largest |energy| in eV/atom; null = no limit."
    )
    max_energy_deviation: float | None = Field(
        None,
        gt=0,
        description="Largest deviation in eV/atom from a fit of one energy per element to all "
        "labels of the iteration; null = no limit.",
    )

    def too_close(self, structure: Structure) -> str | None:
        """Return by how much two atoms are too close, or None."""
        if self.min_distance is None:
            return None
        *_, distances = structure.get_neighbor_list(self.min_distance)
        if len(distances) == 0:
            return None
        return f"min_distance: {distances.min():.3g} < {self.min_distance:g} Å"

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

    def energy_outliers(self, frames: Frames) -> dict[int, str]:
        """Return the frames that deviate from one energy per element, and by how much.

        The worst is left out and the rest fitted again until all that are left agree: a single
        broken energy would else drag the fit and condemn its neighbours.

        Parameters
        ----------
        frames : Frames
            Labelled.

        Returns
        -------
        dict
            Row of the frame -> which limit it breaks and by what value.
        """
        limit = self.max_energy_deviation
        kept, found = np.arange(len(frames)), {}
        while limit is not None and len(kept) > len(frames.elements):
            deviation = _deviation(frames.take(kept))
            worst = int(np.argmax(np.abs(deviation)))
            value = float(deviation[worst])
            if abs(value) <= limit:
                break
            found[int(kept[worst])] = f"max_energy_deviation: |{value:.4g}| > {limit:g} eV/atom"
            kept = np.delete(kept, worst)
        return found


def _deviation(frames: Frames) -> NDArray[np.float64]:
    """Return energies per atom less those of one fitted energy per element, shape (S,)."""
    fitted = references_by_least_squares(frames, frames.energy)
    counts = frames.composition(list(fitted))
    return (frames.energy - counts @ np.array(list(fitted.values()))) / frames.n_atoms
