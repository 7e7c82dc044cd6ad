"""Print the schema of every collection with an example, from the models themselves.

python tools/store_schema.py > docs/_generated/store.md
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any, get_args

import numpy as np
from jobflow.core.schemas import JobStoreDocument
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from atomate2_alpot.campaign.documents import BatchDoc, CampaignDoc
from atomate2_alpot.dataset import INDEXES, label_documents
from atomate2_alpot.dataset.labels import StoredLabelDoc
from atomate2_alpot.schemas import CalculationTable, Frames, IterationDoc, LabelBatchDoc, Labels

WHEN = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def label() -> StoredLabelDoc:
    """Return the document of a labelled frame, made as every other."""
    frames = Frames.from_arrays(
        [13, 28],
        [[0, 0, 0], [1.44, 1.44, 1.44]],
        [2.88 * np.eye(3)],
        [2],
        labels=Labels([-10.31], [[0, 0, 0.02], [0, 0, -0.02]], [-0.01 * np.eye(3)]),
        origin={"functional": ["r2SCAN"], "prototype": ["AB_cP2_221_b_a"], "task_uuid": ["5c1f…"]},
    ).with_origin(iteration=1, step=0)
    computed: dict[str, Any] = {
        "frame_id": frames.frame_id,
        "task_uuid": ["5c1f…"],
        "task_index": [0],
        "attempt": ["first"],
        "engine": ["VASP"],
        "version": ["6.4.3"],
        "encut": [680.0],
        "kpoints": ["13x13x13"],
        "pseudopotentials": ["PAW_PBE Al 04Jan2001; PAW_PBE Ni_pv 06Sep2000"],
        "folder": ["node17:/scratch/job_2026-01-31"],
        "n_steps": [3],
        "n_kept": [3],
        "seconds": [512.0],
    }
    batch = LabelBatchDoc(
        n_requested=1,
        n_labelled=1,
        functional="r2SCAN",
        iteration=1,
        campaign_id="al-ni",
        frames=frames,
        failures=[],
        calculations=CalculationTable.from_columns(**computed),
    )
    document = next(label_documents(batch)).model_dump()
    document |= {"stage": "label", "gather_uuid": "91aa…", "last_updated": WHEN}
    return StoredLabelDoc(**document)


def iteration() -> IterationDoc:
    """Return what one iteration came to."""
    empty = {
        n: {} for n, f in IterationDoc.model_fields.items() if str(f.annotation)[:5] == "dict["
    }
    told = {
        "counts": {"screened": 10000, "passed": 2210, "selected": 500, "labelled": 431},
        "failures": {"not converged": 52, "walltime": 17},
        "metrics": {"energy_mae": 0.021, "forces_mae": 0.11},
        "versions": {"atomate2-alpot": "0.1.0"},
    }
    return IterationDoc(
        **{**empty, **told},
        campaign_id="al-ni",
        iteration=1,
        status="running",
        functional="r2SCAN",
        elements=["Al", "Ni"],
        member_metrics=[],
        committee=["chgnet:0.3.0", "chgnet:0.2.0"],
        trained=["mace:1f0c2d9e", "mace:77ab03c4"],
        last_updated=WHEN,
    )


def output() -> JobStoreDocument:
    """Return the output of a job, with a reference to a blob."""
    blob = {
        "@module": "atomate2_alpot.schemas.frames",
        "@class": "Frames",
        "blob_uuid": "0d6e…",
        "store": "data",
    }
    return JobStoreDocument(
        uuid="91aa…",
        index=1,
        name="gather labels",
        completed_at="2026-01-31T12:00:00",
        metadata={"campaign_id": "al-ni", "iteration": 1, "stage": "label"},
        hosts=["77c0…"],
        output={"n_requested": 100, "n_labelled": 82, "functional": "r2SCAN", "frames": blob},
    )


def campaign() -> CampaignDoc:
    """Return the state of a campaign of many workflows."""
    times = {"stage_since": WHEN, "created_at": WHEN}
    return CampaignDoc(
        campaign_id="al-ni", engine="fireworks", stage="label", n_batches=50, **times
    )


def batch() -> BatchDoc:
    """Return one workflow of a campaign."""
    place = {"key": "al-ni/001/label/000007", "stage_id": "al-ni/001/label", "batch": 7}
    payload = {"start": 700, "stop": 800}
    return BatchDoc(**place, state="submitted", payload=payload, submitted_at=WHEN, deadline=WHEN)


FILE = {
    "length": 21_400_312,
    "chunkSize": 261_120,
    "uploadDate": WHEN,
    "metadata": {"blob_uuid": "0d6e…", "job_uuid": "91aa…", "job_index": 1, "sha256": "e3b0…"},
}
SECTIONS: tuple[tuple[str, str, BaseModel | dict[str, Any]], ...] = (
    ("labels", "One labelled or failed frame of a campaign.", label()),
    ("outputs", "The output of one job, in jobflow's layout.", output()),
    (
        "outputs named `record iteration`",
        "What one iteration came to, under `output`.",
        iteration(),
    ),
    (
        "blobs.files, blobs.chunks",
        "GridFS: a blob in chunks, and what it is found by. Its bytes are JSON.",
        FILE,
    ),
    ("campaigns", "The state of one campaign of `alpot campaign`.", campaign()),
    ("batches", "One workflow of a campaign of `alpot campaign`.", batch()),
)


def store_schema() -> str:
    """Return the page."""
    return "\n".join(line for section in SECTIONS for line in describe(*section)) + "\n"


def describe(name: str, words: str, example: BaseModel | dict[str, Any]) -> list[str]:
    """Return the lines of one collection."""
    lines = [f"### {name}", "", words, ""]
    if isinstance(example, BaseModel):
        lines += ["| field | type | |", "|---|---|---|"]
        for field, info in type(example).model_fields.items():
            default = (
                "" if info.default in (None, PydanticUndefined) else f" (default {info.default})"
            )
            told = f"{info.description or ''}{default}".replace("|", "\\|")
            lines.append(f"| `{field}` | {type_name(info.annotation)} | {told} |")
        lines.append("")
    indexes = [index for index in INDEXES if index.collection == name.split(",", maxsplit=1)[0]]
    if indexes:
        lines += ["| index | answers |", "|---|---|"]
        for index in indexes:
            unique = " (unique)" if index.unique else ""
            lines.append(f"| `{', '.join(index.fields)}`{unique} | {index.answers} |")
        lines.append("")
    plain = example.model_dump(mode="json") if isinstance(example, BaseModel) else example
    shown = {k: v for k, v in plain.items() if v not in (None, {}, [])}
    rows = [
        f'  "{k}": {json.dumps(shortened(v, 1), default=str, ensure_ascii=False)}'
        for k, v in shown.items()
    ]
    return [*lines, "```json", "{", ",\n".join(rows), "}", "```", ""]


def shortened(value: Any, depth: int = 0) -> Any:
    """Leave out what is deep inside: the layout of pymatgen's structures is pymatgen's."""
    if isinstance(value, dict):
        return "…" if depth > 2 else {k: shortened(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return ["…"]
    return value


def type_name(kind: Any) -> str:
    """Return the name of a type as a reader of the store sees it."""
    if hasattr(kind, "__metadata__"):  # Annotated: validators are no part of what is stored
        return type_name(kind.__origin__)
    parts = [type_name(p) for p in get_args(kind) if p is not type(None)]
    origin = getattr(kind, "__origin__", None)
    if origin in (list, dict):
        return f"{origin.__name__} of {parts[-1]}"
    return " or ".join(parts) if parts else str(getattr(kind, "__name__", kind))


if __name__ == "__main__":
    sys.stdout.write(store_schema())
