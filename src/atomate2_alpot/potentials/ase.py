"""Any ASE calculator: one of atomate2's force fields by name, or an import path."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from atomate2_alpot.potentials.base import PotentialError
from atomate2_alpot.schemas import Frames, PotentialSpec, Prediction


class ASEPredictor:
    """An ASE calculator, evaluated frame by frame.

    Parameters
    ----------
    calculator : ase.calculators.calculator.Calculator
    """

    elements: frozenset[int] | None = None

    def __init__(self, calculator: Any) -> None:
        self.calculator = calculator

    def predict(self, frames: Frames) -> Prediction:
        """Evaluate frames; NaN where the calculator refuses one (unknown element, no stress)."""
        energy = np.full(len(frames), np.nan)
        forces = np.full((int(frames.offsets[-1]), 3), np.nan)
        stress = np.full((len(frames), 3, 3), np.nan)
        for s, atoms in enumerate(frames.iter_ase()):
            atoms.calc = self.calculator
            try:
                energy[s] = atoms.get_potential_energy()
                forces[frames.offsets[s] : frames.offsets[s + 1]] = atoms.get_forces()
                stress[s] = atoms.get_stress(voigt=False)
            except (ArithmeticError, LookupError, NotImplementedError, RuntimeError, ValueError):
                energy[s] = np.nan
        return Prediction(energy, forces, stress)


def load(spec: PotentialSpec) -> ASEPredictor:
    """Load ``name``: an import path ``package.module:Class``, or a name atomate2 knows.

    The recipe's ``kwargs`` are the calculator's.

    Raises
    ------
    PotentialError
        If the name leads to no calculator, or the calculator refuses its arguments.
    """
    if not spec.name:
        raise PotentialError(
            "backend 'ase': give `name`, for example 'ase.calculators.emt:EMT' or 'SevenNet'"
        )
    try:
        return ASEPredictor(_calculator(spec.name, dict(spec.kwargs)))
    except PotentialError:
        raise
    except Exception as error:
        raise PotentialError(f"potential {spec.label} could not be loaded: {error}") from error


def _calculator(name: str, kwargs: dict[str, Any]) -> Any:
    if ":" in name:
        module, _, attribute = name.partition(":")
        return getattr(import_module(module), attribute)(**kwargs)
    from atomate2.forcefields.utils import _DEFAULT_CALCULATOR_KWARGS, MLFF, ase_calculator

    known = [m.value for m in MLFF]
    if name not in known:
        raise PotentialError(
            f"potential 'ase:{name}': not one of atomate2's force fields {known}; for another "
            "calculator give an import path such as 'ase.calculators.emt:EMT'"
        )
    # the defaults of atomate2's Makers: without them M3GNet and MatPES give their stress in GPa
    defaults = _DEFAULT_CALCULATOR_KWARGS.get(MLFF(name), {})
    return ase_calculator(MLFF(name), **{**defaults, **kwargs})
