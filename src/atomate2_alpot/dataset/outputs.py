"""Writing to a job store what no job writes: what a campaign cuts out, and reports."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from jobflow import JobStore

from atomate2_alpot.schemas import BLOBS, Artifact

REPORT = "report"
"""Name of the output that holds the report page of a campaign."""


def write_output(
    jobs: JobStore, uuid: str, name: str, output: Any, metadata: dict[str, Any]
) -> None:
    """Write an output as a job would, its blobs into the additional store.

    Parameters
    ----------
    jobs : JobStore
        Connected.
    uuid, name : str
        Of the job that it seems to be from.
    output : object
        MSONable.
    metadata : dict
        ``campaign_id``, and ``iteration`` where it belongs to one.
    """
    document = {
        "uuid": uuid,
        "index": 1,
        "name": name,
        "output": output,
        "completed_at": datetime.now(tz=UTC).isoformat(),
        "metadata": metadata,
        "hosts": [],
    }
    jobs.update(document, key=["uuid", "index"], save={"data": list[Any](BLOBS)})


def store_report(jobs: JobStore, campaign_id: str, page: bytes) -> None:
    """Put the report page of a campaign into the additional store, in place of the last one."""
    uuid = _report_uuid(campaign_id)
    if jobs.count({"uuid": uuid}):
        jobs.remove_docs({"uuid": uuid})  # with its blob
    output = {"page": Artifact(page, "report.html")}
    write_output(jobs, uuid, REPORT, output, {"campaign_id": campaign_id})


def stored_report(jobs: JobStore, campaign_id: str) -> bytes:
    """Return the page that :func:`store_report` stored last.

    Raises
    ------
    ValueError
        If there is none.
    BlobError
        If it is missing in the additional store, or corrupted.
    """
    found = jobs.query_one({"uuid": _report_uuid(campaign_id)}, ["output"], load=True)
    if found is None:
        raise ValueError(
            f"no report of campaign {campaign_id!r} is stored; `alpot report`, without --stored, "
            "makes one"
        )
    return Artifact.from_dict(found["output"]["page"]).data


def _report_uuid(campaign_id: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"atomate2-alpot:{campaign_id}:{REPORT}"))
