"""Immutable Arrow tables that travel as Parquet bytes: everything that moves in bulk."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from monty.json import MSONable
from numpy.typing import ArrayLike, NDArray

from atomate2_alpot.schemas.blobs import decode_blob, encode_blob


class Columns(MSONable):
    """An immutable, ordered batch of rows with a fixed Arrow schema.

    As a document it is one Parquet (zstd) byte string in base64, so that it fits into any
    additional store of a JobStore (GridFS, S3, files) as one blob.

    Parameters
    ----------
    table : pyarrow.Table
        The rows. Columns are put in the order of ``SCHEMA`` and cast to its types; columns
        that are missing are filled with nulls.

    Raises
    ------
    ValueError
        If the table has a column that the schema does not know.
    """

    SCHEMA: ClassVar[pa.Schema]

    def __init__(self, table: pa.Table) -> None:
        unknown = set(table.column_names) - set(self.SCHEMA.names)
        if unknown:
            raise ValueError(
                f"{type(self).__name__}: unknown column(s) {sorted(unknown)}; "
                f"the schema has {self.SCHEMA.names}"
            )
        if table.schema != self.SCHEMA:
            columns = [
                table[f.name].cast(f.type)
                if f.name in table.column_names
                else pa.nulls(len(table), f.type)
                for f in self.SCHEMA
            ]
            table = pa.table(columns, schema=self.SCHEMA)
        self._table = table

    @classmethod
    def from_columns(cls, **columns: Any) -> Self:
        """Build from one sequence per column, with nulls for columns that are left out."""
        arrays = {
            name: pa.array(values, type=cls.SCHEMA.field(name).type)
            for name, values in columns.items()
            if values is not None
        }
        return cls(pa.table(arrays))

    @classmethod
    def empty(cls) -> Self:
        """Return a batch of no rows."""
        return cls(cls.SCHEMA.empty_table())

    @classmethod
    def concat(cls, batches: list[Self]) -> Self:
        """Join batches in order, without copying.

        Parameters
        ----------
        batches : list of the same class
            May be empty.
        """
        if not batches:
            return cls.empty()
        return cls(pa.concat_tables([b.table for b in batches]))

    @property
    def table(self) -> pa.Table:
        """The Arrow table."""
        return self._table

    def __len__(self) -> int:
        return self._table.num_rows

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._table.equals(other.table)

    def __hash__(self) -> int:
        return hash((type(self).__name__, len(self)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} rows)"

    def __getitem__(self, key: int | slice | ArrayLike) -> Self:
        """Select rows by index, slice, boolean mask or index array; always returns a batch."""
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step == 1:
                return type(self)(self._table.slice(start, max(stop - start, 0)))
            return self.take(np.arange(start, stop, step))
        array = np.atleast_1d(np.asarray(key))
        if array.dtype == bool:
            if len(array) != len(self):
                raise IndexError(f"mask of length {len(array)} for {len(self)} rows")
            array = np.flatnonzero(array)
        return self.take(array)

    def take(self, indices: ArrayLike) -> Self:
        """Return the rows at ``indices``, in that order.

        Parameters
        ----------
        indices : array of int, shape (n,)
            Negative values count from the end.
        """
        array = np.asarray(indices).reshape(-1)
        if array.size and not np.issubdtype(array.dtype, np.integer):
            raise IndexError(f"rows are selected by integers, slices or masks, not {array.dtype}")
        array = array.astype(np.int64)
        outside = array[(array < -len(self)) | (array >= len(self))]
        if outside.size:
            raise IndexError(f"row {outside[0]} of {len(self)}")
        array = np.where(array < 0, array + len(self), array)
        return type(self)(self._table.combine_chunks().take(pa.array(array)))

    def column(self, name: str) -> NDArray[Any]:
        """Return a scalar column as numpy array; nulls become NaN (numbers) or None."""
        column = self._table[name]
        if pa.types.is_floating(column.type) or (
            pa.types.is_integer(column.type) and column.null_count
        ):
            return column.cast(pa.float64()).to_numpy()
        if pa.types.is_string(column.type):
            return np.array(column.to_pylist(), dtype=object)
        return column.to_numpy()

    def with_columns(self, **columns: Any) -> Self:
        """Return a copy with the named scalar columns replaced.

        A value that is not a sequence fills the whole column.
        """
        table = self._table
        for name, values in columns.items():
            index, field = self.SCHEMA.get_field_index(name), self.SCHEMA.field(name)
            array = pa.array(
                [values] * len(self) if np.ndim(values) == 0 else values, type=field.type
            )
            if len(array) != len(self):
                raise ValueError(f"column {name!r} has {len(array)} values for {len(self)} rows")
            table = table.set_column(index, field, array)
        return type(self)(table)

    def to_parquet(self, path: str | Path | None = None) -> bytes:
        """Serialise to Parquet (zstd); also write ``path`` if one is given."""
        sink = io.BytesIO()
        pq.write_table(self._table, sink, compression="zstd")
        data = sink.getvalue()
        if path is not None:
            Path(path).write_bytes(data)
        return data

    @classmethod
    def from_parquet(cls, source: bytes | str | Path) -> Self:
        """Read Parquet bytes or a Parquet file."""
        return cls(pq.read_table(io.BytesIO(source) if isinstance(source, bytes) else str(source)))

    def as_dict(self) -> dict[str, Any]:
        """Return the MSONable document: the number of rows, the Parquet bytes, their hash."""
        return {
            "@module": type(self).__module__,
            "@class": type(self).__name__,
            "n_rows": len(self),
            **encode_blob("parquet", self.to_parquet()),
        }

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Self:
        """Rebuild from :meth:`as_dict`; ``BlobError`` if the bytes are not those of its hash."""
        return cls.from_parquet(decode_blob("parquet", d, cls.__name__))
