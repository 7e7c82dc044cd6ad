"""The program behind :func:`atomate2_alpot.testing.vasp_stand_in`: inputs in, outputs out."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Structure
from pymatgen.io.vasp import Incar, Kpoints, Poscar

from atomate2_alpot.potentials import load_predictor
from atomate2_alpot.schemas import Frames, PotentialSpec
from atomate2_alpot.testing.stand_in import fault_of
from atomate2_alpot.testing.vasp_files import MARK, IonicStep, StandInRun
from atomate2_alpot.testing.vasp_text import HEADER, write_outputs

STEP: float = 0.02
"""Å²/eV: how far atoms follow their forces in an ionic step."""


def run(folder: Path, options: Mapping[str, Any]) -> int:
    """Read the inputs in a folder, write the outputs, and return the exit code."""
    sys.stdout.write(f"{MARK}: running in {folder}\n")
    structure = Poscar.from_file(folder / "POSCAR").structure
    incar = dict(Incar.from_file(folder / "INCAR"))
    fault = fault_of(structure, options["faults"])
    if fault == "dies":
        sys.stderr.write("killed, as asked for\n")
        return 137
    if fault == "slow":
        (folder / "OUTCAR").write_text("\n".join([*HEADER, ""]))
        _wait_for_stopcar(folder)
    functional = "r2SCAN" if "METAGGA" in incar else "PBE"
    spec = _model(functional, options["models"])
    mesh = _mesh(folder, incar, structure)
    files = StandInRun(
        incar=incar,
        mesh=(1, 1, 1 + max(mesh)) if fault == "wrong_kpoints" else mesh,
        titles=_titles(folder, structure),
        model=spec.label,
        steps=_relax(structure, incar, spec, converging=fault not in ("not_converging", "slow")),
        wavecar_read=(folder / "WAVECAR").exists() and (folder / "WAVECAR").stat().st_size > 0,
    )
    if fault == "explodes":
        files.steps = [dataclasses.replace(s, forces=s.forces + 1e4) for s in files.steps]
    if fault == "no_wavecar" and functional == "PBE":
        files.incar = {**incar, "LWAVE": False}
    write_outputs(files, folder)
    if fault == "truncated":
        text = (folder / "vasprun.xml").read_text()
        (folder / "vasprun.xml").write_text(text[: len(text) // 2])
    return 0


def _model(functional: str, models: Mapping[str, Any]) -> PotentialSpec:
    if functional in models:
        return PotentialSpec.model_validate(models[functional])
    return PotentialSpec(backend="toy", kwargs={"seed": 2 if functional == "r2SCAN" else 1})


def _relax(
    structure: Structure, incar: Mapping[str, Any], spec: PotentialSpec, *, converging: bool
) -> list[IonicStep]:
    """Follow the forces (and with ISIF 3 the stress) for exactly NSW steps, or one."""
    predictor, steps = load_predictor(spec), []
    n_electronic = 5 if converging else int(incar.get("NELM", 60))
    for _ in range(max(1, int(incar.get("NSW", 0)))):
        prediction = predictor.predict(Frames.from_structures(structure))
        energy = float(prediction.energy[0])
        error = (0.02 if converging else 0.9) ** np.arange(1, n_electronic + 1)
        step = IonicStep(
            structure,
            energy,
            prediction.forces,
            prediction.stress[0],
            [energy + float(e) for e in error],
        )
        steps.append(step)
        moved = structure.cart_coords + np.clip(STEP * step.forces, -0.05, 0.05)
        strain = np.eye(3)
        if int(incar.get("ISIF", 2)) >= 3:
            strain += np.clip(-0.05 * step.stress, -0.005, 0.005)
        structure = Structure(
            structure.lattice.matrix @ strain,
            structure.species,
            moved @ strain,
            coords_are_cartesian=True,
        )
    return steps


def _mesh(folder: Path, incar: Mapping[str, Any], structure: Structure) -> tuple[int, int, int]:
    if (folder / "KPOINTS").exists():
        return tuple(int(n) for n in Kpoints.from_file(folder / "KPOINTS").kpts[0])  # type: ignore[return-value]
    spacing = float(incar.get("KSPACING", 0.5))
    lengths = structure.lattice.reciprocal_lattice.abc
    return tuple(max(1, int(np.ceil(b / spacing))) for b in lengths)  # type: ignore[return-value]


def _titles(folder: Path, structure: Structure) -> list[str]:
    """Return a title per element: of POTCAR.spec if there is one, else of POTCAR, else made up."""
    kinds = list(dict.fromkeys(site.specie.symbol for site in structure))
    spec, potcar = folder / "POTCAR.spec", folder / "POTCAR"
    if spec.exists():
        return [f"PAW_PBE {symbol} STAND-IN" for symbol in spec.read_text().split()]
    if potcar.exists():
        from pymatgen.io.vasp import Potcar

        return [f"{p.TITEL} STAND-IN" for p in Potcar.from_file(str(potcar))]
    return [f"PAW_PBE {kind} STAND-IN" for kind in kinds]


def _wait_for_stopcar(folder: Path) -> None:
    end = time.monotonic() + 3600
    while time.monotonic() < end and not (folder / "STOPCAR").exists():
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(run(Path.cwd(), json.loads(sys.argv[1])))
