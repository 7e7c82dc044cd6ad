"""The embedded runner: dynamic flows, failures, kills and resumption."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from growing_flow import make_flow, persistent_store
from jobflow import run_locally

from atomate2_alpot.campaign import RunInProgressError, run_embedded

N_WORK = 3 * (4 + 1 + 1) + 4  # labels, gather, strict per iteration; four grows
COMMAND = "import sys; sys.path.insert(0, sys.argv[1]); import growing_flow as g; "
COMMAND += "g.run_for_ever(sys.argv[2])"


def lines(folder) -> list[str]:
    path = Path(folder) / "trace.txt"
    return path.read_text().splitlines() if path.exists() else []


def test_runs_what_jobflow_runs(tmp_path, job_store):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    summary = run_embedded(lambda: make_flow(str(tmp_path / "a")), tmp_path / "a", job_store)
    run_locally(make_flow(str(tmp_path / "b")), store=job_store, log=False)
    assert summary.completed
    assert Counter(lines(tmp_path / "a")) == Counter(lines(tmp_path / "b"))
    assert len(lines(tmp_path / "a")) == N_WORK


def test_second_call_runs_nothing_and_returns_the_same(tmp_path, job_store):
    first = run_embedded(lambda: make_flow(str(tmp_path)), tmp_path, job_store)
    again = run_embedded(lambda: pytest.fail("flow made twice"), tmp_path, job_store)
    assert (again.n_run, again.n_reused) == (0, first.n_run)
    assert len(lines(tmp_path)) == N_WORK


def test_failed_job_is_tolerated_where_its_child_tolerates_it(tmp_path, job_store):
    summary = run_embedded(lambda: make_flow(str(tmp_path), fail_one=True), tmp_path, job_store)
    assert summary.completed
    assert len(summary.failed) == 3
    assert all("broke" in error for error in summary.failed.values())
    assert "label 1.1" not in lines(tmp_path)
    # the gathers went on without it, so it is not tried again
    (tmp_path / "mended").touch()
    assert run_embedded(lambda: None, tmp_path, job_store).n_run == 0


def test_failed_job_that_stopped_the_flow_is_tried_again(tmp_path, job_store):
    from growing_flow import strict, work
    from jobflow import Flow

    def flow():
        job = work(str(tmp_path), "only", 0.0, fail=True)
        return Flow([job, strict(str(tmp_path), "strict", job.output)])

    summary = run_embedded(flow, tmp_path, job_store)
    assert not summary.completed
    assert lines(tmp_path) == []
    (tmp_path / "mended").touch()
    assert run_embedded(flow, tmp_path, job_store).completed
    assert lines(tmp_path) == ["only", "strict"]


def test_two_runs_in_one_folder_are_refused(tmp_path, job_store):
    with (tmp_path / "lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(RunInProgressError, match=str(tmp_path)):
            run_embedded(lambda: make_flow(str(tmp_path)), tmp_path, job_store)


def test_interrupt_is_not_swallowed_and_the_run_continues(tmp_path, job_store):
    seen = []

    def interrupt(job, entry):
        seen.append(job.name)
        if len(seen) == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_embedded(lambda: make_flow(str(tmp_path)), tmp_path, job_store, interrupt)
    summary = run_embedded(lambda: None, tmp_path, job_store)
    assert summary.completed
    assert (summary.n_reused, len(lines(tmp_path))) == (7, N_WORK)


@pytest.mark.parametrize("delay", [0.15, 0.4, 0.65])
def test_sigkill_loses_no_job_and_repeats_none_that_finished(tmp_path, delay):
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(Path(__file__).parent), str(tmp_path)],
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not lines(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = lines(tmp_path)
    assert len(before) < N_WORK
    finished = {p.name for p in (tmp_path / "journal").glob("*.json")}
    summary = run_embedded(lambda: None, tmp_path, persistent_store(tmp_path))
    assert summary.completed
    counts = Counter(lines(tmp_path))
    assert len(counts) == N_WORK
    # only the job that was running when the process died may show twice
    assert sum(counts.values()) - N_WORK <= 1
    assert summary.n_reused == len(finished) - 1  # journal holds the flow itself too
