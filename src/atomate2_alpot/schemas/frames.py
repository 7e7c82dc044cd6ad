"""`Frames`: an ordered, immutable batch of structures with optional labels and origin."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from atomate2_alpot.schemas.columns import Columns
from atomate2_alpot.schemas.frame_arrays import (
    ORIGIN_COLUMNS,
    Labels,
    count_elements,
    hash_frames,
    label_columns,
    ragged,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import ModuleType

    from ase import Atoms
    from pymatgen.core import Structure

_FLOATS = pa.list_(pa.float64())


class Frames(Columns):
    """An immutable, ordered batch of frames in Arrow columns.

    Indexing returns another batch: ``frames[3]``, ``frames[10:20]``, ``frames[mask]``. The
    arrays below are flat over atoms; frame ``s`` owns atoms ``offsets[s]:offsets[s + 1]``.
    """

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("frame_id", pa.string()),
            pa.field("numbers", pa.list_(pa.uint8())),
            pa.field("positions", _FLOATS),
            pa.field("cell", _FLOATS),
            pa.field("pbc", pa.list_(pa.bool_())),
            pa.field("energy", pa.float64()),
            pa.field("forces", _FLOATS),
            pa.field("stress", _FLOATS),
            pa.field("functional", pa.string()),
            pa.field("prototype", pa.string()),
            pa.field("candidate", pa.int64()),
            pa.field("parent", pa.string()),
            pa.field("step", pa.int32()),
            pa.field("task_uuid", pa.string()),
            pa.field("iteration", pa.int32()),
        ]
    )

    @classmethod
    def from_arrays(
        cls,
        numbers: ArrayLike,
        positions: ArrayLike,
        cell: ArrayLike,
        n_atoms: ArrayLike,
        pbc: ArrayLike | None = None,
        labels: Labels | None = None,
        origin: dict[str, Sequence[Any]] | None = None,
    ) -> Self:
        """Build a batch from flat arrays.

        Parameters
        ----------
        numbers : array of int, shape (ΣN,)
            Atomic numbers, 1 to 118.
        positions : array, shape (ΣN, 3)
            Cartesian positions in Å.
        cell : array, shape (S, 3, 3)
            Lattice vectors as rows, in Å.
        n_atoms : array of int, shape (S,)
            Atoms of each frame, at least one.
        pbc : array of bool, shape (S, 3), optional
            Periodic directions; default all.
        labels : Labels, optional
            Reference values; rows of NaN mean "no label".
        origin : dict, optional
            Columns of :data:`ORIGIN_COLUMNS`, each of length S.

        Raises
        ------
        ValueError
            If shapes disagree, a frame is empty, a species is not an element, or a position,
            cell or label is not finite (naming the frame).
        """
        from atomate2_alpot.schemas.validation import as_rows, check_frames, check_origin, whole

        numbers = whole("numbers", numbers)
        positions = as_rows("positions", positions, (3,))
        cell = as_rows("cell", cell, (3, 3))
        n_atoms = whole("n_atoms", n_atoms)
        pbc_array = as_rows("pbc", np.ones((len(cell), 3)) if pbc is None else pbc, (3,)) > 0
        check_frames(numbers, positions, cell, n_atoms, pbc_array)
        check_origin(origin or {}, len(cell), ORIGIN_COLUMNS)
        offsets = np.concatenate([[0], np.cumsum(n_atoms)])
        columns: dict[str, Any] = {
            "frame_id": hash_frames(numbers, positions, cell, pbc_array, offsets),
            "numbers": ragged(numbers.astype(np.uint8), offsets, 1),
            "positions": ragged(positions, offsets, 3),
            "cell": ragged(cell, np.arange(len(cell) + 1), 9),
            "pbc": ragged(pbc_array, np.arange(len(cell) + 1), 3),
            **(label_columns(labels, offsets) if labels is not None else {}),
            **(origin or {}),
        }
        return cls(
            pa.table({k: pa.array(v, type=cls.SCHEMA.field(k).type) for k, v in columns.items()})
        )

    # --- columns as arrays -------------------------------------------------------------

    @cached_property
    def frame_id(self) -> list[str]:
        """Content hash of species, cell, positions and periodicity of each frame."""
        return self._table["frame_id"].to_pylist()

    @cached_property
    def n_atoms(self) -> NDArray[np.int64]:
        """Number of atoms of each frame, shape (S,)."""
        if not len(self):
            return np.zeros(0, np.int64)
        lengths = self._table["numbers"].combine_chunks().value_lengths()
        return lengths.to_numpy().astype(np.int64)

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """First atom of each frame and the total, shape (S + 1,)."""
        return np.concatenate([[0], np.cumsum(self.n_atoms)])

    @cached_property
    def numbers(self) -> NDArray[np.int64]:
        """Atomic numbers, shape (ΣN,)."""
        return self._flat("numbers", 1).reshape(-1).astype(np.int64)

    @cached_property
    def positions(self) -> NDArray[np.float64]:
        """Cartesian positions in Å, shape (ΣN, 3)."""
        return self._flat("positions", 3)

    @cached_property
    def cell(self) -> NDArray[np.float64]:
        """Lattice vectors as rows in Å, shape (S, 3, 3)."""
        return self._flat("cell", 9).reshape(-1, 3, 3)

    @cached_property
    def pbc(self) -> NDArray[np.bool_]:
        """Periodic directions, shape (S, 3)."""
        return self._flat("pbc", 3).astype(bool)

    @cached_property
    def energy(self) -> NDArray[np.float64]:
        """Total energy labels in eV, shape (S,); NaN where there is none."""
        return self.column("energy")

    @cached_property
    def forces(self) -> NDArray[np.float64]:
        """Force labels in eV/Å, shape (ΣN, 3); NaN where there is none."""
        return self._flat("forces", 3)

    @cached_property
    def stress(self) -> NDArray[np.float64]:
        """Stress labels in eV/Å³ (tension positive), shape (S, 3, 3); NaN where none."""
        return self._flat("stress", 9).reshape(-1, 3, 3)

    @property
    def is_labelled(self) -> NDArray[np.bool_]:
        """Whether each frame has an energy label, shape (S,)."""
        return np.isfinite(self.energy)

    @property
    def is_isolated_atom(self) -> NDArray[np.bool_]:
        """Whether each frame is one atom without periodicity, shape (S,): its energy is an E0."""
        return (self.n_atoms == 1) & ~self.pbc.any(axis=1)

    @cached_property
    def frame_index(self) -> NDArray[np.int64]:
        """Index of the frame that owns each atom, shape (ΣN,)."""
        return np.repeat(np.arange(len(self)), self.n_atoms)

    @property
    def volume(self) -> NDArray[np.float64]:
        """Cell volume in Å³, shape (S,)."""
        return np.abs(np.linalg.det(self.cell))

    @cached_property
    def elements(self) -> list[str]:
        """Symbols of all elements in the batch, by atomic number."""
        from ase.data import chemical_symbols

        return [chemical_symbols[z] for z in np.unique(self.numbers)]

    def composition(self, elements: Sequence[str] | None = None) -> NDArray[np.float64]:
        """Count the atoms of each element.

        Parameters
        ----------
        elements : sequence of str, optional
            Symbols of the columns; default :attr:`elements`.

        Returns
        -------
        array, shape (S, len(elements))

        Raises
        ------
        ValueError
            If a frame holds an element that is not listed.
        """
        symbols = self.elements if elements is None else list(elements)
        if missing := set(self.elements) - set(symbols):
            raise ValueError(f"frames contain {sorted(missing)}, not among elements {symbols}")
        return count_elements(self.numbers, self.frame_index, len(self), symbols)

    def split_atoms(self, values: NDArray[Any]) -> list[NDArray[Any]]:
        """Cut an array over atoms (first axis ΣN) into one view per frame."""
        return np.split(values, self.offsets[1:-1]) if len(self) else []

    def with_labels(self, labels: Labels) -> Self:
        """Return the same frames with these labels (see :class:`Labels`)."""
        columns, table, none = label_columns(labels, self.offsets), self._table, [None] * len(self)
        for index, field in enumerate(self.SCHEMA):
            if field.name in ("energy", "forces", "stress"):
                array = pa.array(columns.get(field.name, none), type=field.type)
                table = table.set_column(index, field, array)
        return type(self)(table)

    def with_origin(self, **columns: Any) -> Self:
        """Return the same frames with columns of :data:`ORIGIN_COLUMNS` replaced."""
        unknown = set(columns) - set(ORIGIN_COLUMNS)
        if unknown:
            raise ValueError(f"not an origin column: {sorted(unknown)}; use {ORIGIN_COLUMNS}")
        return self.with_columns(**columns)

    def unique(self) -> Self:
        """Return the frames without repeated ``frame_id``, keeping the first of each."""
        _, first = np.unique(np.array(self.frame_id, dtype=str), return_index=True)
        return self if len(first) == len(self) else self.take(np.sort(first))

    # --- other formats -----------------------------------------------------------------

    @classmethod
    def from_ase(cls, atoms: Atoms | Sequence[Atoms], functional: str | None = None) -> Frames:
        """See :func:`atomate2_alpot.schemas.convert.frames_from_ase`."""
        return _convert().frames_from_ase(atoms, functional)

    def iter_ase(self) -> Iterator[Atoms]:
        """See :func:`atomate2_alpot.schemas.convert.frames_to_ase`."""
        return _convert().frames_to_ase(self)

    def to_ase(self) -> list[Atoms]:
        """Return one ASE ``Atoms`` per frame, labels in a ``SinglePointCalculator``."""
        return list(self.iter_ase())

    @classmethod
    def from_structures(cls, structures: Structure | Sequence[Structure]) -> Frames:
        """See :func:`atomate2_alpot.schemas.convert.frames_from_structures`."""
        return _convert().frames_from_structures(structures)

    def to_structures(self) -> list[Structure]:
        """Return one pymatgen ``Structure`` per frame."""
        return _convert().frames_to_structures(self)

    @classmethod
    def from_extxyz(cls, path: str | Path, functional: str | None = None) -> Frames:
        """Read an extended XYZ file (also gzipped) with its labels."""
        return _convert().read_extxyz(path, functional)

    def to_extxyz(self, path: str | Path) -> None:
        """Write an extended XYZ file with ``REF_energy``, ``REF_forces``, ``REF_stress``."""
        _convert().write_extxyz(self, path)

    def _flat(self, name: str, width: int) -> NDArray[Any]:
        """Flatten a list column to (rows, width), with NaN rows where the list is null."""
        if not len(self):
            return np.zeros((0, width))
        column = self._table[name].combine_chunks()
        values = column.flatten().to_numpy(zero_copy_only=False)
        if not column.null_count:
            return values.reshape(-1, width)
        per_frame = self.n_atoms if name in ("positions", "forces") else np.ones(len(self), int)
        valid = np.repeat(column.is_valid().to_numpy(zero_copy_only=False), per_frame)
        out = np.full((len(valid), width), np.nan)
        out[valid] = values.reshape(-1, width)
        return out


def _convert() -> ModuleType:
    """Import conversions where they are used: they need ASE and pymatgen."""
    from atomate2_alpot.schemas import convert

    return convert
