"""A potential as ASE calculator, so that atomate2's force-field Makers can label with it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from atomate2_alpot.potentials.base import Predictor, load_predictor
from atomate2_alpot.schemas import Frames, PotentialSpec

if TYPE_CHECKING:
    from ase import Atoms


class PotentialCalculator(Calculator):
    """ASE calculator of any registered potential.

    Parameters
    ----------
    backend : str
        A registered backend.
    name : str, optional
        Model name or file.
    kwargs : dict, optional
        Options of the backend.
    """

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012 - ASE's interface

    def __init__(
        self, backend: str, name: str | None = None, kwargs: dict[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.spec = PotentialSpec(backend=backend, name=name, kwargs=kwargs or {})

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Evaluate one frame (ASE's interface; all properties come at once)."""
        super().calculate(atoms, properties, system_changes)
        bare: Atoms = self.atoms.copy()  # type: ignore[union-attr]
        bare.info = {}
        prediction = _load(self.spec.model_dump_json()).predict(Frames.from_ase(bare))
        if not (np.isfinite(prediction.energy).all() and np.isfinite(prediction.forces).all()):
            raise CalculationFailed(
                f"{self.spec.label} cannot evaluate {bare.get_chemical_formula()} "
                "(for CHGNet: an atom without neighbours within 6 Å)"
            )
        self.results = {
            "energy": float(prediction.energy[0]),
            "forces": prediction.forces,
            "stress": full_3x3_to_voigt_6_stress(prediction.stress[0]),
        }


@cache
def _load(spec_json: str) -> Predictor:
    """Load once per process: a label flow makes a calculator for every frame."""
    return load_predictor(PotentialSpec.model_validate_json(spec_json))
