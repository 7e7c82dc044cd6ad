"""A committee as an ASE calculator: mean predictions and how far to trust them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import (
    Calculator,
    PropertyNotImplementedError,
    all_changes,
)
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from atomate2_alpot.potentials.base import PotentialError
from atomate2_alpot.potentials.committee import Committee
from atomate2_alpot.schemas import CommitteeDoc, CommitteePrediction, Frames
from atomate2_alpot.uncertainty.calibration import Calibration, calibration_from_dict

Array = NDArray[np.float64]

PROPERTIES: tuple[str, ...] = ("energy", "forces", "stress")


class CommitteeCalculator(Calculator):
    """Mean energy, forces and stress of a committee, with calibrated standard deviations.

    ``results`` holds, beside ``energy``, ``free_energy``, ``forces`` and ``stress`` (eV, eV/Å,
    eV/Å³ in Voigt order; means over members):

    - ``energy_spread``, ``forces_spread`` (N, 3), ``stress_spread`` (6,): unbiased standard
      deviations σ̂ over members (CAGO, eq. 2), the energy's of formation energies;
    - ``energy_sigma``, ``forces_sigma``, ``stress_sigma``: the same calibrated, for the
      properties that a calibration is given for. Energies are calibrated per atom and given,
      as the energy is, per cell;
    - ``atoms_sigma`` (N,): norm of ``forces_sigma`` on each atom (CAGO, eq. 9).

    Stress is there for cells with three vectors only.

    Parameters
    ----------
    committee : Committee or CommitteeDoc
        Two members or more.
    calibrations : mapping of str to calibration, optional
        By property (``energy``, ``forces``, ``stress``), fitted on spreads of components
        (``uncertainty.component_points``); default those that the committee's document carries.

    Raises
    ------
    ValueError
        If there are fewer than two members, or a calibration is of no known property.
    """

    implemented_properties = [  # noqa: RUF012
        *("energy", "free_energy", "forces", "stress"),
        *(f"{name}_spread" for name in PROPERTIES),
        *(f"{name}_sigma" for name in PROPERTIES),
        "atoms_sigma",
    ]

    def __init__(
        self,
        committee: Committee | CommitteeDoc,
        calibrations: Mapping[str, Calibration] | None = None,
    ) -> None:
        super().__init__()
        if isinstance(committee, CommitteeDoc):
            committee = Committee.from_doc(committee)
        if len(committee) < 2:
            raise ValueError(
                f"a committee of {len(committee)} has no spread; give two members or more, or "
                "use the potential itself"
            )
        self.committee = committee
        carried = {k: calibration_from_dict(c) for k, c in committee.doc.calibrations.items()}
        self.calibrations = dict(carried if calibrations is None else calibrations)
        if unknown := sorted(set(self.calibrations) - set(PROPERTIES)):
            raise ValueError(f"calibrations of {unknown}; properties are {list(PROPERTIES)}")

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Evaluate all members; every property comes at once.

        Raises
        ------
        PotentialError
            If a member lacks an element, or its energy or a force is not finite.
        PropertyNotImplementedError
            If a property cannot be had: a σ without calibration, stress without a cell.
        """
        super().calculate(atoms, list(properties), list(system_changes))
        atoms = self.atoms if atoms is None else atoms
        if atoms is None:
            raise ValueError("no atoms to calculate; give them, or set `atoms.calc`")
        self._refuse(atoms, properties)
        prediction = self.committee.predict(_frame(atoms), allow_nonfinite=True)
        for name in ("energies", "forces"):
            for member, values in zip(prediction.members, getattr(prediction, name), strict=True):
                if not np.isfinite(values).all():
                    raise PotentialError(f"{name} of member {member} are NaN or infinite here")
        self.results = self._results(atoms, prediction)

    def _refuse(self, atoms: Atoms, properties: Sequence[str]) -> None:
        """Raise for what is asked for and cannot be had."""
        for wanted in properties:
            base = "forces" if wanted == "atoms_sigma" else wanted.split("_")[0]
            if wanted.endswith("_sigma") and base not in self.calibrations:
                raise PropertyNotImplementedError(
                    f"{wanted} needs a calibration of {base}, and there are "
                    f"{sorted(self.calibrations)}; {base}_spread is not calibrated"
                )
            if base == "stress" and atoms.cell.rank < 3:
                raise PropertyNotImplementedError(f"{wanted} needs a cell with three vectors")

    def _results(self, atoms: Atoms, prediction: CommitteePrediction) -> dict[str, Any]:
        mean = {
            "energy": prediction.energies[:, 0].mean(),
            "forces": prediction.forces.mean(axis=0),
        }
        spread = {  # the energy's is per atom until it is calibrated
            "energy": prediction.formation_energies[:, 0].std(ddof=1),
            "forces": prediction.forces.std(axis=0, ddof=1),
        }
        stress = full_3x3_to_voigt_6_stress(prediction.stress[:, 0])  # (M, 6)
        if atoms.cell.rank == 3 and np.isfinite(stress).all():
            mean["stress"], spread["stress"] = stress.mean(axis=0), stress.std(axis=0, ddof=1)
        sigma = {
            name: self.calibrations[name].apply(np.asarray(value))
            for name, value in spread.items()
            if name in self.calibrations
        }
        results: dict[str, Any] = {**mean, "free_energy": mean["energy"]}
        for kind, values in (("spread", spread), ("sigma", sigma)):
            results.update({f"{name}_{kind}": value for name, value in values.items()})
            if "energy" in values:
                results[f"energy_{kind}"] = values["energy"] * len(atoms)
        if "forces" in sigma:
            results["atoms_sigma"] = np.linalg.norm(sigma["forces"], axis=1)
        for name in ("energy", "free_energy", "energy_spread", "energy_sigma"):
            if name in results:
                results[name] = float(results[name])
        return results


def _frame(atoms: Atoms) -> Frames:
    """Return atoms as a batch of one, without asking their calculator for labels.

    Vectors that a molecule's cell lacks are filled in: neighbour lists want to invert it.
    """
    cell = atoms.cell.complete().array
    return Frames.from_arrays(
        atoms.numbers, atoms.positions, [cell], [len(atoms)], pbc=[atoms.pbc & atoms.cell.any(1)]
    )
