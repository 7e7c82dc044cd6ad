"""Exporting labels: extended XYZ, Parquet, MatPES-style JSON, each with a dataset card."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import numpy as np

from atomate2_alpot.schemas import Frames
from atomate2_alpot.units import EV_PER_A3_TO_KBAR

Surrogate = str | Sequence[str | None] | None
"""Name of the model that labelled in place of DFT: of all frames, or one per frame."""

Calculations = Sequence[Mapping[str, Any] | None]
"""How each label was computed: the ``calculation`` of its label document."""

COMPUTED: tuple[str, ...] = (
    "engine",
    "version",
    "encut",
    "kpoints",
    "pseudopotentials",
    "attempt",
    "task_uuid",
    "task_index",
)
"""What an export tells of a calculation (see ``CalculationTable``): nothing of the machine."""


@dataclass(frozen=True)
class Provenance:
    """Where labels are from, one entry per frame.

    Parameters
    ----------
    surrogates : list of str or None
    calculations : list of dict or None
        Keys of :data:`COMPUTED`.
    """

    surrogates: list[str | None]
    calculations: list[dict[str, Any] | None]

    @classmethod
    def of(cls, n_frames: int, surrogate: Surrogate, calculations: Calculations | None) -> Self:
        """Check that there is one entry per frame, and keep what may be published."""
        rows = [None] * n_frames if calculations is None else calculations
        if len(rows) != n_frames:
            raise ValueError(f"calculations: {len(rows)} for {n_frames} frames; give one per frame")
        told = [None if row is None else {k: row.get(k) for k in COMPUTED} for row in rows]
        return cls(_one_each(surrogate, n_frames), told)

    @property
    def engines(self) -> dict[str, int]:
        """Frames that each program computed, by name and version."""
        rows = [row for row in self.calculations if row is not None and row["engine"]]
        return _count([" ".join(filter(None, (r["engine"], r["version"]))) for r in rows])


def export_frames(
    frames: Frames,
    path: str | Path,
    kind: str | None = None,
    surrogate: Surrogate = None,
    calculations: Calculations | None = None,
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
        ``LabelStore.query_with_fields`` gives them). It is written with every frame (Parquet:
        in the file's metadata, how many frames each model labelled) and into the card.
    calculations : sequence of mapping or None, optional
        How each label was computed (``LabelStore.query_with_fields(("calculation",))``). MatPES-
        style JSON tells it of every frame, the card how many frames each program computed.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ValueError
        If there is nothing to export, the format is unknown, or the surrogates or
        calculations are not one per frame.
    """
    path = Path(path)
    if not len(frames):
        raise ValueError("nothing to export: no labelled frame matches")
    chosen = kind or _by_suffix(path)
    if chosen not in EXPORTERS:
        raise ValueError(f"format {chosen!r}: choose from {sorted(EXPORTERS)}")
    provenance = Provenance.of(len(frames), surrogate, calculations)
    path.parent.mkdir(parents=True, exist_ok=True)
    EXPORTERS[chosen](frames, path, provenance)
    card = dataset_card(frames, surrogate, calculations)
    path.with_name(path.name + ".card.json").write_text(json.dumps(card, indent=2))
    return path


def dataset_card(
    frames: Frames, surrogate: Surrogate = None, calculations: Calculations | None = None
) -> dict[str, Any]:
    """Describe a dataset: what it holds, in which units, from where.

    Parameters
    ----------
    frames : Frames
    surrogate, calculations : optional
        As in :func:`export_frames`.
    """
    counts = frames.composition() > 0
    functionals, of_each = np.unique(frames.column("functional").astype(str), return_counts=True)
    provenance = Provenance.of(len(frames), surrogate, calculations)
    surrogates = _count(provenance.surrogates)
    return {
        "labels": _provenance(surrogates, len(frames)),
        "surrogates": surrogates,
        "engines": provenance.engines,
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


def _count(names: Sequence[str | None]) -> dict[str, int]:
    return dict(sorted(Counter(n for n in names if n is not None).items()))


def _provenance(surrogates: dict[str, int], n_frames: int) -> str:
    if not surrogates:
        return "reference method"
    rest = n_frames - sum(surrogates.values())
    if rest == 0 and len(surrogates) == 1:
        return f"SURROGATE: {next(iter(surrogates))}, not DFT"
    each = ", ".join(f"{count} frames by {name}" for name, count in surrogates.items())
    return f"MIXED: SURROGATE, not DFT: {each}; {rest} frames by the reference method"


def _write_extxyz(frames: Frames, path: Path, provenance: Provenance) -> None:
    """Write extended XYZ, with ``surrogate`` in the comment of the frames that one labelled."""
    from ase.io.extxyz import key_val_dict_to_str

    frames.to_extxyz(path)
    if not any(provenance.surrogates):
        return
    lines = path.read_text().splitlines()
    comment = 1
    for name, n_atoms in zip(provenance.surrogates, frames.n_atoms.tolist(), strict=True):
        if name is not None:
            lines[comment] += " " + key_val_dict_to_str({"surrogate": name})
        comment += n_atoms + 2
    path.write_text("\n".join(lines) + "\n")


def _write_parquet(frames: Frames, path: Path, provenance: Provenance) -> None:
    """Write the columns of ``Frames``; the surrogates go into the file's metadata."""
    import pyarrow.parquet as pq

    table = frames.table
    if counts := _count(provenance.surrogates):
        metadata = {**(table.schema.metadata or {}), "surrogate": json.dumps(counts)}
        table = table.replace_schema_metadata(metadata)
    pq.write_table(table, path, compression="zstd")


def _write_matpes(frames: Frames, path: Path, provenance: Provenance) -> None:
    """Write MatPES's record layout: a list with ``structure``, ``energy``, ``forces``, ``stress``.

    As in MatPES, ``energy`` is the total in eV, ``stress`` six Voigt components in kBar with
    VASP's sign. ``surrogate`` names the model that labelled in place of DFT, null for DFT;
    ``calculation`` says how it was computed (:data:`COMPUTED`), null where that is not known.
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
                "surrogate": provenance.surrogates[s],
                "calculation": provenance.calculations[s],
            }
        )
    data = json.dumps(records).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


EXPORTERS: dict[str, Callable[[Frames, Path, Provenance], None]] = {
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
