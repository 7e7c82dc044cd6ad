"""Exporting labels: extended XYZ, Parquet, MatPES-style JSON, each with a dataset card."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from atomate2_alpot.schemas import Frames
from atomate2_alpot.units import EV_PER_A3_TO_KBAR


def export_frames(
    frames: Frames, path: str | Path, kind: str | None = None, surrogate: str | None = None
) -> Path:
    """Write labelled frames and, beside them, a dataset card (``<name>.card.json``).

    Parameters
    ----------
    frames : Frames
        Labelled.
    path : str or Path
    kind : str, optional
        A key of :data:`EXPORTERS`; default by the suffix (.xyz/.extxyz, .parquet, .json/.json.gz).
    surrogate : str, optional
        Name of the model that labelled in place of DFT: it goes into the card.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ValueError
        If there is nothing to export, or the format is unknown.
    """
    path = Path(path)
    if not len(frames):
        raise ValueError("nothing to export: no labelled frame matches")
    chosen = kind or _by_suffix(path)
    if chosen not in EXPORTERS:
        raise ValueError(f"format {chosen!r}: choose from {sorted(EXPORTERS)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    EXPORTERS[chosen](frames, path)
    card = dataset_card(frames, surrogate)
    path.with_name(path.name + ".card.json").write_text(json.dumps(card, indent=2))
    return path


def dataset_card(frames: Frames, surrogate: str | None = None) -> dict[str, Any]:
    """Describe a dataset: what it holds, in which units, from where.

    Parameters
    ----------
    frames : Frames
    surrogate : str, optional
    """
    counts = frames.composition() > 0
    functionals, of_each = np.unique(frames.column("functional").astype(str), return_counts=True)
    return {
        "labels": f"SURROGATE: {surrogate}, not DFT" if surrogate else "reference method",
        "n_frames": len(frames),
        "n_atoms": int(frames.offsets[-1]),
        "functionals": dict(zip(functionals.tolist(), of_each.tolist(), strict=True)),
        "frames_with_element": dict(zip(frames.elements, counts.sum(axis=0).tolist(), strict=True)),
        "units": {
            "energy": "eV, total",
            "forces": "eV/Å",
            "stress": "eV/Å³, tension positive (MatPES-style JSON: kBar, compression positive)",
            "positions, cell": "Å",
        },
        "software": {p: version(p) for p in ("atomate2-alpot", "atomate2", "pymatgen")},
    }


def _write_extxyz(frames: Frames, path: Path) -> None:
    frames.to_extxyz(path)


def _write_parquet(frames: Frames, path: Path) -> None:
    frames.to_parquet(path)


def _write_matpes(frames: Frames, path: Path) -> None:
    """Write MatPES's record layout: a list with ``structure``, ``energy``, ``forces``, ``stress``.

    As in MatPES, ``energy`` is the total in eV, ``stress`` six Voigt components in kBar with
    VASP's sign.
    """
    forces = frames.split_atoms(frames.forces)
    records = []
    for s, structure in enumerate(frames.to_structures()):
        stress = -frames.stress[s] * EV_PER_A3_TO_KBAR
        voigt = stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        records.append(
            {
                "matpes_id": frames.frame_id[s],
                "structure": structure.as_dict(),
                "energy": float(frames.energy[s]),
                "forces": forces[s].tolist(),
                "stress": voigt.tolist() if np.isfinite(voigt).all() else None,
                "nsites": len(structure),
                "elements": sorted(e.symbol for e in structure.composition.elements),
                "nelements": len(structure.composition),
                "chemsys": structure.chemical_system,
                "formula_pretty": structure.composition.reduced_formula,
                "functional": frames.table["functional"][s].as_py(),
            }
        )
    data = json.dumps(records).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


EXPORTERS: dict[str, Callable[[Frames, Path], None]] = {
    "extxyz": _write_extxyz,
    "parquet": _write_parquet,
    "matpes": _write_matpes,
}
"""Name of a format -> function that writes it."""

_SUFFIXES = {
    ".xyz": "extxyz",
    ".extxyz": "extxyz",
    ".parquet": "parquet",
    ".json": "matpes",
    ".json.gz": "matpes",
}


def _by_suffix(path: Path) -> str:
    suffix = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    if suffix not in _SUFFIXES:
        raise ValueError(
            f"{path.name}: no format has the suffix {suffix!r}; use one of {sorted(_SUFFIXES)}, or "
            "name a format"
        )
    return _SUFFIXES[suffix]
