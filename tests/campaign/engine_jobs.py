"""Small flows, and both engines on a Mongo server; importable by workers."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from jobflow import Flow, OnMissing, Response, job
from monty.json import MontyDecoder, MontyEncoder

NAMES = ("fireworks", "jobflow-remote")


@job
def attempt(number: int, folder: str) -> int:
    """Fail for number 0 until ``folder/mended`` exists."""
    if number == 0 and not (Path(folder) / "mended").exists():
        raise RuntimeError("SCF did not converge")
    return number


@job
def total(numbers: list) -> list:
    return [n for n in numbers if n is not None]


@job
def grow(numbers: list) -> Response:
    return Response(replace=Flow([total(numbers)]))


def labels(folder, seed: str = "a", numbers=(0, 1), strict: bool = False, grows=False) -> Flow:
    """Jobs of which the first fails, a gather that does without it unless strict, and growth."""
    made = [attempt(n, str(folder)) for n in numbers]
    gather = total([m.output for m in made])
    if not strict:
        gather.config.on_missing_references = OnMissing.NONE
    flow = Flow([*made, gather, *([grow(gather.output)] if grows else [])], name="labels")
    flow.update_metadata({"campaign_id": "c", "iteration": 1, "stage": "label"})
    return determined(flow, seed)


def determined(flow: Flow, seed: str) -> Flow:
    """Return a flow whose uuids depend on the seed only."""
    text = json.dumps(flow, cls=MontyEncoder)
    for i, (item, _) in enumerate(flow.iterflow()):
        text = text.replace(item.uuid, str(uuid5(NAMESPACE_URL, f"{seed} {i}")))
    return json.loads(text.replace(flow.uuid, str(uuid5(NAMESPACE_URL, seed))), cls=MontyDecoder)
