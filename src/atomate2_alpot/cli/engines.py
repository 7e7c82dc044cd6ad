"""What labels need on this machine: VASP with its POTCARs and scratch, GPAW with its setups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from atomate2_alpot.cli.build import build_labeller
from atomate2_alpot.cli.config import RunConfig
from atomate2_alpot.cli.findings import Finding, State
from atomate2_alpot.label.engine import makers_within
from atomate2_alpot.label.gpaw import INSTALL, GpawStaticMaker
from atomate2_alpot.label.vasp import pbe_static, setup_problems, vasp_makers

SETUPS: str = (
    "pip install gpaw-data, or `gpaw install-data <folder>`; for setups that are somewhere else "
    "set GPAW_SETUP_PATH"
)


def check_engines(config: RunConfig | None) -> Iterator[Finding]:
    """Check the engine of a config's labeller, and VASP, which others may want, in any case.

    Parameters
    ----------
    config : RunConfig or None
        None if there is none that is valid.
    """
    maker = _maker(config)
    elements = list(config.elements) if config else []
    if any(isinstance(made, GpawStaticMaker) for made in makers_within(maker)):
        yield check_gpaw(elements)
    if next(vasp_makers(maker), None) is not None:
        yield from check_vasp(maker, elements, "fail")
        yield _config_file()
    else:
        note = " (this config does not use VASP)" if config else ""
        yield from check_vasp(pbe_static(), elements, "warn", note)


def check_vasp(
    maker: Any, elements: Sequence[str], missing: State, note: str = ""
) -> Iterator[Finding]:
    """Check VASP's command, POTCARs of the elements, and custodian's scratch folder.

    Parameters
    ----------
    maker : Maker
        Of VASP jobs.
    elements : sequence of str
    missing : str
        How bad it is if something is.
    note : str
        Put behind what is missing.
    """
    from atomate2 import SETTINGS as ATOMATE2
    from pymatgen.core import SETTINGS as PYMATGEN

    vasp = next(vasp_makers(maker))
    specs = bool(vasp.write_input_set_kwargs.get("potcar_spec"))
    fine = {
        "VASP": f"VASP_CMD={vasp.run_vasp_kwargs.get('vasp_cmd', ATOMATE2.VASP_CMD)}",
        "POTCARs": "none are needed: the labeller writes POTCAR.spec, for a stand-in"
        if specs
        else f"{PYMATGEN.get('PMG_VASP_PSP_DIR')} has all of {' '.join(elements) or 'them'}",
    }
    problems = setup_problems(maker, elements)
    for what, words in fine.items():
        if what in problems:
            yield Finding(what, missing, problems[what] + note)
        else:
            yield Finding(what, "ok", words)
    scratch = vasp.run_vasp_kwargs.get("scratch_dir", ATOMATE2.CUSTODIAN_SCRATCH_DIR)
    yield _scratch(scratch, missing, note)


def check_gpaw(elements: Sequence[str]) -> Finding:
    """Check that GPAW loads and has a setup for every element."""
    try:
        import gpaw
        from gpaw.setup_data import search_for_file
    except Exception as error:  # a broken build raises what it likes
        return Finding("GPAW", "fail", f"GPAW does not load ({error}); {INSTALL}")
    missing = []
    for element in elements:
        try:
            search_for_file(f"{element}.PBE")
        except (FileNotFoundError, RuntimeError):
            missing.append(element)
    if missing:
        where = [str(p) for p in gpaw.setup_paths]
        words = f"GPAW has no PBE setup for {missing} (looked in {where}); {SETUPS}"
        return Finding("GPAW", "fail", words)
    return Finding("GPAW", "ok", f"{gpaw.__version__} loads, with setups of {' '.join(elements)}")


def _maker(config: RunConfig | None) -> Any:
    if config is None:
        return None
    try:
        return build_labeller(config.label).maker
    except ValueError:  # reported by the preflight
        return None


def _scratch(folder: str | None, missing: State, note: str) -> Finding:
    """Check the folder that custodian calculates in; it passes over one that is not there."""
    what, remedy = "scratch", "CUSTODIAN_SCRATCH_DIR in ~/.atomate2.yaml"
    if folder is None:
        return Finding(what, "ok", f"none, VASP runs in the jobs' own folders ({remedy} sets one)")
    if not Path(folder).is_dir():
        words = f"{folder} is no folder, so VASP runs in the jobs' own; make it, or change {remedy}"
        return Finding(what, "warn", words + note)
    try:
        with TemporaryDirectory(dir=folder):
            return Finding(what, "ok", f"{folder} can be written")
    except OSError as error:
        words = f"{folder} cannot be written ({error.strerror}); chmod it, or change {remedy}"
        return Finding(what, missing, words + note)


def _config_file() -> Finding:
    """Check that atomate2 has a file with the settings of this machine."""
    from atomate2 import SETTINGS as ATOMATE2

    path = Path(ATOMATE2.CONFIG_FILE).expanduser()
    if path.is_file():
        return Finding("atomate2 config", "ok", str(path))
    words = (
        f"no {path}: atomate2 goes by its defaults. Write VASP_CMD (and CUSTODIAN_SCRATCH_DIR, …) "
        "into it, or say where it is in ATOMATE2_CONFIG_FILE"
    )
    return Finding("atomate2 config", "warn", words)
