"""A program that is started, read and restarted like VASP, for tests: energies are a model's.

PyPI's `vasp-mace` was looked at first (2.9.2): MACE only, no WAVECAR, no electronic steps, and it
cannot fail on demand.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from atomate2_alpot.schemas import PotentialSpec
from atomate2_alpot.testing.vasp_files import MARK

NAMES: tuple[str, ...] = ("vasp_std", "vasp_gam")
FAULTS: tuple[str, ...] = (
    "not_converging",
    "dies",
    "truncated",
    "no_wavecar",
    "wrong_kpoints",
    "explodes",
    "slow",
)
"""Electronic steps end at NELM; exit without results; vasprun.xml cut in half; no WAVECAR though
LWAVE is set; another k-point mesh than asked for; forces of 10⁴ eV/Å; electronic steps go on until
there is a STOPCAR (or for an hour), and then it ends unconverged."""


@contextmanager
def vasp_stand_in(
    folder: Path,
    faults: Mapping[str, float] | None = None,
    models: Mapping[str, PotentialSpec] | None = None,
) -> Iterator[dict[str, Any]]:
    """Put the stand-in on PATH as ``vasp_std`` and ``vasp_gam``.

    Parameters
    ----------
    folder : Path
        Where the two executables are written.
    faults : mapping of str to float, optional
        Kind (see ``FAULTS``) -> fraction of structures that fail so, chosen by their content.
    models : mapping of str to PotentialSpec, optional
        "PBE" and "r2SCAN" -> what stands in for it; by default two different toys.

    Yields
    ------
    dict
        ``run_vasp_kwargs`` for atomate2's Makers: custodian looks every 0.05 s rather than
        every 10 s.
    """
    if unknown := set(faults or {}) - set(FAULTS):
        raise ValueError(f"faults {sorted(unknown)}: choose from {FAULTS}")
    options = {
        "faults": dict(faults or {}),
        "models": {k: m.model_dump(mode="json") for k, m in (models or {}).items()},
    }
    for name in NAMES:
        script = folder / name
        module = "atomate2_alpot.testing.vasp_program"
        words = [sys.executable, "-m", module, json.dumps(options)]
        script.write_text(f"#!/bin/sh\n# {MARK}\nexec {shlex.join(words)}\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{folder}{os.pathsep}{before}"
    try:
        yield {
            "vasp_cmd": str(folder / NAMES[0]),
            "vasp_gamma_cmd": str(folder / NAMES[1]),
            "custodian_kwargs": {"polling_time_step": 0.05, "monitor_freq": 1},
        }
    finally:
        os.environ["PATH"] = before


def fault_of(species: Sequence[str], cell: ArrayLike, faults: Mapping[str, float]) -> str | None:
    """Return the kind of fault that a structure meets, if any.

    The choice depends on species and cell only, which the ionic steps of a static keep, and
    not on the order of sites.

    Parameters
    ----------
    species : sequence of str
        Symbol of every site.
    cell : array, shape (3, 3)
        Å.
    faults : mapping of str to float
        Kind -> fraction.
    """
    content = json.dumps([sorted(species), np.round(np.asarray(cell), 5).tolist()])
    draw = int(hashlib.sha256(content.encode()).hexdigest()[:8], 16) / 16**8
    for kind, fraction in faults.items():
        if draw < fraction:
            return kind
        draw -= fraction
    return None
