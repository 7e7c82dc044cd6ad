"""`Frames` to and from ASE, pymatgen and extended XYZ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import NDArray

from atomate2_alpot.schemas.frame_arrays import ORIGIN_COLUMNS, POSITION_QUANTUM, Labels
from atomate2_alpot.schemas.frames import Frames

if TYPE_CHECKING:  # a second of imports, which conversion to and from Atoms does without
    from pymatgen.core import Structure

REF_ENERGY, REF_FORCES, REF_STRESS = "REF_energy", "REF_forces", "REF_stress"
"""Keys of labels in extended XYZ: those MACE trains on (stress 3×3, eV/Å³, ASE sign)."""


MIN_VOLUME: float = 1e-6
"""Å³. A cell below this is none (ASE's molecules have zeros)."""


def frames_from_ase(atoms: Atoms | Sequence[Atoms], functional: str | None = None) -> Frames:
    """Build frames from ASE objects.

    Labels come from ``REF_energy`` / ``REF_forces`` / ``REF_stress`` in ``info`` and ``arrays``
    where present, else from an attached calculator's results. Origin columns are read from
    ``info``.

    Parameters
    ----------
    atoms : ase.Atoms or sequence of them
    functional : str, optional
        Reference method of the labels, for example "r2SCAN".

    Raises
    ------
    ValueError
        If a position or label is not finite, naming the frame; or if a calculator's results are
        not those of the atoms it is attached to (they moved, or share it with others).
    """
    batch = [atoms] if isinstance(atoms, Atoms) else list(atoms)
    if not batch:
        return Frames.empty()
    labels = [_read_labels(a) for a in batch]
    n_atoms = [len(a) for a in batch]
    origin: dict[str, Any] = {
        key: [_plain(a.info.get(key)) for a in batch]
        for key in ORIGIN_COLUMNS
        if any(key in a.info for a in batch)
    }
    if functional is not None:
        origin["functional"] = [functional if e is not None else None for e, _, _ in labels]
    return Frames.from_arrays(
        np.concatenate([a.numbers for a in batch]),
        np.concatenate([a.positions for a in batch]),
        np.stack([np.asarray(a.cell) for a in batch]),
        n_atoms,
        pbc=np.stack([a.pbc for a in batch]),
        labels=_stack_labels(labels, n_atoms),
        origin=origin,
    )


def frames_to_ase(frames: Frames) -> Iterator[Atoms]:
    """Yield one ``Atoms`` per frame, labels in a ``SinglePointCalculator``.

    Provenance (``frame_id`` and the origin columns that are set) is in ``info``.
    """
    forces, stress, energy = frames.forces, frames.stress, frames.energy
    rows = frames.table.select(["frame_id", *ORIGIN_COLUMNS]).to_pylist()
    for s, row in enumerate(rows):
        own = slice(frames.offsets[s], frames.offsets[s + 1])
        atoms = Atoms(
            frames.numbers[own], frames.positions[own], cell=frames.cell[s], pbc=frames.pbc[s]
        )
        atoms.info.update({k: v for k, v in row.items() if v is not None})
        if np.isfinite(energy[s]):
            results: dict[str, Any] = {"energy": float(energy[s])}
            if np.isfinite(forces[own]).all():
                results["forces"] = forces[own].copy()
            if np.isfinite(stress[s]).all():
                results["stress"] = _to_voigt(stress[s])
            atoms.calc = SinglePointCalculator(atoms, **results)
        yield atoms


def frames_from_structures(structures: Structure | Sequence[Structure]) -> Frames:
    """Build unlabelled frames from pymatgen structures.

    Raises
    ------
    ValueError
        If a structure is disordered, naming it.
    """
    from pymatgen.core import Structure

    batch = [structures] if isinstance(structures, Structure) else list(structures)
    if not batch:
        return Frames.empty()
    for i, structure in enumerate(batch):
        if not structure.is_ordered:
            raise ValueError(
                f"structure {i} ({structure.formula}) is disordered; order it first, for example "
                "with pymatgen's OrderDisorderedStructureTransformation"
            )
    return Frames.from_arrays(
        np.concatenate([[site.specie.Z for site in s] for s in batch]),
        np.concatenate([s.cart_coords for s in batch]),
        np.stack([s.lattice.matrix for s in batch]),
        [len(s) for s in batch],
        pbc=np.stack([s.pbc for s in batch]),
    )


def frames_to_structures(frames: Frames) -> list[Structure]:
    """Return one pymatgen ``Structure`` per frame (labels are not carried).

    Raises
    ------
    ValueError
        If a frame has no cell.
    """
    flat = np.flatnonzero(frames.volume < MIN_VOLUME)
    if flat.size:
        raise ValueError(
            f"frame {flat[0]} has a cell without volume, which pymatgen's Structure needs; put it "
            "into a box, for example with ASE's Atoms.center(vacuum=10)"
        )
    from pymatgen.io.ase import AseAtomsAdaptor

    adaptor = AseAtomsAdaptor()
    structures = []
    for atoms in frames_to_ase(frames):
        atoms.calc, atoms.info = None, {}
        structures.append(adaptor.get_structure(atoms))
    return structures


def read_extxyz(path: str | Path, functional: str | None = None) -> Frames:
    """Read an extended XYZ file, gzipped or not, with its labels and origin."""
    from ase.io import iread

    return frames_from_ase(list(iread(str(path), ":", format="extxyz")), functional)


def write_extxyz(frames: Frames, path: str | Path) -> None:
    """Write extended XYZ with ``REF_*`` labels, which MACE and others train on."""
    batch = []
    for atoms in frames_to_ase(frames):
        if atoms.calc is not None:
            results = atoms.calc.results
            atoms.info[REF_ENERGY] = results["energy"]
            if "forces" in results:
                atoms.arrays[REF_FORCES] = results["forces"]
            if "stress" in results:
                # nine numbers, as MACE reads it
                atoms.info[REF_STRESS] = _from_voigt(results["stress"]).reshape(9)
            atoms.calc = None
        # text is decimal: halves of a step would round differently there than in frame_id
        atoms.positions = np.rint(atoms.positions / POSITION_QUANTUM) * POSITION_QUANTUM
        batch.append(atoms)
    from ase.io import write as ase_write

    ase_write(str(path), batch, format="extxyz")


def _read_labels(atoms: Atoms) -> tuple[Any, Any, Any]:
    results = _current_results(atoms)
    energy = atoms.info.get(REF_ENERGY, results.get("energy"))
    forces = atoms.arrays.get(REF_FORCES, results.get("forces"))
    stress = atoms.info.get(REF_STRESS, results.get("stress"))
    if energy is not None and not np.isfinite(energy):
        raise ValueError(
            f"energy of {atoms.get_chemical_formula()} is {energy}; remove the frame or its label"
        )
    return energy, forces, stress


def _current_results(atoms: Atoms) -> dict[str, Any]:
    """Return what the attached calculator found for these atoms, and not for earlier ones."""
    results = getattr(atoms.calc, "results", {})
    check = getattr(atoms.calc, "check_state", None)
    if results and REF_ENERGY not in atoms.info and check is not None and check(atoms):
        raise ValueError(
            f"the calculator of {atoms.get_chemical_formula()} holds results for another structure "
            f"(changed since: {', '.join(check(atoms))}); calculate again, give each Atoms its own "
            "calculator, or set atoms.calc = None for frames without labels"
        )
    return results


def _stack_labels(labels: list[tuple[Any, Any, Any]], n_atoms: list[int]) -> Labels | None:
    if all(e is None for e, _, _ in labels):
        return None
    nan = float("nan")
    return Labels(
        energy=[nan if e is None else float(e) for e, _, _ in labels],
        forces=np.concatenate(
            [
                np.full((n, 3), nan) if f is None else f
                for n, (_, f, _) in zip(n_atoms, labels, strict=True)
            ]
        ),
        stress=np.stack(
            [np.full((3, 3), nan) if s is None else _from_voigt(s) for _, _, s in labels]
        ),
    )


def _from_voigt(stress: Any) -> NDArray[np.float64]:
    array = np.asarray(stress, dtype=np.float64)
    if array.size == 9:
        return array.reshape(3, 3)
    xx, yy, zz, yz, xz, xy = array.reshape(6)
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def _to_voigt(stress: NDArray[np.float64]) -> NDArray[np.float64]:
    return stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]].copy()


def _plain(value: Any) -> Any:
    """Turn numpy scalars from a parsed file into Python values that Arrow takes."""
    return value.item() if isinstance(value, np.generic) else value
