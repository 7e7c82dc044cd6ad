"""Output files in VASP's formats, for a stand-in: none comes from VASP, and each says so.

What is written is what pymatgen, emmet and custodian read: energies, forces, stresses, electronic
steps, k-point mesh, parameters. Eigenvalues and density of states are placeholders.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from atomate2_alpot.units import EV_PER_A3_TO_GPA

MARK: str = "STAND-IN, NOT VASP"
KBAR: float = 10 * EV_PER_A3_TO_GPA

PARAMETERS: dict[str, Any] = {
    "ISTART": 0,
    "NSW": 0,
    "IBRION": -1,
    "ISIF": 2,
    "NELM": 60,
    "EDIFF": 1e-4,
    "EDIFFG": 1e-3,
    "ISPIN": 1,
    "ISMEAR": 1,
    "SIGMA": 0.2,
    "LSORBIT": False,
    "LNONCOLLINEAR": False,
    "LHFCALC": False,
    "LDAU": False,
    "LWAVE": True,
    "NBANDS": 2,
    "NELECT": 2.0,
    "GGA": "--",
    "METAGGA": "--",
    "KSPACING": 0.5,
}
"""VASP's defaults of the parameters that somebody reads from vasprun.xml."""


@dataclass
class IonicStep:
    """One ionic step.

    Parameters
    ----------
    atoms : Atoms
    energy : float
        Total, eV.
    forces : array, shape (N, 3)
        eV/Å.
    stress : array, shape (3, 3)
        eV/Å³, tension positive; written in kBar with VASP's sign.
    electronic : list of float
        Energy after each electronic step, eV.
    """

    atoms: Atoms
    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64]
    electronic: list[float] = field(default_factory=list)


@dataclass
class StandInRun:
    """Everything that the files of one run are made of.

    Parameters
    ----------
    incar : dict
        As read from INCAR.
    mesh : tuple of int
        k-point divisions.
    titles : list of str
        One POTCAR title per element, in the order of sites.
    model : str
        What computed the energies.
    steps : list of IonicStep
    wavecar_read : bool
        Whether there was a WAVECAR to start from.
    """

    incar: dict[str, Any]
    mesh: tuple[int, int, int]
    titles: list[str]
    model: str
    steps: list[IonicStep]
    wavecar_read: bool = False

    @property
    def parameters(self) -> dict[str, Any]:
        """Defaults, what INCAR sets, and what VASP corrects."""
        known = {k: v for k, v in self.incar.items() if k in PARAMETERS}
        merged = {**PARAMETERS, **known, "ENMAX": self.incar.get("ENCUT", 400.0)}
        istart = merged["ISTART"] if self.wavecar_read else 0
        moments = self.incar.get("MAGMOM", [1.0] * len(self.steps[0].atoms))
        # it has no orbitals to project on
        return {**merged, "ISTART": istart, "LORBIT": 0, "MAGMOM": moments}


def vasprun(run: StandInRun) -> str:
    """Return vasprun.xml."""
    first, last = run.steps[0].atoms, run.steps[-1].atoms
    parts = [
        '<?xml version="1.0" encoding="ISO-8859-1"?>',
        f"<!-- {MARK}: energies of {escape(run.model)} -->",
        "<modeling>",
        "<generator>",
        '<i name="program" type="string">vasp </i>',
        '<i name="version" type="string">0.0.0-stand-in </i>',
        f'<i name="subversion" type="string">{MARK} ({escape(run.model)}) </i>',
        "</generator>",
        "<incar>",
        *(_item(k, v) for k, v in run.incar.items()),
        "</incar>",
        *_kpoints(run.mesh),
        "<parameters>",
        *(_item(k, v) for k, v in run.parameters.items()),
        "</parameters>",
        *_atominfo(first, run.titles),
        *_structure(first, "initialpos"),
    ]
    for number, step in enumerate(run.steps, 1):
        parts += _calculation(step, last=number == len(run.steps))
    return "\n".join([*parts, *_structure(last, "finalpos"), "</modeling>", ""])


def _item(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f'<i type="logical" name="{name}"> {"T" if value else "F"} </i>'
    if isinstance(value, int):
        return f'<i type="int" name="{name}"> {value} </i>'
    if isinstance(value, float):
        return f'<i name="{name}"> {value:.8f} </i>'
    if isinstance(value, (list, tuple)):
        return f'<v name="{name}"> {" ".join(f"{float(v):.8f}" for v in value)} </v>'
    return f'<i type="string" name="{name}">{escape(str(value))}</i>'


def _vectors(rows: NDArray[np.float64]) -> list[str]:
    return ["<v> " + " ".join(f"{x:.8f}" for x in row) + " </v>" for row in rows]


def _varray(name: str, rows: NDArray[np.float64]) -> list[str]:
    return [f'<varray name="{name}">', *_vectors(rows), "</varray>"]


def _kpoints(mesh: tuple[int, int, int]) -> list[str]:
    divisions = " ".join(str(n) for n in mesh)
    return [
        "<kpoints>",
        '<generation param="Gamma">',
        f'<v type="int" name="divisions"> {divisions} </v>',
        '<v name="usershift"> 0 0 0 </v>',
        '<v name="shift"> 0 0 0 </v>',
        "</generation>",
        *_varray("kpointlist", np.zeros((1, 3))),
        *_varray("weights", np.ones((1, 1))),
        "</kpoints>",
    ]


def _atominfo(atoms: Atoms, titles: list[str]) -> list[str]:
    symbols = atoms.get_chemical_symbols()
    kinds = list(dict.fromkeys(symbols))
    sites = [f"<rc><c>{s:2}</c><c>{kinds.index(s) + 1}</c></rc>" for s in symbols]
    types = [
        f"<rc><c>{symbols.count(k)}</c><c>{k}</c><c>1.0</c><c>1.0</c><c>{escape(title)}</c></rc>"
        for k, title in zip(kinds, titles, strict=True)
    ]
    return [
        "<atominfo>",
        f"<atoms> {len(atoms)} </atoms>",
        f"<types> {len(kinds)} </types>",
        '<array name="atoms"><field type="string">element</field>',
        '<field type="int">atomtype</field><set>',
        *sites,
        "</set></array>",
        '<array name="atomtypes"><field type="int">atomspertype</field>',
        '<field type="string">element</field><field>mass</field><field>valence</field>',
        '<field type="string">pseudopotential</field><set>',
        *types,
        "</set></array>",
        "</atominfo>",
    ]


def _structure(atoms: Atoms, name: str | None = None) -> list[str]:
    return [
        f'<structure name="{name}">' if name else "<structure>",
        "<crystal>",
        *_varray("basis", atoms.cell.array),
        f'<i name="volume"> {atoms.cell.volume:.8f} </i>',
        *_varray("rec_basis", atoms.cell.reciprocal().array),
        "</crystal>",
        *_varray("positions", atoms.get_scaled_positions(wrap=False)),
        "</structure>",
    ]


def _energies(energy: float) -> list[str]:
    names = ("e_fr_energy", "e_wo_entrp", "e_0_energy")
    return ["<energy>", *(f'<i name="{n}"> {energy:.8f} </i>' for n in names), "</energy>"]


def _calculation(step: IonicStep, *, last: bool) -> list[str]:
    parts = ["<calculation>"]
    for energy in step.electronic:
        parts += ["<scstep>", *_energies(energy), "</scstep>"]
    parts += _structure(step.atoms)
    parts += _varray("forces", step.forces)
    parts += _varray("stress", -KBAR * step.stress)
    parts += _energies(step.energy)
    return [*parts, *(PLACEHOLDERS if last else []), "</calculation>"]


PLACEHOLDERS: list[str] = [
    '<eigenvalues><array><set><set comment="spin 1"><set comment="kpoint 1">',
    "<r> -1.0 1.0 </r><r> 1.0 0.0 </r>",
    "</set></set></set></array></eigenvalues>",
    '<dos><i name="efermi"> 0.0 </i><total><array><set><set comment="spin 1">',
    "<r> -1.0 1.0 1.0 </r><r> 1.0 1.0 2.0 </r>",
    "</set></set></array></total></dos>",
]
