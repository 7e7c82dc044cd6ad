"""What the labeller needs on this machine: found by `alpot run` before the first job, by doctor."""

from __future__ import annotations

import builtins
import sys

import atomate2
import pymatgen.core
import pytest
from toy_run import changed, write

from atomate2_alpot.cli.build import build_labeller, build_maker
from atomate2_alpot.cli.doctor import diagnose
from atomate2_alpot.cli.engines import check_engines
from atomate2_alpot.cli.loading import ConfigError, read_config
from atomate2_alpot.cli.preflight import preflight
from atomate2_alpot.cli.run import run_campaign
from atomate2_alpot.label import presets
from atomate2_alpot.label.isolated import atom_labeller
from atomate2_alpot.label.vasp import LabelSetupError
from atomate2_alpot.testing import vasp_stand_in

POTCAR = """  PAW_PBE {symbol} 01Jan2000
   3.00000000000000
 parameters from PSCTR are:
   VRHFIN ={element}: s2p1
   LEXCH  = PE
   TITEL  = PAW_PBE {symbol} 01Jan2000
   ENMAX  =  240.300; ENMIN  =  180.225 eV
 END of PSCTR-controll parameters
  local part
   98.265106915
"""
SYMBOLS = {"Al": "Al", "Ni": "Ni_pv"}
VASP_PRESETS = ["mp-aloe", "matpes", "static"]


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with VASP on PATH, POTCARs of Al and Ni, a scratch folder, atomate2's config."""
    functional = tmp_path / "potcars" / "POT_PAW_PBE_64"
    functional.mkdir(parents=True)
    for element, symbol in SYMBOLS.items():
        (functional / f"POTCAR.{symbol}").write_text(POTCAR.format(element=element, symbol=symbol))
    monkeypatch.setitem(pymatgen.core.SETTINGS, "PMG_VASP_PSP_DIR", str(tmp_path / "potcars"))
    scratch, config = tmp_path / "scratch", tmp_path / "atomate2.yaml"
    scratch.mkdir()
    config.write_text("VASP_CMD: vasp_std")
    monkeypatch.setattr(atomate2.SETTINGS, "CUSTODIAN_SCRATCH_DIR", str(scratch))
    monkeypatch.setattr(atomate2.SETTINGS, "CONFIG_FILE", str(config))
    monkeypatch.setattr(atomate2.SETTINGS, "VASP_CMD", "vasp_std -np 4")
    (tmp_path / "bin").mkdir()
    with vasp_stand_in(tmp_path / "bin"):
        yield tmp_path


def config_of(tmp_path, preset, **options):
    label = {"preset": preset, "options": options}
    return read_config(write(tmp_path / "c.yaml", changed(label=label)))


def findings(config) -> dict[str, tuple[str, str]]:
    return {f.what: (f.state, f.words) for f in check_engines(config)}


def lose(what: str, machine, monkeypatch) -> None:
    if what == "VASP":
        monkeypatch.setattr(atomate2.SETTINGS, "VASP_CMD", "srun_of_nowhere vasp_std")
    elif what == "folder":
        monkeypatch.setitem(pymatgen.core.SETTINGS, "PMG_VASP_PSP_DIR", str(machine / "none"))
    elif what == "element":
        (machine / "potcars" / "POT_PAW_PBE_64" / "POTCAR.Ni_pv").unlink()
    elif what == "content":
        (machine / "potcars" / "POT_PAW_PBE_64" / "POTCAR.Ni_pv").write_text("")


LACKS = [
    ("VASP", "VASP", r"srun_of_nowhere is not on PATH; set VASP_CMD in ~/.atomate2.yaml"),
    ("folder", "POTCARs", r"none: no POTCAR folder; set it with `pmg config --add"),
    ("element", "POTCARs", r"no PBE_64 POTCAR for Ni \(Ni_pv\); add them with `pmg config -p"),
    ("content", "POTCARs", r"no PBE_64 POTCAR for Ni \(Ni_pv\)"),
]


@pytest.mark.parametrize("preset", VASP_PRESETS)
def test_a_machine_that_has_all_is_told_so(machine, preset):
    config = config_of(machine, preset)
    build_labeller(config.label).check(config.elements)
    assert preflight(config, machine / "run") == []
    found = findings(config)
    assert {state for state, _ in found.values()} == {"ok"}
    assert set(found) == {"VASP", "POTCARs", "scratch", "atomate2 config"}


@pytest.mark.parametrize("preset", VASP_PRESETS)
@pytest.mark.parametrize(("lost", "what", "words"), LACKS)
def test_what_is_missing_is_named_with_its_remedy(machine, monkeypatch, preset, lost, what, words):
    import re

    lose(lost, machine, monkeypatch)
    config = config_of(machine, preset)
    with pytest.raises(LabelSetupError, match=words):
        build_labeller(config.label).check(config.elements)
    (problem,) = preflight(config, machine / "run")
    assert re.search(words, problem)
    assert problem.startswith("label: ")
    found = findings(config)
    assert found[what][0] == "fail"
    assert re.search(words, found[what][1])
    assert [w for w, (state, _) in found.items() if state != "ok"] == [what]


def test_a_run_does_not_begin_without(machine, monkeypatch):
    lose("element", machine, monkeypatch)
    config_of(machine, "mp-aloe")
    with pytest.raises(ConfigError, match=r"cannot be run here:\n  label: .*Ni_pv"):
        run_campaign(machine / "c.yaml", machine / "run")
    assert not (machine / "run").exists()


def test_both_are_said_at_once(machine, monkeypatch):
    lose("VASP", machine, monkeypatch)
    lose("folder", machine, monkeypatch)
    with pytest.raises(LabelSetupError, match=r"not on PATH.*no POTCAR folder"):
        presets.static("PBE").check(["Al"])


def test_isolated_atoms_need_the_same(machine, monkeypatch):
    lose("VASP", machine, monkeypatch)
    with pytest.raises(LabelSetupError, match="not on PATH"):
        atom_labeller(presets.static("PBE")).check(["Al"])


def test_the_flow_is_made_on_a_machine_that_only_submits(machine, monkeypatch):
    lose("VASP", machine, monkeypatch)
    lose("folder", machine, monkeypatch)
    assert build_maker(config_of(machine, "mp-aloe")).make().jobs


def test_a_stand_in_with_specs_needs_no_potcars(machine, monkeypatch):
    lose("folder", machine, monkeypatch)
    config = config_of(machine, "mp-aloe", potcar_spec=True)
    build_labeller(config.label).check(["Al", "Ni"])
    assert preflight(config, machine / "run") == []
    assert findings(config)["POTCARs"][0] == "ok"


def test_a_command_of_the_config_counts(machine, monkeypatch):
    lose("VASP", machine, monkeypatch)
    config = config_of(machine, "static", run_vasp={"vasp_cmd": "vasp_std"})
    assert findings(config)["VASP"] == ("ok", "VASP_CMD=vasp_std")
    assert preflight(config, machine / "run") == []


@pytest.mark.parametrize(
    ("folder", "state", "words"),
    [
        ("/proc", "fail", r"/proc cannot be written .*chmod it, or change CUSTODIAN_SCRATCH_DIR"),
        ("/no/such", "warn", "/no/such is no folder, so VASP runs in the jobs' own; make it, or"),
        (None, "ok", "none, VASP runs in the jobs' own folders"),
    ],
)
def test_scratch_is_tried(machine, monkeypatch, folder, state, words):
    import re

    monkeypatch.setattr(atomate2.SETTINGS, "CUSTODIAN_SCRATCH_DIR", folder)
    found = findings(config_of(machine, "mp-aloe"))["scratch"]
    assert found[0] == state
    assert re.search(words, found[1])


def test_a_missing_config_of_atomate2_is_named(machine, monkeypatch):
    monkeypatch.setattr(atomate2.SETTINGS, "CONFIG_FILE", str(machine / "no.yaml"))
    state, words = findings(config_of(machine, "matpes"))["atomate2 config"]
    assert state == "warn"
    assert "no.yaml: atomate2 goes by its defaults" in words
    assert "ATOMATE2_CONFIG_FILE" in words
    assert "atomate2 config" not in findings(config_of(machine, "toy-surrogate"))


def test_a_config_without_vasp_is_only_warned(machine, monkeypatch):
    lose("VASP", machine, monkeypatch)
    lose("folder", machine, monkeypatch)
    config = config_of(machine, "toy-surrogate", seed=9)
    assert preflight(config, machine / "run") == []
    found = findings(config)
    assert {found[w][0] for w in ("VASP", "POTCARs")} == {"warn"}
    assert "this config does not use VASP" in found["VASP"][1]
    assert {found[w][0] for w in ("VASP", "POTCARs")} == {findings(None)["VASP"][0]}


def test_doctor_ends_with_one_for_what_is_needed(machine, monkeypatch, capsys):
    config_of(machine, "mp-aloe")
    assert diagnose(machine / "c.yaml", machine / "run") == 0
    lose("element", machine, monkeypatch)
    assert diagnose(machine / "c.yaml", machine / "run") == 1
    assert capsys.readouterr().out.count("Ni_pv") == 1


# --- GPAW --------------------------------------------------------------------------------


def test_gpaw_with_its_setups_is_found(tmp_path):
    pytest.importorskip("gpaw")
    state, words = findings(config_of(tmp_path, "gpaw"))["GPAW"]
    assert state == "ok", words
    assert "setups of Al Ni" in words


def test_gpaw_without_a_setup_is_named(tmp_path, monkeypatch):
    gpaw = pytest.importorskip("gpaw")
    (tmp_path / "setups").mkdir()
    (tmp_path / "setups" / "Al.PBE").write_text("")
    monkeypatch.setattr("gpaw.setup_data.setup_paths", [tmp_path / "setups"])
    monkeypatch.setattr(gpaw, "setup_paths", [tmp_path / "setups"])
    state, words = findings(config_of(tmp_path, "gpaw"))["GPAW"]
    assert state == "fail"
    assert "no PBE setup for ['Ni']" in words
    assert "gpaw install-data" in words


def test_gpaw_that_does_not_load_is_named(tmp_path, monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.split(".")[0] == "gpaw":
            raise ImportError("libxc.so.9: cannot open shared object file")
        return real(name, *args, **kwargs)

    for module in [m for m in sys.modules if m.split(".")[0] == "gpaw"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(builtins, "__import__", refuse)
    state, words = findings(config_of(tmp_path, "gpaw"))["GPAW"]
    assert state == "fail"
    assert "libxc.so.9" in words
    assert "libxc-dev" in words
