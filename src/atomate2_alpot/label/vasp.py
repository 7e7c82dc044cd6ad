"""VASP through atomate2: MP-ALOE's two stages, and what must be there before they run."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from os.path import expandvars
from pathlib import Path
from typing import Any, cast

from atomate2.vasp.jobs.base import BaseVaspMaker
from atomate2.vasp.jobs.mp import MP24RelaxMaker, MP24StaticMaker
from jobflow import Flow, Maker
from pymatgen.core import Structure
from pymatgen.io.vasp.sets import MP24RelaxSet, MP24StaticSet

from atomate2_alpot.label.engine import makers_within

FUNCTIONALS: tuple[str, ...] = ("PBE", "PBEsol", "r2SCAN")
"""Those of pymatgen's MP24 sets."""

KSPACING: float = 0.2
"""1/Å with 2π, MP-ALOE (METHODS.md §1); the MP24 sets choose 0.22 and more by band gap."""

LAUNCHERS: frozenset[str] = frozenset(
    {"mpirun", "mpiexec", "srun", "ibrun", "jsrun", "aprun", "orterun"}
)

LEAN: dict[str, Any] = {"LCHARG": False, "LAECHG": False, "LVTOT": False, "LELF": False}
"""No densities and potentials on disk: MP-ALOE's outputs took 50 TB with them."""


class LabelSetupError(ValueError):
    """Something that labelling needs is not on this machine; the message says what to do."""


def pbe_static() -> MP24StaticMaker:
    """Make stage 1: a static with MP24 settings, but PBE, KSPACING 0.2, and WAVECAR kept."""
    settings = {**LEAN, "KSPACING": KSPACING, "LWAVE": True}
    return MP24StaticMaker(name="PBE static", input_set_generator=_static_set("PBE", settings))


def r2scan_three_steps() -> MP24RelaxMaker:
    """Make stage 2: MP24's relaxation with exactly three ionic steps from WAVECAR.

    EDIFFG = 0 makes VASP take NSW steps whatever the forces are, and pymatgen and custodian
    count that as converged.
    """
    settings = {
        **LEAN,
        "KSPACING": KSPACING,
        "NSW": 3,
        "EDIFFG": 0,
        "ISTART": 1,
        "LWAVE": False,
    }
    generator: Any = MP24RelaxSet(
        xc_functional="r2SCAN", auto_kspacing=False, user_incar_settings=settings
    )
    return MP24RelaxMaker(
        name="r2SCAN three steps",
        input_set_generator=generator,
        copy_vasp_kwargs={"additional_vasp_files": ("WAVECAR",)},
        # a step that did not converge is left out; the others are labels
        stop_children_kwargs={"handle_unsuccessful": False},
    )


@dataclass
class PBEThenR2SCANMaker(Maker):
    """A PBE static, then three r2SCAN ionic steps started from its WAVECAR.

    Parameters
    ----------
    name : str
    stage1, stage2 : BaseVaspMaker
        Stage 1 must write WAVECAR; stage 2 copies it (``copy_vasp_kwargs``).
    """

    name: str = "PBE then r2SCAN"
    stage1: BaseVaspMaker = field(default_factory=pbe_static)
    stage2: BaseVaspMaker = field(default_factory=r2scan_three_steps)

    def make(self, structure: Structure, prev_dir: str | Path | None = None) -> Flow:
        """Make both stages; the output is the task document of the second.

        Parameters
        ----------
        structure : Structure
        prev_dir : str or Path, optional
            Calculation that stage 1 starts from.
        """
        one, two = cast("Maker", self.stage1), cast("Maker", self.stage2)
        first = one.make(structure, prev_dir=prev_dir)
        second = two.make(structure, prev_dir=first.output.dir_name)
        return Flow([first, second], output=second.output, name=self.name)


def static(functional: str) -> MP24StaticMaker:
    """Make one static with MP24 settings and KSPACING 0.2.

    Raises
    ------
    ValueError
        If the MP24 sets do not know the functional.
    """
    if functional not in FUNCTIONALS:
        raise ValueError(f"functional {functional!r}: MP24 settings exist for {FUNCTIONALS}")
    settings = {**LEAN, "KSPACING": KSPACING, "LWAVE": False}
    return MP24StaticMaker(
        name=f"{functional} static", input_set_generator=_static_set(functional, settings)
    )


def _static_set(functional: Any, settings: dict[str, Any]) -> Any:
    # atomate2's annotation names its own generators; its MP24 Makers hold pymatgen's sets too
    return MP24StaticSet(
        xc_functional=functional, auto_kspacing=False, user_incar_settings=settings
    )


def configured(
    maker: Maker,
    incar: dict[str, Any] | None = None,
    run_vasp: dict[str, Any] | None = None,
    potcar_spec: bool = False,
) -> Maker:
    """Return a Maker whose VASP jobs have these settings.

    Parameters
    ----------
    maker : Maker
    incar : dict, optional
        INCAR settings of every stage.
    run_vasp : dict, optional
        Arguments of atomate2's ``run_vasp``: vasp_cmd, wall_time, custodian_kwargs, …
    potcar_spec : bool
        Write POTCAR.spec, not POTCAR: for the stand-in only.
    """
    if incar:
        from atomate2.vasp.powerups import update_user_incar_settings

        maker = update_user_incar_settings(maker, incar)
    update: dict[str, Any] = {}
    if run_vasp:
        update["run_vasp_kwargs"] = dict(run_vasp)
    if potcar_spec:
        update["write_input_set_kwargs"] = {"potcar_spec": True}
    return maker.update_kwargs(update, class_filter=BaseVaspMaker) if update else maker


def vasp_makers(maker: Any) -> Iterator[BaseVaspMaker]:
    """Yield the VASP Makers among a Maker and the fields of it."""
    return (made for made in makers_within(maker) if isinstance(made, BaseVaspMaker))


def check_vasp_setup(maker: Maker, elements: Sequence[str]) -> None:
    """Raise ``LabelSetupError`` if VASP's command or a POTCAR is missing on this machine."""
    problems = setup_problems(maker, elements)
    if problems:
        raise LabelSetupError("; ".join(problems.values()))


def setup_problems(maker: Maker, elements: Sequence[str]) -> dict[str, str]:
    """Return what a Maker's VASP jobs lack on this machine: "VASP", "POTCARs" -> the words.

    Nothing for a Maker without VASP; POTCARs only where they are written.
    """
    problems: dict[str, str] = {}
    for vasp in vasp_makers(maker):
        try:
            check_command(vasp)
        except LabelSetupError as error:
            problems.setdefault("VASP", str(error))
        try:
            if not vasp.write_input_set_kwargs.get("potcar_spec"):
                check_potcars(vasp, elements)
        except LabelSetupError as error:
            problems.setdefault("POTCARs", str(error))
    return problems


def check_command(maker: BaseVaspMaker) -> None:
    """Raise ``LabelSetupError`` unless the command that starts VASP is on PATH."""
    from atomate2 import SETTINGS

    command = str(maker.run_vasp_kwargs.get("vasp_cmd", SETTINGS.VASP_CMD))
    words = shlex.split(expandvars(command))
    # a launcher is followed by its options and, last, by the program it starts
    programs = (words[:1] + words[-1:] if words[:1] and words[0] in LAUNCHERS else words[:1]) or [
        "nothing"
    ]
    missing = next((w for w in programs if shutil.which(w) is None), None)
    if missing is not None:
        raise LabelSetupError(
            f"VASP_CMD={command}: {missing} is not on PATH; set VASP_CMD "
            "in ~/.atomate2.yaml or ATOMATE2_VASP_CMD, or load VASP's module"
        )


def check_potcars(maker: BaseVaspMaker, elements: Sequence[str]) -> None:
    """Raise ``LabelSetupError`` unless there is a POTCAR for every element."""
    from pymatgen.core import SETTINGS
    from pymatgen.io.vasp import PotcarSingle

    folder = SETTINGS.get("PMG_VASP_PSP_DIR")
    if not folder or not Path(folder).expanduser().is_dir():
        raise LabelSetupError(
            f"PMG_VASP_PSP_DIR={folder}: no POTCAR folder; set it with `pmg config --add "
            "PMG_VASP_PSP_DIR <folder>` (see pymatgen's installation page)"
        )
    generator = maker.input_set_generator
    functional = generator.user_potcar_functional or "PBE_64"
    chosen = {**generator.config_dict.get("POTCAR", {}), **(generator.user_potcar_settings or {})}
    missing = []
    for element in elements:
        symbol = chosen.get(element, element)
        symbol = symbol if isinstance(symbol, str) else symbol["symbol"]
        try:
            PotcarSingle.from_symbol_and_functional(symbol, functional)
        except (OSError, ValueError, LookupError):  # not there, or no POTCAR
            missing.append(f"{element} ({symbol})")
    if missing:
        raise LabelSetupError(
            f"PMG_VASP_PSP_DIR={folder} holds no {functional} POTCAR for {', '.join(missing)}; add "
            "them with `pmg config -p <VASP's potpaw folder> <this folder>`"
        )
