"""The indexes that a server keeps, so that no query reads a whole collection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pymongo.errors import DuplicateKeyError, OperationFailure, PyMongoError

Collection = Literal["labels", "outputs", "blobs.files", "blobs"]


@dataclass(frozen=True)
class Index:
    """One index.

    Parameters
    ----------
    collection : str
    fields : tuple of str
        In order; a filter on the first ones is answered too.
    answers : str
        The question it is there for.
    unique : bool
        Whether two documents with the same values are refused.
    """

    collection: Collection
    fields: tuple[str, ...]
    answers: str
    unique: bool = False

    @property
    def name(self) -> str:
        """Name of the index on the server, as MongoDB makes it."""
        return "_".join(f"{field}_1" for field in self.fields)


LABEL_KEY: tuple[str, ...] = ("frame_id", "functional", "campaign_id")
"""What makes a label document one of its kind; in this order for the index of it."""

INDEXES: tuple[Index, ...] = (
    Index(
        "labels", LABEL_KEY, "who has labelled this frame; one document per campaign", unique=True
    ),
    Index("labels", ("campaign_id", "iteration", "stage"), "labels of an iteration of a campaign"),
    Index("labels", ("campaign_id", "state", "reason"), "what failed, and why"),
    Index("labels", ("chemsys", "functional"), "labels of exactly these elements"),
    Index("labels", ("elements", "functional"), "labels with these elements"),
    Index("labels", ("functional", "max_force"), "labels of a functional, forces up to a bound"),
    Index("labels", ("iteration",), "labels of an iteration, whichever campaign"),
    Index("labels", ("formula_pretty",), "labels of a formula"),
    Index("labels", ("task_uuid",), "labels of a job or of a foreign task document"),
    Index("labels", ("gather_uuid",), "labels that a gather wrote"),
    Index("labels", ("gathers_read",), "gathers that were read to their end"),
    Index("labels", ("tasks_read",), "task documents that were read (LabelBuilder)"),
    Index("labels", ("last_updated",), "what is new"),
    Index("outputs", ("uuid", "index"), "the output of a job (jobflow)"),
    Index(
        "outputs",
        ("name", "metadata.campaign_id", "metadata.iteration"),
        "gathers and iterations of a campaign",
    ),
    Index("outputs", ("metadata.campaign_id",), "all jobs of a campaign"),
    Index("blobs.files", ("metadata.blob_uuid",), "a blob"),
    Index("blobs.files", ("metadata.job_uuid", "metadata.job_index"), "the blobs of a job"),
    Index("blobs", ("blob_uuid",), "a blob in S3"),
    Index("blobs", ("job_uuid", "job_index"), "the blobs of a job in S3"),
)
"""Every index; ``alpot init-store`` makes them."""


@dataclass(frozen=True)
class IndexResult:
    """What came of one index.

    Parameters
    ----------
    index : Index
    state : str
        "made", "there" or "failed".
    words : str
        Why it failed, and what to do.
    """

    index: Index
    state: Literal["made", "there", "failed"]
    words: str = ""


def make_indexes(
    collections: dict[str, Any], indexes: Sequence[Index] = INDEXES
) -> Iterator[IndexResult]:
    """Make the indexes that are missing; run again, it finds them there.

    Parameters
    ----------
    collections : dict of str to pymongo Collection
        Those whose name is not here are passed over.
    indexes : sequence of Index
    """
    for name, collection in collections.items():
        wanted = [index for index in indexes if index.collection == name]
        present = {tuple(i["key"]): i for i in collection.index_information().values()}
        for index in wanted:
            yield _make(collection, index, present.get(tuple((f, 1) for f in index.fields)))


def _make(collection: Any, index: Index, present: dict[str, Any] | None) -> IndexResult:
    if present is not None and bool(present.get("unique")) == index.unique:
        return IndexResult(index, "there")
    if present is not None:
        words = (
            f"{index.collection} has an index of these fields with unique="
            f"{bool(present.get('unique'))}; drop it and run again"
        )
        return IndexResult(index, "failed", words)
    keys = [(field, 1) for field in index.fields]
    try:
        collection.create_index(keys, name=index.name, unique=index.unique, background=True)
    except DuplicateKeyError:
        words = (
            f"{index.collection} holds documents with the same {', '.join(index.fields)}; remove "
            "all but one of each and run again"
        )
        return IndexResult(index, "failed", words)
    except OperationFailure as error:
        words = f"{error.details.get('codeName', type(error).__name__) if error.details else error}"
        return IndexResult(index, "failed", f"{words}: the user needs the role readWrite")
    except PyMongoError as error:
        return IndexResult(index, "failed", type(error).__name__)
    return IndexResult(index, "made")
