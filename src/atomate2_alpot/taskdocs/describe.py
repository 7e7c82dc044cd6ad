"""How a task document was computed."""

from __future__ import annotations

from typing import Any

from atomate2_alpot.taskdocs.steps import mesh_of


def describe_calculation(document: Any) -> dict[str, Any]:
    """Return engine, version, cutoff, k-points and pseudopotentials (see CalculationTable)."""
    calculations = getattr(document, "calcs_reversed", None)
    if calculations and hasattr(calculations[0], "cp2k_version"):
        return {"engine": "CP2K", "version": calculations[0].cp2k_version}
    if not calculations:
        version = getattr(document, "forcefield_version", None)
        name = getattr(document, "forcefield_name", None) or getattr(
            document, "ase_calculator_name", None
        )
        return {"engine": name or type(document).__name__, "version": version}
    inputs = calculations[0].input
    mesh = mesh_of(inputs)
    titles = [s.titel for s in inputs.potcar_spec or []]
    cutoff = (inputs.parameters or {}).get("ENMAX") or (inputs.incar or {}).get("ENCUT")
    return {
        "engine": "VASP",
        "version": calculations[0].vasp_version,
        "encut": None if cutoff is None else float(cutoff),
        "kpoints": None if mesh is None else "x".join(map(str, mesh)),
        "pseudopotentials": "; ".join(titles) or None,
    }
