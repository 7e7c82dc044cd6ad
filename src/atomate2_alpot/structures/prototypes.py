"""Prototypes: where decorated candidates come from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure

from atomate2_alpot.structures.prototype import Prototype, without_oxidation_states

logger = logging.getLogger(__name__)


@dataclass
class PrototypeReport:
    """What became of the entries that were offered as prototypes.

    Parameters
    ----------
    kept : int
    skipped : dict of str to list of str
        Reason -> names.
    """

    kept: int = 0
    skipped: dict[str, list[str]] = field(default_factory=dict)

    def skip(self, reason: str, name: str) -> None:
        """Record an entry that is left out."""
        self.skipped.setdefault(reason, []).append(name)

    def __str__(self) -> str:
        reasons = "; ".join(
            f"{len(names)} {reason} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
            for reason, names in self.skipped.items()
        )
        return f"{self.kept} prototypes kept" + (f"; skipped {reasons}" if reasons else "")


class Prototypes(list[Prototype]):
    """A list of prototypes that remembers what was left out, in ``report``."""

    def __init__(self, prototypes: Iterable[Prototype], report: PrototypeReport) -> None:
        super().__init__(prototypes)
        self.report = report


def frequency_weight(frequency: int, n_elements: int) -> float:
    """Return the fraction of decorations to keep (MP-ALOE, METHODS.md §1).

    Binaries are kept whole; ternaries, whose decorations would swamp them, by
    sqrt(frequency of the prototype) / 3, at most 1.
    """
    return 1.0 if n_elements < 3 else min(1.0, frequency**0.5 / 3)


@cache
def _aflow_entries() -> tuple[tuple[str, Structure], ...]:
    import gzip
    import json
    from importlib.resources import files

    data = (files("pymatgen.analysis.prototypes") / "aflow_prototypes.json.gz").read_bytes()
    # Structure.from_dict reads what it needs of the records: decoding them whole takes seconds
    return tuple(
        (entry["tags"]["aflow"], Structure.from_dict(entry["snl"]))
        for entry in json.loads(gzip.decompress(data))
    )


def aflow_prototypes(
    n_atoms: tuple[int, int] = (2, 8),
    n_elements: tuple[int, int] = (2, 3),
    ternary_weight: float = 1.0,
) -> Prototypes:
    """Return the AFLOW prototypes that pymatgen ships.

    Parameters
    ----------
    n_atoms, n_elements : tuple of int
        Smallest and largest number of atoms and of elements, both included.
    ternary_weight : float
        Fraction of the decorations of ternaries (and beyond) to keep; MP-ALOE's weight of a
        prototype seen once is 1/3.

    Returns
    -------
    Prototypes

    Raises
    ------
    ValueError
        If no prototype is within the bounds.
    """
    named = ((name, lambda s=structure: s) for name, structure in _aflow_entries())
    found = _collect(named, n_atoms, n_elements, "the AFLOW library", merge=False)
    weights = [1.0 if len(p.structure.composition) < 3 else ternary_weight for p in found]
    weighted = (replace(p, weight=w) for p, w in zip(found, weights, strict=True))
    return Prototypes(weighted, found.report)


def prototypes_from_folder(
    path: str | Path, n_atoms: tuple[int, int] = (1, 8), n_elements: tuple[int, int] = (1, 3)
) -> Prototypes:
    """Read prototypes from a folder of POSCAR, CIF and other files that pymatgen reads.

    Duplicates (whatever their elements and volume) are merged; how often one was seen weights
    ternaries (:func:`frequency_weight`).

    Parameters
    ----------
    path : str or Path
    n_atoms, n_elements : tuple of int
        Bounds, both included.

    Returns
    -------
    Prototypes
        Its ``report`` names what was skipped: unreadable, disordered, too large.

    Raises
    ------
    ValueError
        If the folder does not exist, is empty, or holds no usable prototype.
    """
    folder = Path(path).expanduser()
    files = sorted(f for f in folder.glob("*") if f.is_file() and not f.name.startswith("."))
    if not files:
        what = "no files in it" if folder.is_dir() else "no such folder"
        raise ValueError(
            f"prototype folder {folder}: {what}; put POSCAR or CIF files there, or use aflow"
        )
    named = ((f.name, lambda f=f: _read(f)) for f in files)
    return _collect(named, n_atoms, n_elements, f"prototype folder {folder}", merge=True)


def prototypes_from_mp(
    n_atoms: tuple[int, int] = (2, 8),
    n_elements: tuple[int, int] = (2, 3),
    api_key: str | None = None,
    limit: int | None = None,
    rester: Callable[..., Any] | None = None,
) -> Prototypes:
    """Fetch prototypes from the Materials Project (extra ``[mp]``).

    Parameters
    ----------
    n_atoms, n_elements : tuple of int
        Bounds, both included.
    api_key : str, optional
        Default: what mp-api finds (``MP_API_KEY`` or pymatgen's settings).
    limit : int, optional
        Most entries to fetch.
    rester : callable, optional
        Stands in for ``mp_api.client.MPRester``.

    Raises
    ------
    ImportError
        If mp-api is not installed.
    ValueError
        If no usable prototype came back.
    """
    with (rester or _mp_rester())(api_key) as client:
        documents = client.materials.summary.search(
            num_sites=n_atoms,
            num_elements=n_elements,
            deprecated=False,
            fields=["material_id", "structure"],
            num_chunks=None if limit is None else 1,
            chunk_size=1000 if limit is None else limit,
        )
    named = ((str(d.material_id), lambda d=d: d.structure) for d in documents)
    return _collect(named, n_atoms, n_elements, "the Materials Project", merge=True)


def _mp_rester() -> Callable[..., Any]:
    try:
        from mp_api.client import MPRester
    except ImportError as error:
        raise ImportError(
            "prototypes_from_mp needs mp-api: pip install 'atomate2-alpot[mp]'"
        ) from error
    return MPRester


def _read(path: Path) -> Structure:
    if "POSCAR" in path.name or "CONTCAR" in path.name or path.suffix == ".vasp":
        from pymatgen.io.vasp import Poscar

        return Poscar.from_file(path, check_for_potcar=False).structure
    return Structure.from_file(str(path))


def _collect(
    named: Iterable[tuple[str, Callable[[], Structure]]],
    n_atoms: tuple[int, int],
    n_elements: tuple[int, int],
    where: str,
    merge: bool,
) -> Prototypes:
    report = PrototypeReport()
    usable = []
    for name, read in named:
        try:
            structure = without_oxidation_states(read())
        except Exception as error:
            report.skip(
                "unreadable",
                f"{name}: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            )
            continue
        reason = _reason_to_skip(structure, n_atoms, n_elements)
        if reason:
            report.skip(reason, name)
        else:
            usable.append((name, structure))
    groups = _merge(usable, report) if merge else [(n, s, 1) for n, s in usable]
    if not groups:
        raise ValueError(f"{where}: no usable prototype ({report}); widen n_atoms or n_elements")
    report.kept = len(groups)
    logger.info("%s: %s", where, report)
    kept = (Prototype(s, n, frequency_weight(c, len(s.composition))) for n, s, c in groups)
    return Prototypes(kept, report)


def _reason_to_skip(
    structure: Structure, n_atoms: tuple[int, int], n_elements: tuple[int, int]
) -> str | None:
    if not structure.is_ordered:
        return "disordered"
    if not n_atoms[0] <= len(structure) <= n_atoms[1]:
        return f"outside {n_atoms[0]}-{n_atoms[1]} atoms"
    if not n_elements[0] <= len(structure.composition) <= n_elements[1]:
        return f"outside {n_elements[0]}-{n_elements[1]} elements"
    return None


def _merge(
    usable: list[tuple[str, Structure]], report: PrototypeReport
) -> list[tuple[str, Structure, int]]:
    """Join prototypes that are one but for elements and volume; count how often each came."""
    matcher = StructureMatcher(primitive_cell=True)
    groups: list[tuple[str, Structure, int]] = []
    for name, structure in usable:
        for index, (kept_name, kept, count) in enumerate(groups):
            same_size = (
                kept.composition.anonymized_formula == structure.composition.anonymized_formula
            )
            if same_size and matcher.fit_anonymous(kept, structure):
                groups[index] = (kept_name, kept, count + 1)
                report.skip("duplicate", name)
                break
        else:
            groups.append((name, structure, 1))
    return groups
