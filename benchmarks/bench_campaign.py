"""Campaign mode: seconds per submitted and per collected workflow, against the campaign's size.

Labels come from a trivial labeller: this script writes what a label workflow would have stored, so
that only `advance` is timed. The server is SecantusDB, a surrogate for MongoDB that serves tests;
on MongoDB times are shorter. Ratios between sizes are the point: they must stay near 1. Times are
medians over rounds; the number of commands that the server is sent does not depend on who else uses
the machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "campaign"))

import numpy as np
import pytest
from campaign_parts import at_stage, labelling_loop, many_frames
from pymongo import monitoring

from atomate2_alpot.campaign.advance import Campaign
from atomate2_alpot.campaign.collect import Progress, Worker
from atomate2_alpot.campaign.documents import COLLECTED, PLANNED, SUBMITTED
from atomate2_alpot.campaign.identity import output_uuid
from atomate2_alpot.campaign.labels import Label, frames_of
from atomate2_alpot.schemas import BLOBS, CalculationTable, LabelBatchDoc, Labels
from engine_worlds import WORLDS
from mongo_server import MongoServer, mongo_server

BATCH, IN_FLIGHT = 10, 50


class Counter(monitoring.CommandListener):
    """Counts what the server is sent."""

    n = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:  # noqa: ARG002
        self.n += 1

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...


COUNTER = Counter()
monitoring.register(COUNTER)


class Clock:
    """Milliseconds and commands per workflow of each round."""

    def __init__(self) -> None:
        self.ms: list[float] = []
        self.commands, self.n_workflows = 0, 0

    def time(self, action: Callable[[], object], n_workflows: int) -> None:
        start, before = time.perf_counter(), COUNTER.n
        action()
        self.ms.append(1e3 * (time.perf_counter() - start) / n_workflows)
        self.commands += COUNTER.n - before
        self.n_workflows += n_workflows

    def __str__(self) -> str:
        return f"{np.median(self.ms):10.1f}{self.commands / self.n_workflows:10.1f}"


def label_them(campaign: Campaign, rng: np.random.Generator) -> None:
    """Store what the workflows in flight would: made-up labels."""
    ctx = campaign._context(campaign.state.load())
    for batch in campaign.state.find(ctx.doc.stage_id, [SUBMITTED]):
        frames, uuid = frames_of(ctx, batch), output_uuid(batch.key)
        n, n_atoms = len(frames), int(frames.n_atoms.sum())
        labels = rng.normal(size=n), rng.normal(size=(n_atoms, 3)), rng.normal(size=(n, 3, 3))
        labelled = frames.with_labels(Labels(*labels))
        columns: dict[str, Any] = {name: [None] * n for name in CalculationTable.SCHEMA.names}
        table = CalculationTable.from_columns(**{**columns, "frame_id": frames.frame_id})
        document = LabelBatchDoc(
            n_requested=n,
            n_labelled=n,
            functional="toy",
            iteration=1,
            campaign_id=ctx.doc.campaign_id,
            frames=labelled,
            failures=[],
            calculations=table,
        )
        output = {"uuid": uuid, "index": 1, "name": "label batch", "output": document}
        campaign.stores.jobs.update(output, key=["uuid", "index"], save={"data": BLOBS})


def measure(server: MongoServer, engine: str, n_labels: int) -> list[Clock]:
    """Time planning, submission and collection of a label stage."""
    plan, submit, collect = clocks = [Clock(), Clock(), Clock()]
    maker = labelling_loop()
    rows = dataclasses.replace(maker.labeller, batch_size=BATCH)
    maker = dataclasses.replace(maker, labeller=rows)
    policy = {"batch_size": BATCH, "max_in_flight": IN_FLIGHT}
    setup = at_stage(server.uri, "label", many_frames(n_labels), maker, **policy)
    campaign, rng = setup.campaign, np.random.default_rng(1)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        if engine in WORLDS:
            world = WORLDS[engine](server, f"b{uuid4().hex[:8]}", Path(folder), patch)
            campaign.engine = world.engine
            setup.campaign.state.campaigns.update_one({}, {"$set": {"engine": engine}})
        n_workflows = n_labels // BATCH
        plan.time(lambda: campaign._plan(campaign._context(campaign.state.load())), n_workflows)
        ctx = campaign._context(campaign.state.load())
        while campaign.state.any_in(ctx.doc.stage_id, [PLANNED]):
            worker = Worker(ctx, Label(), campaign.engine, Progress())
            n = min(IN_FLIGHT, campaign.state.count(ctx.doc.stage_id, PLANNED))
            submit.time(worker.submit, n)
            label_them(campaign, rng)
            collect.time(worker.collect, n)
    assert campaign.state.count(ctx.doc.stage_id, COLLECTED) == n_workflows
    return clocks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", nargs="+", default=["fake", *sorted(WORLDS)])
    parser.add_argument("--labels", nargs="+", type=int, default=[100, 1000, 10_000])
    arguments = parser.parse_args()
    print(f"workflows of {BATCH} frames, {IN_FLIGHT} in flight; ms and commands per workflow")
    heads = "".join(f"{name:>10}{'commands':>10}" for name in ("plan", "submit", "collect"))
    print(f"{'engine':16}{'labels':>8}{heads}")
    for engine in arguments.engines:
        with TemporaryDirectory() as folder, mongo_server(Path(folder), durable=False) as server:
            measure(server, engine, 50)  # imports, connections
            for n in arguments.labels:
                clocks = measure(server, engine, n)
                print(f"{engine:16}{n:8}{''.join(map(str, clocks))}", flush=True)


if __name__ == "__main__":
    main()
