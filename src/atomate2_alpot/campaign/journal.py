"""What the embedded runner has done, on disk: one small file per finished job."""

from __future__ import annotations

import json
import re
import traceback
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from jobflow import Flow, Job, Response
from monty.json import MontyDecoder, MontyEncoder

from atomate2_alpot.redact import redact
from atomate2_alpot.schemas.files import write_atomic


@dataclass
class Entry:
    """One job that has run.

    Parameters
    ----------
    name : str
        Name of the job.
    state : str
        "done" or "failed".
    seconds : float
        Wall time.
    error : str
        Traceback of a failed job.
    reason : str
        What it raised, in one line (:func:`reason_of`).
    replace, detour, addition : Flow or None
        Flows the job asked for, as they were before they ran.
    stop_children, stop_jobflow : bool
        As in ``jobflow.Response``.
    """

    name: str
    state: str
    seconds: float
    error: str = ""
    reason: str = ""
    replace: Flow | None = None
    detour: Flow | None = None
    addition: Flow | None = None
    stop_children: bool = False
    stop_jobflow: bool = False

    @classmethod
    def of_response(cls, job: Job, response: Response, seconds: float) -> Entry:
        """Build the entry of a job that finished; ``Job.run`` has made its requests Flows."""
        flows = {name: getattr(response, name) for name in ("replace", "detour", "addition")}
        return cls(
            name=job.name,
            state="done",
            seconds=seconds,
            stop_children=response.stop_children,
            stop_jobflow=response.stop_jobflow,
            **flows,
        )

    @classmethod
    def of_error(cls, job: Job, error: Exception, seconds: float) -> Entry:
        """Build the entry of a job that raised."""
        trace = redact("".join(traceback.format_exception(error)))
        return cls(job.name, "failed", seconds, error=trace, reason=reason_of(error))

    @property
    def new_flows(self) -> list[Flow]:
        """Flows to run next, in jobflow's order: replace, detour, addition."""
        return [f for f in (self.replace, self.detour, self.addition) if f is not None]


FLOW_FILE = "flow.json"

NOISE: tuple[str, ...] = ("For further information visit",)
"""How lines of a message begin that help nobody: pydantic ends every mistake in a URL."""

MESSAGE_LINES: int = 4
"""Lines of a message that are shown in one."""


def reason_of(error: BaseException) -> str:
    """Return ``Type: message`` in one line, with the first lines of a message of many."""
    lines = [line.strip() for line in redact(str(error)).splitlines()]
    telling = [line for line in lines if line and not line.startswith(NOISE)]
    words = "; ".join(telling[:MESSAGE_LINES]) + ("; …" if len(telling) > MESSAGE_LINES else "")
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


class Journal:
    """The folder ``journal/`` of a run: entries by job uuid and index, and the first flow.

    An entry is written after the job's output is in the store, by rename, so a killed process
    leaves either a whole entry or none, and a job without an entry is run (again).

    Parameters
    ----------
    folder : Path
        Created if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Tell whether a folder is the journal of a run that has begun; nothing is made."""
        return (folder / FLOW_FILE).exists()

    @property
    def flow_file(self) -> Path:
        """Where the flow is kept that the run began with."""
        return self.folder / FLOW_FILE

    def save_flow(self, flow: Flow) -> None:
        """Keep the flow the run begins with: its uuids are what a resumed run goes by."""
        write_atomic(self.flow_file, _encode(flow.as_dict()))

    def load_flow(self) -> Flow | None:
        """Return the flow the run began with, or None at the first start."""
        return _decode(self.flow_file.read_bytes()) if self.flow_file.exists() else None

    def write(self, job: Job, entry: Entry) -> None:
        """Record a job that has run."""
        document = {f.name: getattr(entry, f.name) for f in fields(Entry)}
        write_atomic(self._path(job), _encode(document))

    def read(self, job: Job) -> Entry | None:
        """Return the entry of a job, or None if it has not run."""
        path = self._path(job)
        return Entry(**_decode(path.read_bytes())) if path.exists() else None

    def has(self, job: Job) -> bool:
        """Tell whether a job has an entry, without reading it."""
        return self._path(job).exists()

    def forget(self, job: Job) -> None:
        """Drop the entry of a job: it will run again."""
        self._path(job).unlink(missing_ok=True)

    def forget_flow(self) -> None:
        """Drop the flow the run began with: the next start makes a new one."""
        self.flow_file.unlink(missing_ok=True)

    def _path(self, job: Job) -> Path:
        return self.folder / f"{job_folder_name(job)}.json"


def job_folder_name(job: Job) -> str:
    """Return a name for a job's folder: readable, and the same in every run."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", job.name).strip("-")
    return f"{slug}-{job.uuid[:13]}-{job.index}"


def _encode(document: Any) -> bytes:
    return json.dumps(document, cls=MontyEncoder).encode()


def _decode(data: bytes) -> Any:
    return json.loads(data, cls=MontyDecoder)
