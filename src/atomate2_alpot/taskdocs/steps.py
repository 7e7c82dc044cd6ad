"""Ionic steps of a task document, whichever engine made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure

from atomate2_alpot.units import EV_PER_A_PER_HARTREE_PER_BOHR, vasp_stress_to_ase

KBAR_PER_GPA: float = 10.0


class LabelParseError(ValueError):
    """A task document that holds no usable label; ``args[0]`` is the short reason."""


@dataclass(frozen=True)
class Step:
    """One ionic step.

    Parameters
    ----------
    number : int
        From 0, the geometry that was asked for.
    structure : Structure
        Site order is that of the forces.
    energy : float
        Total energy, eV.
    forces : array, shape (N, 3)
        eV/Å.
    stress : array, shape (3, 3)
        eV/Å³, tension positive; NaN without one.
    converged : bool
        Whether it is a label.
    why : tuple of str
        Reason and detail if it is not.
    """

    number: int
    structure: Structure
    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64]
    converged: bool = True
    why: tuple[str, str] = ("not converged", "")


def is_vasp(document: Any) -> bool:
    """Tell whether a task document is emmet's of VASP."""
    calculations = getattr(document, "calcs_reversed", None) or []
    return any(hasattr(c, "vasp_version") for c in calculations)


def read_steps(document: Any) -> list[Step]:
    """Read every ionic step of a task document.

    Of emmet's VASP ``TaskDoc`` all ionic steps come with their electronic convergence; of
    atomate2's ASE, force-field and CP2K documents the final one. All keep energies in eV; forces
    are in eV/Å and stress in kBar with VASP's sign, but for CP2K's: Ha/bohr, and GPa with the
    sign of a pressure (measured against -dE/dx and dE/dV with CP2K 2023.1).

    Parameters
    ----------
    document : pydantic model
        Output of a static or relax Maker.

    Raises
    ------
    LabelParseError
        If the document is of another kind, or its numbers are missing or not finite.
    """
    output = getattr(document, "output", None)
    if output is None or getattr(document, "structure", None) is None:
        raise LabelParseError(
            "unknown task document",
            f"{type(document).__name__} has no `output` and `structure`; label with an "
            "atomate2 static or relax Maker, and name the entry in `result` if its flow returns "
            "several",
        )
    steps = _vasp_steps(document.calcs_reversed[0]) if is_vasp(document) else [_final(document)]
    for step in steps:
        if not (np.isfinite(step.energy) and np.isfinite(step.forces).all()):
            raise LabelParseError(
                "not finite", f"energy {step.energy}, forces with NaN or infinity"
            )
    return steps


def _final(document: Any) -> Step:
    output = document.output
    if output.energy is None or output.forces is None:
        raise LabelParseError("no energy or forces", "the task document lacks them")
    state = getattr(getattr(document, "state", None), "value", getattr(document, "state", None))
    forces = np.asarray(output.forces, dtype=np.float64)
    stress = _stress(getattr(output, "stress", None))
    if type(document).__module__.startswith("atomate2.cp2k"):
        forces = forces * EV_PER_A_PER_HARTREE_PER_BOHR
        stress = stress * KBAR_PER_GPA  # _stress took GPa for kBar
    if forces.shape != (len(document.structure), 3):
        raise LabelParseError("no energy or forces", f"forces have the shape {forces.shape}")
    n_before = len(getattr(output, "ionic_steps", None) or [None]) - 1
    return Step(
        n_before,
        document.structure,
        output.energy,
        forces,
        stress,
        converged=state in (None, "successful"),
        why=("not converged", f"the task document's state is {state!r}"),
    )


def _vasp_steps(calculation: Any) -> list[Step]:
    check_vasp(calculation.input.incar or {}, calculation.input)
    most = int((calculation.input.parameters or {}).get("NELM", 60))
    found = calculation.output.ionic_steps
    if not found:
        raise LabelParseError(
            "no ionic steps", "the task document keeps none; leave store_trajectory at NO"
        )
    return [
        Step(
            number,
            step.structure,
            _energy(step),
            np.asarray(step.forces, dtype=np.float64),
            _stress(step.stress),
            converged=(step.num_electronic_steps or most) < most,
            why=("not converged", f"electronic steps of ionic step {number} ended at NELM"),
        )
        for number, step in enumerate(found)
    ]


def _energy(step: Any) -> float:
    """Return the energy for σ → 0, as emmet and the Materials Project do.

    VASP 5.4 and 6 write a wrong one at the end of an ionic step: pymatgen takes the difference
    to the free energy from the last electronic step (`Vasprun.final_energy`), and so do we.
    """
    if not step.electronic_steps:
        return float(step.e_0_energy)
    last = step.electronic_steps[-1]
    if last.e_0_energy is None or last.e_fr_energy is None:
        return float(step.e_0_energy)
    return float(last.e_0_energy - last.e_fr_energy + step.e_fr_energy)


def check_vasp(incar: Mapping[str, Any], inputs: Any) -> None:
    """Raise ``LabelParseError`` if VASP did not run what it was asked to run.

    It starts from scratch, in silence, when WAVECAR is missing or empty, and the mesh of
    KSPACING is N_i = max(1, ⌈|b_i| / KSPACING⌉), with b_i including 2π (VASP manual, KSPACING).
    """
    used = inputs.parameters or {}
    if int(incar.get("ISTART", 0)) > 0 and int(used.get("ISTART", 0)) == 0:
        raise LabelParseError(
            "no WAVECAR", "ISTART asks for a start from WAVECAR, which was missing or empty"
        )
    mesh = mesh_of(inputs)
    if "KSPACING" not in incar or mesh is None or inputs.structure is None:
        return
    lengths = np.array(inputs.structure.lattice.reciprocal_lattice.abc)
    # positions of vasprun.xml are rounded: a length at the edge may fall on either side
    exact = lengths / float(incar["KSPACING"])
    low, high = np.ceil(exact - 1e-4), np.ceil(exact + 1e-4)
    if ((mesh < np.maximum(1, low)) | (mesh > np.maximum(1, high))).any():
        asked = np.maximum(1, np.ceil(exact)).astype(int)
        raise LabelParseError(
            "wrong k-points",
            f"KSPACING={incar['KSPACING']} asks for {'x'.join(map(str, asked))}, VASP used "
            f"{'x'.join(map(str, mesh))}",
        )


def mesh_of(inputs: Any) -> NDArray[np.int64] | None:
    """Return the k-point divisions that VASP used, None for an explicit list."""
    kpoints = getattr(inputs, "kpoints", None)
    if kpoints is None or len(kpoints.kpts) != 1 or len(kpoints.kpts[0]) != 3:
        return None
    return np.array(kpoints.kpts[0], dtype=np.int64)


def _stress(kbar: Any) -> NDArray[np.float64]:
    if kbar is None:
        return np.full((3, 3), np.nan)
    values = np.asarray(kbar, dtype=np.float64)
    if values.shape != (3, 3):
        raise LabelParseError("no energy or forces", f"stress has the shape {values.shape}")
    return vasp_stress_to_ase(values)
