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
from ase import Atoms

from atomate2_alpot.potentials import load_predictor
from atomate2_alpot.schemas import Frames, PotentialSpec
from atomate2_alpot.testing.stand_in import fault_of
from atomate2_alpot.testing.vasp_files import MARK, IonicStep, StandInRun
from atomate2_alpot.testing.vasp_text import HEADER, read_poscar, write_outputs

STEP: float = 0.02
"""Å²/eV: how far atoms follow their forces in an ionic step."""


def run(folder: Path, options: Mapping[str, Any]) -> int:
    """Read the inputs in a folder, write the outputs, and return the exit code."""
    sys.stdout.write(f"{MARK}: running in {folder}\n")
    atoms = read_poscar((folder / "POSCAR").read_text())
    incar = read_incar((folder / "INCAR").read_text())
    fault = fault_of(atoms.get_chemical_symbols(), atoms.cell.array, options["faults"])
    if fault == "dies":
        sys.stderr.write("killed, as asked for\n")
        return 137
    if fault == "slow":
        (folder / "OUTCAR").write_text("\n".join([*HEADER, ""]))
        _wait_for_stopcar(folder)
    functional = "r2SCAN" if "METAGGA" in incar else "PBE"
    spec = _model(functional, options["models"])
    mesh = _mesh(folder, incar, atoms)
    files = StandInRun(
        incar=incar,
        mesh=(1, 1, 1 + max(mesh)) if fault == "wrong_kpoints" else mesh,
        titles=_titles(folder, atoms),
        model=spec.label,
        steps=_relax(atoms, incar, spec, converging=fault not in ("not_converging", "slow")),
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
    atoms: Atoms, incar: Mapping[str, Any], spec: PotentialSpec, *, converging: bool
) -> list[IonicStep]:
    """Follow the forces (and with ISIF 3 the stress) for exactly NSW steps, or one."""
    predictor, steps = load_predictor(spec), []
    n_electronic = 5 if converging else int(incar.get("NELM", 60))
    for _ in range(max(1, int(incar.get("NSW", 0)))):
        prediction = predictor.predict(Frames.from_ase(atoms))
        energy = float(prediction.energy[0])
        error = (0.02 if converging else 0.9) ** np.arange(1, n_electronic + 1)
        step = IonicStep(
            atoms,
            energy,
            prediction.forces,
            prediction.stress[0],
            [energy + float(e) for e in error],
        )
        steps.append(step)
        strain = np.eye(3)
        if int(incar.get("ISIF", 2)) >= 3:
            strain += np.clip(-0.05 * step.stress, -0.005, 0.005)
        moved = atoms.positions + np.clip(STEP * step.forces, -0.05, 0.05)
        atoms = Atoms(atoms.numbers, moved @ strain, cell=atoms.cell.array @ strain, pbc=True)
    return steps


def read_incar(text: str) -> dict[str, Any]:
    """Read an INCAR; pymatgen's reader takes longer to import than all else here to run."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {key.strip().upper(): _value(value.split()) for key, value in pairs}


def _value(words: list[str]) -> Any:
    if len(words) > 1:
        return [v for word in words for v in _repeated(word)]
    word = words[0] if words else ""
    if word.strip(".").lower() in ("t", "true", "f", "false"):
        return word.strip(".").lower() in ("t", "true")
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def _repeated(word: str) -> list[Any]:
    count, star, value = word.partition("*")
    return [_value([value])] * int(count) if star else [_value([word])]


def _mesh(folder: Path, incar: Mapping[str, Any], atoms: Atoms) -> tuple[int, int, int]:
    if (folder / "KPOINTS").exists():
        a, b, c = (folder / "KPOINTS").read_text().splitlines()[3].split()
        return int(a), int(b), int(c)
    spacing = float(incar.get("KSPACING", 0.5))
    lengths = 2 * np.pi * np.linalg.norm(atoms.cell.reciprocal().array, axis=1)
    a, b, c = np.maximum(1, np.ceil(lengths / spacing)).astype(int)
    return int(a), int(b), int(c)


def _titles(folder: Path, atoms: Atoms) -> list[str]:
    """Return a title per element: of POTCAR.spec if there is one, else of POTCAR, else made up."""
    kinds = list(dict.fromkeys(atoms.get_chemical_symbols()))
    spec, potcar = folder / "POTCAR.spec", folder / "POTCAR"
    if spec.exists():
        return [f"PAW_PBE {symbol} STAND-IN" for symbol in spec.read_text().split()]
    if potcar.exists():
        marks = (line.partition("=") for line in potcar.read_text().splitlines())
        return [f"{v.strip()} STAND-IN" for k, _, v in marks if k.strip() == "TITEL"]
    return [f"PAW_PBE {kind} STAND-IN" for kind in kinds]


def _wait_for_stopcar(folder: Path) -> None:
    end = time.monotonic() + 3600
    while time.monotonic() < end and not (folder / "STOPCAR").exists():
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(run(Path.cwd(), json.loads(sys.argv[1])))
