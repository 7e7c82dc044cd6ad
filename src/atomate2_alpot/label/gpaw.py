"""GPAW, real DFT without a licence, behind atomate2's ASE Maker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ase.calculators.calculator import Calculator, all_changes
from atomate2.ase.jobs import AseRelaxMaker

if TYPE_CHECKING:
    from ase import Atoms

XC: dict[str, str] = {"PBE": "PBE", "r2SCAN": "MGGA_X_R2SCAN+MGGA_C_R2SCAN"}
"""Our name of a functional -> GPAW's (libxc's)."""

INSTALL: str = (
    "install what it builds on (Debian: apt-get install libxc-dev libopenblas-dev g++), then "
    "`make gpaw` in a clone, or see docs/labelling.md"
)


class GpawError(RuntimeError):
    """GPAW is not here, or did not converge."""


class PBEFirstGPAW(Calculator):
    """GPAW that converges PBE first and, for r2SCAN, goes on from its density.

    Parameters
    ----------
    functional : str
        PBE or r2SCAN.
    cutoff : float
        Plane waves up to this energy, eV.
    kspacing : float
        As VASP's KSPACING, 1/Å with 2π: N_i = max(1, ⌈|b_i| / kspacing⌉).
    options : dict
        Other arguments of ``gpaw.GPAW``, over ours.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012
    name = "gpaw"

    def __init__(
        self, functional: str, cutoff: float, kspacing: float, options: dict[str, Any]
    ) -> None:
        super().__init__()
        self.functional, self.cutoff, self.kspacing = functional, cutoff, kspacing
        self.options = options

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Converge one frame (ASE's interface; all properties come at once)."""
        super().calculate(atoms, properties, system_changes)
        try:
            from gpaw import GPAW, KohnShamConvergenceError
        except ImportError as error:
            raise GpawError(f"GPAW does not load ({error}); {INSTALL}") from error
        work: Atoms = self.atoms.copy()  # type: ignore[union-attr]
        work.info = {}
        if not {"spinpol", "magmoms", "hund"} & set(self.options):
            set_moments(work)
        try:
            engine = GPAW(xc=XC["PBE"], txt="gpaw-pbe.txt", **self._arguments(work))
            work.calc = engine
            if self.functional != "PBE":
                work.get_potential_energy()
                work.calc = engine.new(
                    xc=XC[self.functional], txt=f"gpaw-{self.functional.lower()}.txt"
                )
            energy = work.get_potential_energy()
            self.results = {
                "energy": energy,
                "free_energy": work.get_potential_energy(force_consistent=True),
                "forces": work.get_forces(),
                "stress": work.get_stress() if work.pbc.all() else None,
            }
        except KohnShamConvergenceError as error:
            raise GpawError(f"GPAW did not converge: {error}") from error
        if self.results["stress"] is None:
            del self.results["stress"]

    def _arguments(self, atoms: Atoms) -> dict[str, Any]:
        import numpy as np
        from gpaw import PW, FermiDirac

        lengths = 2 * np.pi * np.linalg.norm(atoms.cell.reciprocal(), axis=1)
        size = np.maximum(1, np.ceil(lengths / self.kspacing)).astype(int)
        size[~atoms.pbc] = 1
        return {
            "mode": PW(self.cutoff),
            "kpts": {"size": tuple(int(n) for n in size), "gamma": True},
            "occupations": FermiDirac(0.05),
            "convergence": {"energy": 1e-5, "density": 1e-5},
            **self.options,
        }


def set_moments(atoms: Atoms) -> None:
    """Start with the Materials Project's moments where an element has one (MP24's MAGMOM).

    Structures of other elements are computed without spin.
    """
    from pymatgen.io.vasp.sets import MP24RelaxSet

    table = MP24RelaxSet.CONFIG["INCAR"]["MAGMOM"]
    symbols = atoms.get_chemical_symbols()
    if any(s in table for s in symbols):
        atoms.set_initial_magnetic_moments([table.get(s, 0.6) for s in symbols])


@dataclass
class GpawStaticMaker(AseRelaxMaker):
    """One static with GPAW.

    Parameters
    ----------
    name : str
        Name of the job.
    functional : str
        PBE, or r2SCAN started from PBE's density.
    cutoff : float
        Plane waves up to this energy, eV.
    kspacing : float
        1/Å with 2π, as VASP's KSPACING.

    Other fields are those of atomate2's ``AseRelaxMaker``; ``calculator_kwargs`` go to
    ``gpaw.GPAW``.
    """

    name: str = "GPAW static"
    steps: int = 1
    functional: str = "PBE"
    cutoff: float = 500.0
    kspacing: float = 0.3

    def __post_init__(self) -> None:
        """Refuse what GPAW would refuse only when it runs."""
        super().__post_init__()
        if self.functional not in XC:
            raise ValueError(f"functional {self.functional!r}: GPAW here knows {sorted(XC)}")
        for name in ("cutoff", "kspacing"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}={getattr(self, name)}: give a number above 0")

    def _get_calculator(self) -> Calculator:
        """Return GPAW, which is imported when it runs."""
        return PBEFirstGPAW(
            self.functional, self.cutoff, self.kspacing, dict(self.calculator_kwargs)
        )
