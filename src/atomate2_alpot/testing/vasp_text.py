"""OUTCAR, OSZICAR and CONTCAR of a VASP stand-in, and all of its files at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms

from atomate2_alpot.testing.vasp_files import KBAR, MARK, StandInRun, vasprun

VASP_ORDER: tuple[tuple[int, int], ...] = ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (2, 0))
"""Order of stress components in OUTCAR: XX YY ZZ XY YZ ZX."""


def write_outputs(run: StandInRun, folder: Path) -> None:
    """Write vasprun.xml, OUTCAR, OSZICAR and CONTCAR, and WAVECAR if INCAR asks for one."""
    (folder / "vasprun.xml").write_text(vasprun(run))
    (folder / "OUTCAR").write_text(outcar(run))
    (folder / "OSZICAR").write_text(oszicar(run))
    (folder / "CONTCAR").write_text(poscar(run.steps[-1].atoms))
    if run.incar.get("LWAVE", True):
        (folder / "WAVECAR").write_bytes(f"{MARK}: no wave functions in here\n".encode())


def poscar(atoms: Atoms) -> str:
    """Return a POSCAR (ASE's writer takes longer to import than all else here to run)."""
    symbols = atoms.get_chemical_symbols()
    kinds = list(dict.fromkeys(symbols))
    rows = [*atoms.cell.array, *atoms.get_scaled_positions(wrap=False)]
    lines = [" ".join(f"{x:.16f}" for x in row) for row in rows]
    counts = " ".join(str(symbols.count(k)) for k in kinds)
    return "\n".join([MARK, "1.0", *lines[:3], " ".join(kinds), counts, "direct", *lines[3:], ""])


def read_poscar(text: str) -> Atoms:
    """Read what pymatgen's input sets write: VASP 5 format, direct coordinates."""
    lines = text.splitlines()
    cell = float(lines[1]) * np.array([line.split()[:3] for line in lines[2:5]], dtype=float)
    counts = [int(n) for n in lines[6].split()]
    symbols = [s for s, n in zip(lines[5].split(), counts, strict=True) for _ in range(n)]
    rows = lines[8 : 8 + len(symbols)]
    fractional = np.array([line.split()[:3] for line in rows], dtype=float)
    return Atoms(symbols, scaled_positions=fractional, cell=cell, pbc=True)


HEADER: tuple[str, ...] = (
    f" vasp.0.0.0-stand-in {MARK} complex",
    " running on    1 total cores",
    "   k-points  NKPTS = 1   k-points in BZ  NKDIM = 1   number of bands    NBANDS=      2",
    "   total plane-waves  NPLWV =      1",
    "   IBRION =     -1    ionic relax: 0-MD 1-quasi-New 2-CG",
)
"""How OUTCAR begins; pymatgen reads no file without these lines."""


def outcar(run: StandInRun) -> str:
    """Return OUTCAR, as far as it is read."""
    lines = [
        *HEADER,
        f" energies of {run.model}",
        f"   ISTART =  {run.parameters['ISTART']:5d}    job   : 0-new  1-cont  2-samecut",
        f"   NELECT = {run.parameters['NELECT']:12.4f}    total number of electrons",
    ]
    for number, step in enumerate(run.steps, 1):
        kbar = -KBAR * step.stress
        lines += [
            f"----------------------- Iteration {number:6d}({len(step.electronic):4d})  ---",
            "  FORCE on cell =-STRESS in cart. coord.  units (eV):",
            "  in kB  " + " ".join(f"{kbar[a, b]:12.5f}" for a, b in VASP_ORDER),
            f"  external pressure = {np.trace(kbar) / 3:12.2f} kB  Pullay stress =  0.00 kB",
            "    total drift:                            0.000000      0.000000      0.000000",
            "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)",
            f"  free  energy   TOTEN  = {step.energy:18.8f} eV",
            f"  energy  without entropy={step.energy:18.8f}  energy(sigma->0) ={step.energy:18.8f}",
            "  LOOP+:  cpu time    0.0100: real time    0.0100",
        ]
    return "\n".join(
        [
            *lines,
            " E-fermi :   0.0000     XC(G=0):  0.0000     alpha+bet : 0.0000",
            " General timing and accounting informations for this job:",
            "                  Total CPU time used (sec):        0.010",
            "                            User time (sec):        0.010",
            "                          System time (sec):        0.000",
            "                         Elapsed time (sec):        0.010",
            "                   Maximum memory used (kb):        1000.",
            "                   Average memory used (kb):           0.",
            "",
        ]
    )


def oszicar(run: StandInRun) -> str:
    """Return OSZICAR."""
    lines = [f" {MARK}"]
    for number, step in enumerate(run.steps, 1):
        lines.append("       N       E                     dE             d eps       ncg     rms")
        before = 0.0
        for n, energy in enumerate(step.electronic, 1):
            step_change = f"{energy - before:12.5E}"
            lines.append(
                f"DAV: {n:3d}    {energy:18.12E}   {step_change}   {step_change}   10   1.0E-03"
            )
            before = energy
        lines.append(f"{number:4d} F= {step.energy:.8E} E0= {step.energy:.8E}  d E ={0.0:.6E}")
    return "\n".join([*lines, ""])
