"""Jobs of a small dynamic flow; each run appends a line to a trace file."""

from __future__ import annotations

import time
from pathlib import Path

from jobflow import Flow, JobConfig, JobStore, OnMissing, Response, job
from maggma.stores import JSONStore, MemoryStore


def trace(folder: str, line: str) -> None:
    with (Path(folder) / "trace.txt").open("a") as stream:
        stream.write(line + "\n")


@job
def work(folder, name, pause, fail=False):
    time.sleep(pause)
    if fail and not (Path(folder) / "mended").exists():
        raise RuntimeError(f"{name} broke")
    trace(folder, name)
    return name


@job(config=JobConfig(on_missing_references=OnMissing.NONE))
def gather(folder, iteration, results):
    trace(folder, f"gather {iteration}")
    return [r for r in results if r is not None]


@job
def strict(folder, name, value):
    trace(folder, name)
    return value


@job
def grow(folder, iteration, last, pause, fail_one):
    trace(folder, f"grow {iteration}")
    if iteration > last:
        return Response(output="end")
    jobs = [
        work(folder, f"label {iteration}.{i}", pause, fail=fail_one and i == 1) for i in range(4)
    ]
    collect = gather(folder, iteration, [j.output for j in jobs])
    following = grow(folder, iteration + 1, last, pause, fail_one)
    hold = strict(folder, f"strict {iteration}", collect.output)
    return Response(replace=Flow([*jobs, collect, hold, following], output=following.output))


def make_flow(folder, last=3, pause=0.0, fail_one=False):
    first = grow(folder, 1, last, pause, fail_one)
    return Flow([first], output=first.output)


def persistent_store(folder) -> JobStore:
    return JobStore(
        JSONStore(str(Path(folder) / "docs.json"), read_only=False),
        additional_stores={"data": MemoryStore()},
    )


def run_for_ever(target: str) -> None:
    """What the process does that a test kills."""
    from atomate2_alpot.campaign import run_embedded

    run_embedded(lambda: make_flow(target, pause=0.05), Path(target), persistent_store(target))
