"""Who a workflow is: its key, and uuids that follow from it.

A process that is killed between handing a workflow to the engine and writing that down hands it
over again. The second one is the same to the last job, so that it can be recognised as such.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from uuid import NAMESPACE_URL, uuid5

from jobflow import Flow, Job, OutputReference
from monty.json import MontyDecoder, MontyEncoder

from atomate2_alpot.campaign.documents import BatchDoc

NAMESPACE = uuid5(NAMESPACE_URL, "atomate2-alpot:campaign")

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def workflow_key(batch: BatchDoc, attempt: int | None = None) -> str:
    """Return the name of an attempt at a batch; the present one by default."""
    attempt = batch.attempt if attempt is None else attempt
    return batch.key if attempt == 1 else f"{batch.key}/attempt-{attempt}"


def output_uuid(key: str) -> str:
    """Return the uuid of the job whose output is the workflow's."""
    return str(uuid5(NAMESPACE, f"{key}:output"))


def part_uuid(key: str, part: str) -> str:
    """Return the uuid of something else that belongs to a workflow."""
    return str(uuid5(NAMESPACE, f"{key}:{part}"))


def identified(flow: Flow, key: str) -> Flow:
    """Return the same flow with uuids that follow from its key.

    Parameters
    ----------
    flow : Flow
        Its output is a reference to one of its jobs.
    key : str

    Raises
    ------
    ValueError
        If the output is something else.
    """
    if not isinstance(flow.output, OutputReference):
        raise ValueError(f"workflow {key}: its output must be the output of one of its jobs")
    names = {old: part_uuid(key, f"{n:04d}") for n, old in enumerate(_uuids(flow))}
    names[flow.output.uuid] = output_uuid(key)
    text = UUID.sub(lambda found: names.get(found[0], found[0]), json.dumps(flow, cls=MontyEncoder))
    return json.loads(text, cls=MontyDecoder)


def _uuids(item: Flow | Job) -> Iterator[str]:
    yield item.uuid
    for inner in item.jobs if isinstance(item, Flow) else ():
        yield from _uuids(inner)
