"""What the presets write is what pymatgen's sets write, but for the differences that are named."""

from __future__ import annotations

import pytest
from pymatgen.core import Structure
from pymatgen.io.vasp.sets import MatPESStaticSet, MP24RelaxSet, MP24StaticSet

from atomate2_alpot.label import presets
from atomate2_alpot.label.vasp import LabelSetupError, check_vasp_setup, vasp_makers

CRYSTALS = {
    "NaCl": ("rocksalt", ["Na", "Cl"], 5.6),
    "MgO": ("rocksalt", ["Mg", "O"], 4.2),
    "NiO, a magnetic oxide": ("rocksalt", ["Ni", "O"], 4.2),
    "MnO": ("rocksalt", ["Mn", "O"], 4.4),
    "FeO": ("rocksalt", ["Fe", "O"], 4.3),
    "CeO2, a lanthanide": ("fluorite", ["Ce", "O"], 5.4),
    "GdN": ("rocksalt", ["Gd", "N"], 5.0),
    "LiH, with hydrogen": ("rocksalt", ["Li", "H"], 4.1),
    "TiC": ("rocksalt", ["Ti", "C"], 4.3),
    "SiC": ("zincblende", ["Si", "C"], 4.4),
    "GaAs": ("zincblende", ["Ga", "As"], 5.7),
    "ZnS": ("zincblende", ["Zn", "S"], 5.4),
    "CsCl": ("cscl", ["Cs", "Cl"], 4.1),
    "NiAl": ("cscl", ["Ni", "Al"], 2.9),
    "CaF2": ("fluorite", ["Ca", "F"], 5.5),
    "SrTiO3": ("perovskite", ["Sr", "Ti", "O", "O", "O"], 3.9),
    "Al, a metal": ("fcc", ["Al"], 4.05),
    "Cu": ("fcc", ["Cu"], 3.6),
    "Fe": ("bcc", ["Fe"], 2.87),
    "W": ("bcc", ["W"], 3.17),
}
LEAN = {"LCHARG": (True, False), "LAECHG": (True, False), "LVTOT": (True, False)}
PBE_STATIC = {**LEAN, "KSPACING": (0.22, 0.2), "LWAVE": (False, True)}
R2SCAN_STEPS = {
    **LEAN,
    "KSPACING": (0.22, 0.2),
    "NSW": (99, 3),
    "EDIFFG": (-0.02, 0.0),
    "ISTART": (None, 1),
}


@pytest.fixture(params=CRYSTALS)
def crystal(request) -> Structure:
    prototype, species, a = CRYSTALS[request.param]
    if prototype == "perovskite":
        from pymatgen.core import Lattice

        places = [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
        return Structure(Lattice.cubic(a), species, places)
    return Structure.from_prototype(prototype, species, a=a)


def inputs_of(generator, structure):
    return generator.get_input_set(structure, potcar_spec=True)


def differences(theirs, ours) -> dict:
    keys = {*theirs.incar, *ours.incar}
    pairs = {k: (theirs.incar.get(k), ours.incar.get(k)) for k in keys}
    return {k: (a, b) for k, (a, b) in pairs.items() if a != b}


def same_rest(theirs, ours) -> None:
    assert ours.kpoints is None
    assert theirs.kpoints is None
    assert ours.potcar == theirs.potcar
    assert ours.poscar.structure == theirs.poscar.structure


def test_mp_aloe_is_mp24_but_for_what_the_docs_name(crystal):
    one, two = vasp_makers(presets.mp_aloe().maker)
    for maker, plain, named in (
        (one, MP24StaticSet(xc_functional="PBE"), PBE_STATIC),
        (two, MP24RelaxSet(), R2SCAN_STEPS),
    ):
        ours = inputs_of(maker.input_set_generator, crystal)
        theirs = inputs_of(plain, crystal)
        assert differences(theirs, ours) == named
        same_rest(theirs, ours)
        assert ours.incar["ENCUT"] == 680
    assert inputs_of(one.input_set_generator, crystal).incar["GGA"].upper() == "PE"
    assert inputs_of(two.input_set_generator, crystal).incar["METAGGA"].upper() == "R2SCAN"


@pytest.mark.parametrize("functional", ["PBE", "PBEsol", "r2SCAN"])
def test_a_static_is_mp24s_with_a_denser_mesh(crystal, functional):
    (maker,) = vasp_makers(presets.static(functional).maker)
    ours = inputs_of(maker.input_set_generator, crystal)
    theirs = inputs_of(MP24StaticSet(xc_functional=functional), crystal)
    assert differences(theirs, ours) == {**LEAN, "KSPACING": (0.22, 0.2)}
    same_rest(theirs, ours)


def test_matpes_is_atomate2s(crystal):
    pbe, r2scan = vasp_makers(presets.matpes().maker)
    assert differences(
        inputs_of(MatPESStaticSet(), crystal), inputs_of(pbe.input_set_generator, crystal)
    ) == {"LWAVE": (False, True)}
    theirs = MatPESStaticSet(xc_functional="R2SCAN", user_incar_settings={"GGA": None})
    ours = inputs_of(r2scan.input_set_generator, crystal)
    assert differences(inputs_of(theirs, crystal), ours) == {"ISTART": (None, 1)}


def test_a_change_reaches_every_stage_and_none_of_the_preset():
    changed = presets.mp_aloe(incar={"NPAR": 4}, run_vasp={"wall_time": 3600})
    for maker in vasp_makers(changed.maker):
        assert maker.input_set_generator.user_incar_settings["NPAR"] == 4
        assert maker.run_vasp_kwargs == {"wall_time": 3600}
    for maker in vasp_makers(presets.mp_aloe().maker):
        assert "NPAR" not in maker.input_set_generator.user_incar_settings
        assert maker.run_vasp_kwargs == {}


def test_the_program_behind_a_launcher_is_looked_for_too(tmp_path, monkeypatch):
    launcher = tmp_path / "mpirun"
    launcher.write_text("#!/bin/sh\n")
    launcher.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    changed = presets.mp_aloe(run_vasp={"vasp_cmd": "mpirun -n 4 no_such_vasp"})
    with pytest.raises(LabelSetupError, match=r"VASP_CMD=.*: no_such_vasp is not on PATH"):
        check_vasp_setup(changed.maker, ["Al"])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: presets.static("HSE06"), r"'HSE06': MP24 settings exist for .*r2SCAN"),
        (lambda: presets.matpes("PBEsol"), r"'PBEsol': MatPES has"),
        (lambda: presets.gpaw("SCAN"), r"'SCAN': GPAW here knows"),
        (lambda: presets.gpaw(cutoff=-1), r"cutoff=-1: give a number above 0"),
    ],
)
def test_an_unknown_functional_or_cutoff_is_refused_when_the_preset_is_made(make, said):
    with pytest.raises(ValueError, match=said):
        make()
