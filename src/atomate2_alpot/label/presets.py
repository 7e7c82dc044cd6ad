"""Ready-made labellers, by name: ``presets.PRESETS[name](...)`` → `LabelMaker`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from jobflow import Maker

from atomate2_alpot.label.makers import LabelMaker
from atomate2_alpot.schemas import PotentialSpec

WAVECAR: str = "WAVECAR*"

CHGNET_FUNCTIONALS: dict[str, str] = {"r2scan": "r2SCAN", "0.3.0": "PBE", "0.2.0": "PBE"}
"""Models in chgnet's wheel and the functional each was trained on (0.x: PBE/PBE+U of MPtrj)."""


def mp_aloe(
    incar: dict[str, Any] | None = None,
    run_vasp: dict[str, Any] | None = None,
    potcar_spec: bool = False,
) -> LabelMaker:
    """Label as MP-ALOE did: PBE static, then three r2SCAN ionic steps from its WAVECAR.

    680 eV, KSPACING 0.2, MP24 settings; every ionic step that converged becomes a frame, and
    WAVECAR is removed when the frame is done (METHODS.md §1; MP-ALOE, Methods, "DFT").

    Parameters
    ----------
    incar : dict, optional
        INCAR settings to change in both stages.
    run_vasp : dict, optional
        Arguments of atomate2's ``run_vasp``, for example ``{"wall_time": 3600}``.
    potcar_spec : bool
        Write POTCAR.spec, not POTCAR: for the stand-in only.
    """
    from atomate2_alpot.label.vasp import PBEThenR2SCANMaker

    labeller = _by_vasp(PBEThenR2SCANMaker(), "r2SCAN", incar, run_vasp, potcar_spec)
    return dataclasses.replace(labeller, which="all", remove=[WAVECAR])


def matpes(
    functional: str = "r2SCAN",
    incar: dict[str, Any] | None = None,
    run_vasp: dict[str, Any] | None = None,
    potcar_spec: bool = False,
) -> LabelMaker:
    """Label as MatPES did: atomate2's ``MatPesStaticFlowMaker``, PBE then r2SCAN statics.

    Parameters
    ----------
    functional : str
        r2SCAN or PBE: which of the two statics is the label. For PBE the second does not run.
    incar, run_vasp, potcar_spec
        See :func:`mp_aloe`.

    Raises
    ------
    ValueError
        For another functional.
    """
    from atomate2.vasp.flows.matpes import MatPesStaticFlowMaker
    from atomate2.vasp.powerups import update_user_incar_settings

    entries = {"PBE": "static1", "r2SCAN": "static2"}
    if functional not in entries:
        raise ValueError(f"functional {functional!r}: MatPES has {sorted(entries)}")
    maker = MatPesStaticFlowMaker()
    second: Any = None
    if functional != "PBE":  # without ISTART a WAVECAR that is empty would go unnoticed
        second = update_user_incar_settings(maker.static2, {"ISTART": 1})  # type: ignore[type-var]
    maker = dataclasses.replace(maker, static2=second)
    labeller = _by_vasp(maker, functional, incar, run_vasp, potcar_spec)
    return dataclasses.replace(labeller, result=entries[functional], remove=[WAVECAR])


def static(
    functional: str = "r2SCAN",
    incar: dict[str, Any] | None = None,
    run_vasp: dict[str, Any] | None = None,
    potcar_spec: bool = False,
) -> LabelMaker:
    """Label with one VASP static, MP24 settings and KSPACING 0.2.

    Parameters
    ----------
    functional : str
        PBE, PBEsol or r2SCAN.
    incar, run_vasp, potcar_spec
        See :func:`mp_aloe`.
    """
    from atomate2_alpot.label import vasp

    return _by_vasp(vasp.static(functional), functional, incar, run_vasp, potcar_spec)


def _by_vasp(
    maker: Maker,
    functional: str,
    incar: dict[str, Any] | None,
    run_vasp: dict[str, Any] | None,
    potcar_spec: bool,
) -> LabelMaker:
    """Label with a Maker of VASP jobs; without POTCARs only the stand-in of our tests runs."""
    from atomate2_alpot.label.vasp import configured

    return LabelMaker(
        maker=configured(maker, incar, run_vasp, potcar_spec),
        functional=functional,
        surrogate="VASP stand-in" if potcar_spec else None,
    )


def gpaw(
    functional: str = "PBE",
    cutoff: float = 500.0,
    kspacing: float = 0.3,
    options: dict[str, Any] | None = None,
) -> LabelMaker:
    """Label with GPAW: real DFT without a licence, PBE or (from its density) r2SCAN.

    Parameters
    ----------
    functional : str
        PBE or r2SCAN.
    cutoff : float
        Plane waves up to this energy, eV.
    kspacing : float
        1/Å with 2π, as VASP's KSPACING.
    options : dict, optional
        Other arguments of ``gpaw.GPAW``.
    """
    from atomate2_alpot.label.gpaw import GpawStaticMaker

    maker = GpawStaticMaker(
        name=f"GPAW {functional} static",
        functional=functional,
        cutoff=cutoff,
        kspacing=kspacing,
        calculator_kwargs=options or {},
    )
    return LabelMaker(maker=maker, functional=f"{functional} (GPAW)")


def cp2k(
    settings: dict[str, Any] | None = None,
    kpoints: tuple[int, int, int] | None = None,
    run_cp2k: dict[str, Any] | None = None,
) -> LabelMaker:
    """Label with one CP2K static, PBE, through atomate2's own Maker and settings.

    Needs CP2K on PATH (or CP2K_CMD), and its basis sets where pymatgen finds them
    (`pmg config --cp2k <CP2K's data folder> <a new folder>`, then PMG_CP2K_DATA_DIR).

    Parameters
    ----------
    settings : dict, optional
        Over those of atomate2's ``StaticSetGenerator``, for example ``{"cutoff": 600}`` (Ry).
    kpoints : tuple of int, optional
        Γ-centred mesh; by default atomate2's density.
    run_cp2k : dict, optional
        Arguments of atomate2's ``run_cp2k``.
    """
    from atomate2.cp2k.jobs.core import StaticMaker
    from atomate2.cp2k.sets.core import StaticSetGenerator
    from pymatgen.io.vasp import Kpoints

    update = {"xc_functionals": "PBE", **(settings or {})}
    generator = StaticSetGenerator(user_input_settings=update)
    if kpoints is not None:
        generator.user_kpoints_settings = Kpoints(kpts=(kpoints,))
    maker = StaticMaker(
        name="CP2K PBE static", input_set_generator=generator, run_cp2k_kwargs=run_cp2k or {}
    )
    return LabelMaker(maker=maker, functional="PBE (CP2K)", remove=["*.wfn*"])


def surrogate(spec: PotentialSpec) -> LabelMaker:
    """Label with a potential that stands in for DFT: for demos, benchmarks and tests.

    The labels go through atomate2's ``ForceFieldStaticMaker`` and its task documents, as any
    other; the name of the model is stored with them as ``surrogate``.

    Parameters
    ----------
    spec : PotentialSpec
        A potential by backend and name; its ``functional`` is stored with the labels.

    Raises
    ------
    ValueError
        If the recipe holds an artifact: label jobs take a name, their arguments no weights.
    """
    from atomate2.forcefields.jobs import ForceFieldStaticMaker

    if spec.artifact is not None:
        raise ValueError(f"surrogate {spec.label}: give it by `name`, not by artifact")
    maker = ForceFieldStaticMaker(
        name="surrogate static",
        # an import path, since atomate2's own "CHGNet" loads 0.3.0 whatever model is asked for
        force_field_name={
            "@module": "atomate2_alpot.label.surrogates",
            "@callable": "PotentialCalculator",
        },
        calculator_kwargs={"backend": spec.backend, "name": spec.name, "kwargs": spec.kwargs},
    )
    return LabelMaker(
        maker=maker,
        functional=spec.functional or f"surrogate {spec.label}",
        surrogate=spec.label,
    )


def chgnet_surrogate(model: str = "r2scan") -> LabelMaker:
    """Label with a pretrained CHGNet of chgnet's wheel, a surrogate for r2SCAN or PBE.

    Parameters
    ----------
    model : str
        r2scan, 0.3.0 or 0.2.0.

    Raises
    ------
    ValueError
        If the wheel has no such model.
    """
    if model not in CHGNET_FUNCTIONALS:
        raise ValueError(f"chgnet surrogate {model!r}: choose from {sorted(CHGNET_FUNCTIONALS)}")
    return surrogate(
        PotentialSpec(backend="chgnet", name=model, functional=CHGNET_FUNCTIONALS[model])
    )


def toy_surrogate(seed: int = 0) -> LabelMaker:
    """Label with the toy pair potential of `atomate2_alpot.testing`: for tests, not for physics.

    Parameters
    ----------
    seed : int
        Seed of its parameters.
    """
    return surrogate(PotentialSpec(backend="toy", kwargs={"seed": seed}, functional="toy"))


PRESETS: dict[str, Callable[..., LabelMaker]] = {
    "chgnet-surrogate": chgnet_surrogate,
    "mp-aloe": mp_aloe,
    "matpes": matpes,
    "static": static,
    "gpaw": gpaw,
    "cp2k": cp2k,
    "toy-surrogate": toy_surrogate,
}
"""Name in a config file -> function that makes the labeller."""
