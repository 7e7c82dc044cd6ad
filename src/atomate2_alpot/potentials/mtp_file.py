"""Moment tensor potentials as .mtp files, which say their elements and E0s in ``potential_tag``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from motep.io.mlip.mtp import read_mtp, write_mtp
from motep.potentials.mtp.data import BasisData, MTPData

from atomate2_alpot.potentials.base import PotentialError
from atomate2_alpot.potentials.mtp_basis import moment_tables

RADIAL_TYPE = "RBChebyshev"


@dataclass(frozen=True)
class MtpModel:
    """A trained potential.

    Parameters
    ----------
    data : MTPData
        Its species are atomic numbers; its species coefficients hold the E0s.
    e0s : dict of str to float
        eV by symbol, that it was trained with; empty if the file does not say.
    """

    data: MTPData
    e0s: dict[str, float]

    @property
    def elements(self) -> list[str]:
        """Symbols, in the order of the types of the .mtp file."""
        return [chemical_symbols[z] for z in self.data.species]


def untrained(level: int, radial: BasisData, elements: list[str]) -> MTPData:
    """Return a potential of a level without coefficients.

    Parameters
    ----------
    level : int
        Even, 2 to 24.
    radial : BasisData
        Inner end, cutoff and number of the radial functions.
    elements : list of str
    """
    tables = moment_tables(level)
    data = MTPData(
        version="1.1.0",
        potential_name=f"MTP_level_{level}",
        scaling=float(1 / (radial.max - radial.min) ** 2),  # (r_c - r)² of all is at most one
        radial_basis=radial,
        radial_funcs_count=tables.n_radial,
        alpha_moments_count=tables.n_moments,
        alpha_index_basic_count=len(tables.basic),
        alpha_index_basic=tables.basic,
        alpha_index_times_count=len(tables.times),
        alpha_index_times=tables.times,
        alpha_scalar_moments=len(tables.mapping),
        alpha_moment_mapping=tables.mapping,
    )
    data.species = np.array([atomic_numbers[e] for e in elements], dtype=np.int32)
    return data


def write_model(path: Path, model: MtpModel) -> None:
    """Write a file that MLIP, LAMMPS and motep read too."""
    tag = json.dumps({"elements": model.elements, "e0s": model.e0s})
    model.data.potential_tag = tag
    write_mtp(path, model.data, legacy=True)


def read_model(path: Path, elements: list[str] | None = None) -> MtpModel:
    """Read a trained potential.

    Parameters
    ----------
    path : Path
    elements : list of str, optional
        By type, for a file that does not say.

    Raises
    ------
    PotentialError
        If it is no .mtp file, is untrained, has no elements, or holds what would make the
        compiled engine read beyond its arrays.
    """
    try:
        data = read_mtp(path)
    except Exception as error:  # the parser raises whatever the text suggests
        raise PotentialError(
            f"{path} is no .mtp file that can be read ({type(error).__name__}: {error})"
        ) from error
    tag = _tag(data.potential_tag)
    symbols = tag.get("elements") or elements
    if not symbols:
        raise PotentialError(
            f"{path} does not say its elements; name them in the order of its types by the "
            "option `elements`"
        )
    if elements is not None and list(symbols) != list(elements):
        raise PotentialError(f"{path}: elements={elements}, but the file is of {symbols}")
    if reason := _defect(data, symbols):
        raise PotentialError(f"{path} is no moment tensor potential that can be used: {reason}")
    data.species = np.array([atomic_numbers[e] for e in symbols], dtype=np.int32)
    return MtpModel(data, {e: float(v) for e, v in tag.get("e0s", {}).items()})


def _tag(text: str) -> dict[str, Any]:
    """Return what we wrote into the tag; nothing for a file of another program."""
    try:
        tag = json.loads(text)
    except ValueError:
        return {}
    return tag if isinstance(tag, dict) else {}


def _defect(data: MTPData, elements: list[str]) -> str:
    """Say what is wrong with a file's content; empty if nothing is."""
    return _defect_of_elements(data, elements) or _defect_of_shapes(data) or _defect_of_tables(data)


def _defect_of_elements(data: MTPData, elements: list[str]) -> str:
    if unknown := [e for e in elements if e not in atomic_numbers]:
        return f"{unknown} are no elements"
    if len(set(elements)) != len(elements) or len(elements) != data.species_count:
        return f"elements {elements} for {data.species_count} types"
    return ""


def _defect_of_shapes(data: MTPData) -> str:
    n, radial = int(data.species_count), data.radial_basis
    if radial.type != RADIAL_TYPE:
        return f"radial_basis_type {radial.type!r}; only {RADIAL_TYPE} is known"
    if not (0 <= radial.min < radial.max and radial.size >= 2 and np.isfinite(data.scaling)):
        return f"min_dist={radial.min}, max_dist={radial.max}, radial_basis_size={radial.size}"
    shapes = {
        "radial_coeffs": (n, n, data.radial_funcs_count, radial.size),
        "species_coeffs": (n,),
        "moment_coeffs": (data.alpha_scalar_moments,),
        "alpha_index_basic": (data.alpha_index_basic_count, 4),
        "alpha_index_times": (data.alpha_index_times_count, 4),
        "alpha_moment_mapping": (data.alpha_scalar_moments,),
    }
    for name, shape in shapes.items():
        values = getattr(data, name)
        if values is None:
            return f"{name} is missing; an untrained potential has none"
        if values.shape != shape or not np.isfinite(values).all():
            return f"{name} has shape {values.shape}, not {shape}, or is not finite"
    return ""


def _defect_of_tables(data: MTPData) -> str:
    basic, n_moments = data.alpha_index_basic, data.alpha_moments_count
    moments = np.concatenate(
        [data.alpha_index_times[:, [0, 1, 3]].ravel(), data.alpha_moment_mapping]
    )
    if not len(basic) or basic[:, 0].max() >= data.radial_funcs_count or basic.min() < 0:
        return "alpha_index_basic names radial functions that are not there"
    if len(basic) > n_moments or moments.min() < 0 or moments.max() >= n_moments:
        return "alpha_index_times or alpha_moment_mapping name moments that are not there"
    return ""
