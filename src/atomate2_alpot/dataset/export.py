"""Exporting labels: extended XYZ, Parquet, MatPES-style JSON, each with a dataset card."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from atomate2_alpot.schemas import Frames
from atomate2_alpot.units import EV_PER_A3_TO_KBAR

Surrogate = str | Sequence[str | None] | None
"""Name of the model that labelled in place of DFT: of all frames, or one per frame."""


def export_frames(
    frames: Frames, path: str | Path, kind: str | None = None, surrogate: Surrogate = None
) -> Path:
    """Write labelled frames and, beside them, a dataset card (``<name>.card.json``).

    Parameters
    ----------
    frames : Frames
        Labelled.
    path : str or Path
    kind : str, optional
        A key of :data:`EXPORTERS`; default by the suffix (.xyz/.extxyz, .parquet, .json/.json.gz).
    surrogate : str or sequence of str or None, optional
        Name of the model that labelled in place of DFT, for all frames or one per frame (as
        ``LabelStore.query_with_surrogates`` gives them). It is written with every frame (Parquet:
        in the file's metadata, how many frames each model labelled) and into the card.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ValueError
        If there is nothing to export, the format is unknown, or the surrogates are not one per
        frame.
    """
    path = Path(path)
    if not len(frames):
        raise ValueError("nothing to export: no labelled frame matches")
    chosen = kind or _by_suffix(path)
    if chosen not in EXPORTERS:
        raise ValueError(f"format {chosen!r}: choose from {sorted(EXPORTERS)}")
    names = _one_each(surrogate, len(frames))
    path.parent.mkdir(parents=True, exist_ok=True)
    EXPORTERS[chosen](frames, path, names)
    card = dataset_card(frames, names)
    path.with_name(path.name + ".card.json").write_text(json.dumps(card, indent=2))
    return path


def dataset_card(frames: Frames, surrogate: Surrogate = None) -> dict[str, Any]:
    """Describe a dataset: what it holds, in which units, from where.

    Parameters
    ----------
    frames : Frames
    surrogate : str or sequence of str or None, optional
        As in :func:`export_frames`.
    """
    counts = frames.composition() > 0
    functionals, of_each = np.unique(frames.column("functional").astype(str), return_counts=True)
    surrogates = _count(_one_each(surrogate, len(frames)))
    return {
        "labels": _provenance(surrogates, len(frames)),
        "surrogates": surrogates,
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


def _one_each(surrogate: Surrogate, n_frames: int) -> list[str | None]:
    if surrogate is None or isinstance(surrogate, str):
        return [surrogate] * n_frames
    if len(surrogate) != n_frames:
        raise ValueError(
            f"surrogate: {len(surrogate)} names for {n_frames} frames; give one per frame, or one "
            "for all"
        )
    return list(surrogate)


def _count(names: list[str | None]) -> dict[str, int]:
    return dict(sorted(Counter(n for n in names if n is not None).items()))


def _provenance(surrogates: dict[str, int], n_frames: int) -> str:
    if not surrogates:
        return "reference method"
    rest = n_frames - sum(surrogates.values())
    if rest == 0 and len(surrogates) == 1:
        return f"SURROGATE: {next(iter(surrogates))}, not DFT"
    each = ", ".join(f"{count} frames by {name}" for name, count in surrogates.items())
    return f"MIXED: SURROGATE, not DFT: {each}; {rest} frames by the reference method"


def _write_extxyz(frames: Frames, path: Path, surrogates: list[str | None]) -> None:
    """Write extended XYZ, with ``surrogate`` in the comment of the frames that one labelled."""
    from ase.io.extxyz import key_val_dict_to_str

    frames.to_extxyz(path)
    if not any(surrogates):
        return
    lines = path.read_text().splitlines()
    comment = 1
    for name, n_atoms in zip(surrogates, frames.n_atoms.tolist(), strict=True):
        if name is not None:
            lines[comment] += " " + key_val_dict_to_str({"surrogate": name})
        comment += n_atoms + 2
    path.write_text("\n".join(lines) + "\n")


def _write_parquet(frames: Frames, path: Path, surrogates: list[str | None]) -> None:
    """Write the columns of ``Frames``; the surrogates go into the file's metadata."""
    import pyarrow.parquet as pq

    table = frames.table
    if counts := _count(surrogates):
        metadata = {**(table.schema.metadata or {}), "surrogate": json.dumps(counts)}
        table = table.replace_schema_metadata(metadata)
    pq.write_table(table, path, compression="zstd")


def _write_matpes(frames: Frames, path: Path, surrogates: list[str | None]) -> None:
    """Write MatPES's record layout: a list with ``structure``, ``energy``, ``forces``, ``stress``.

    As in MatPES, ``energy`` is the total in eV, ``stress`` six Voigt components in kBar with
    VASP's sign. ``surrogate`` names the model that labelled in place of DFT, null for DFT.
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
                "surrogate": surrogates[s],
            }
        )
    data = json.dumps(records).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


EXPORTERS: dict[str, Callable[[Frames, Path, list[str | None]], None]] = {
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
