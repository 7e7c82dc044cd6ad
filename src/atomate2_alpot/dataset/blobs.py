"""A maggma store of files: the additional store of the embedded mode."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from glob import escape
from pathlib import Path
from shutil import rmtree
from typing import Any

from maggma.core import Store
from maggma.core.store import Sort
from monty.json import jsanitize

from atomate2_alpot.schemas.blobs import BlobError
from atomate2_alpot.schemas.files import write_atomic

KEY = "blob_uuid"

OF_JOB = "of-job"
"""Subfolder whose folders, one per job, name the blobs of the job: jobflow deletes by job."""


class FileBlobStore(Store):
    """One compressed JSON file per blob, found by its name or its job's and never by a scan.

    Parameters
    ----------
    folder : str
        Created when the store is connected.
    """

    def __init__(self, folder: str, **kwargs: Any) -> None:
        self.folder = str(folder)
        self.kwargs = kwargs
        super().__init__(key=KEY, **kwargs)

    @property
    def name(self) -> str:
        """Name of the store."""
        return f"blobs://{self.folder}"

    @property
    def _collection(self) -> Any:
        raise NotImplementedError("a folder of blobs has no collection")

    def connect(self, force_reset: bool = False) -> None:  # noqa: ARG002 - maggma's interface
        """Create the folder."""
        Path(self.folder).mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        """Nothing is open."""

    def update(
        self,
        docs: list[dict[str, Any]] | dict[str, Any],
        key: list[str] | str | None = None,  # noqa: ARG002 - a blob is its uuid
    ) -> None:
        """Write blobs; each must have a ``blob_uuid``."""
        for doc in docs if isinstance(docs, list) else [docs]:
            if "job_uuid" in doc:  # first: a blob that its job does not know would stay for ever
                folder = self._folder_of(doc["job_uuid"], doc.get("job_index", 1))
                folder.mkdir(parents=True, exist_ok=True)
                (folder / doc[KEY]).touch()
            data = json.dumps(jsanitize(doc, recursive_msonable=True)).encode()
            write_atomic(self._path(doc[KEY]), zlib.compress(data, level=1))

    def query(
        self,
        criteria: dict[str, Any] | None = None,
        properties: dict[str, Any] | list[str] | None = None,
        sort: dict[str, Sort | int] | None = None,  # noqa: ARG002 - blobs have no order
        skip: int = 0,
        limit: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Yield blobs by ``blob_uuid`` (a value or ``{"$in": [...]}``), of a job, or all.

        Parameters
        ----------
        criteria : dict, optional
            ``blob_uuid``; or ``job_uuid`` (a value or ``{"$in": [...]}``), and ``job_index`` for
            one run of that job.
        properties : dict or list, optional
            Keys to keep.
        sort : optional
            Ignored.
        skip, limit : int
            As in maggma.

        Raises
        ------
        BlobError
            If a blob asked for by uuid is missing or corrupted.
        ValueError
            If the criteria hold another key.
        """
        uuids = self._uuids(criteria or {})
        for uuid in uuids[skip : skip + limit if limit else None]:
            doc = self._read(uuid)
            yield {k: doc[k] for k in properties if k in doc} if properties else doc

    def count(
        self,
        criteria: dict[str, Any] | None = None,
        hint: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> int:
        """Count blobs."""
        return len(self._uuids(criteria or {}))

    def distinct(
        self,
        field: str,
        criteria: dict[str, Any] | None = None,
        all_exist: bool = False,  # noqa: ARG002
    ) -> list[Any]:
        """Return distinct values of a field."""
        return sorted({doc[field] for doc in self.query(criteria) if field in doc})

    def ensure_index(self, key: str, unique: bool = False) -> bool:  # noqa: ARG002
        """Files are found by name: there is nothing to index."""
        return True

    def groupby(self, *args: Any, **kwargs: Any) -> Iterator[tuple[dict, list[dict]]]:
        """Blobs are not grouped."""
        raise NotImplementedError("a folder of blobs is looked up by blob_uuid only")

    def remove_docs(self, criteria: dict[str, Any]) -> None:
        """Remove blobs; of a job as of a uuid, none is no error."""
        for uuid in self._uuids(criteria):
            self._path(uuid).unlink(missing_ok=True)
        for folder in self._folders(criteria) if "job_uuid" in criteria else []:
            rmtree(folder, ignore_errors=True)

    def _uuids(self, criteria: dict[str, Any]) -> list[str]:
        if not criteria:
            return sorted(p.name.split(".")[0] for p in Path(self.folder).glob("*.json.z"))
        if "job_uuid" in criteria and set(criteria) <= {"job_uuid", "job_index"}:
            known = [p.name for folder in self._folders(criteria) for p in folder.iterdir()]
            return sorted(uuid for uuid in known if self._path(uuid).exists())
        if set(criteria) != {KEY}:
            raise ValueError(
                f"blobs are looked up by {KEY!r}, or by 'job_uuid' (and 'job_index'), not by "
                f"{sorted(criteria)}"
            )
        return _values(criteria[KEY])

    def _folders(self, criteria: dict[str, Any]) -> list[Path]:
        """Return the folders that name the blobs of the jobs asked for."""
        indices = _values(criteria.get("job_index", "*"))
        patterns = [f"{escape(u)}.{i}" for u in _values(criteria["job_uuid"]) for i in indices]
        parent = Path(self.folder) / OF_JOB
        return sorted(folder for pattern in patterns for folder in parent.glob(pattern))

    def _folder_of(self, job_uuid: str, job_index: int) -> Path:
        return Path(self.folder) / OF_JOB / f"{job_uuid}.{job_index}"

    def _read(self, uuid: str) -> dict[str, Any]:
        path = self._path(uuid)
        try:
            return json.loads(zlib.decompress(path.read_bytes()))
        except FileNotFoundError as error:
            raise BlobError(
                f"blob {uuid} is missing ({path}); restore the file, or remove the journal entry "
                "of the job that made it and run again"
            ) from error
        except (zlib.error, json.JSONDecodeError) as error:
            raise BlobError(
                f"blob {uuid} is corrupted ({path}: {error}); restore the file, or remove it and "
                "the journal entry of the job that made it and run again"
            ) from error

    def _path(self, uuid: str) -> Path:
        return Path(self.folder) / f"{uuid}.json.z"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FileBlobStore) and self.folder == other.folder

    def __hash__(self) -> int:
        return hash(self.folder)


def none_missing(
    blobs: Iterable[dict[str, Any]], criteria: dict[str, Any] | None, store: str
) -> Iterator[dict[str, Any]]:
    """Yield blobs, and raise ``BlobError`` if one that criteria name by its uuid is not there."""
    named = _values(criteria[KEY]) if criteria and set(criteria) == {KEY} else []
    missing = dict.fromkeys(named)
    for blob in blobs:
        missing.pop(blob[KEY], None)
        yield blob
    if missing:
        raise BlobError(
            f"blob {next(iter(missing))} is missing in {store}; restore it, or run the job that "
            "made it again"
        )


def _values(wanted: Any) -> list[Any]:
    return list(wanted["$in"]) if isinstance(wanted, dict) else [wanted]
