"""Run what an atomate2 Maker makes, inside a label job, and keep its task documents.

The flow of one frame runs here and not as jobs of the engine: a WAVECAR never leaves its machine,
a workflow has one job per row of labels and not three per label, and a failure keeps its reason.
"""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from jobflow import Flow, JobStore, Maker, run_locally
from jobflow.core.reference import find_and_resolve_references
from maggma.stores import MemoryStore
from pymatgen.core import Structure

from atomate2_alpot.label.retry import Retry
from atomate2_alpot.schemas import TaskRecord

MAX_WORDS: int = 2000


@dataclass
class Calculation:
    """What a Maker's flow did for one structure.

    Parameters
    ----------
    result : object
        What the flow returns, with references resolved; None if it failed.
    tasks : list of TaskRecord
        Outputs of its jobs that finished, in that order.
    failed : str or None
        Name of the job that failed.
    error : BaseException or None
        What it raised.
    folder : str
        host:path.
    seconds : float
    """

    folder: str
    result: Any = None
    tasks: list[TaskRecord] = field(default_factory=list)
    failed: str | None = None
    error: BaseException | None = None
    seconds: float = 0.0

    @property
    def words(self) -> str:
        """The failing job and what it raised."""
        if self.error is None:
            return ""
        text = f"{self.failed}: {type(self.error).__name__}: {self.error}"
        # what an engine prints need be neither short nor Unicode
        return text[:MAX_WORDS].encode("utf-8", "replace").decode()


def run_calculation(maker: Maker, structure: Structure, folder: Path) -> Calculation:
    """Run a Maker's job or flow for one structure, each job in a subfolder.

    Parameters
    ----------
    maker : Maker
    structure : Structure
    folder : Path
        Made if missing.

    Returns
    -------
    Calculation
        Never raises for what the calculation raises; Ctrl-C passes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    calculation = Calculation(folder=f"{socket.gethostname()}:{folder.resolve()}")
    start = perf_counter()
    try:
        made = maker.make(structure)
        flow = made if isinstance(made, Flow) else Flow([made], output=made.output)
    except Exception as error:  # a Maker that cannot set up this structure costs this structure
        calculation.failed, calculation.error = maker.name, error
        return calculation
    store = _scratch_store(flow)
    try:
        run_locally(
            flow,
            log=False,
            store=store,
            create_folders=True,
            root_dir=folder,
            raise_immediately=True,
        )
        calculation.result = find_and_resolve_references(flow.output, store)
    except (Exception, SystemExit) as error:  # whatever an engine raises is this frame's failure
        calculation.error = error
    calculation.tasks = _finished(store)
    if calculation.error is not None:
        calculation.failed = _first_missing(flow, store) or maker.name
    calculation.seconds = perf_counter() - start
    return calculation


def makers_within(maker: Any) -> Iterator[Maker]:
    """Yield a Maker and the Makers in its fields, theirs included."""
    if isinstance(maker, Maker):
        yield maker
        for item in dataclasses.fields(maker):
            yield from makers_within(getattr(maker, item.name))


def changed(maker: Maker, retry: Retry) -> Maker:
    """Return a Maker with the settings of a retry."""
    if retry.incar:
        from atomate2.vasp.powerups import update_user_incar_settings

        maker = update_user_incar_settings(maker, retry.incar)
    return dataclasses.replace(maker, **retry.options)


def _scratch_store(flow: Flow) -> JobStore:
    """Make a store in memory with every additional store that the flow's jobs write to."""
    # jobflow has no public way to ask a job for the stores it was decorated with
    names = {name for job, _ in flow.iterflow() for name in job._kwargs}
    store = JobStore(
        MemoryStore(), additional_stores={name: MemoryStore() for name in {"data", *names}}
    )
    store.connect()
    return store


def _finished(store: JobStore) -> list[TaskRecord]:
    found = store.query(sort={"completed_at": 1}, load=True)
    return [
        TaskRecord.of(row["name"], row["output"])
        for row in found
        if row["output"] is not None and row["name"] != "store_inputs"
    ]


def _first_missing(flow: Flow, store: JobStore) -> str | None:
    done = set(store.distinct("uuid"))
    return next((job.name for job, _ in flow.iterflow() if job.uuid not in done), None)
