"""Processes that end by SIGKILL at jobs that a file names, or take the database with them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

BEFORE, AFTER = "before", "after"
"""A job is killed before it has begun, or after its output is stored and nobody knows of it."""

PRELOADED = ("dying", "fakes", "atomate2_alpot.campaign.advance", "atomate2_alpot.label.jobs")

DURING_UPLOAD = "upload"
"""The database is killed when the chunks of a blob of the job are there, and it is not."""

DATABASE = "database"
"""File with the process id of the server that goes before a job gathers, or during an upload."""


def sentence(folder: Path, deaths: list[tuple[str, str]]) -> None:
    """Say at which jobs processes are to die: a name's beginning, and when; each once."""
    (folder / "deaths").write_text("".join(f"{when} {name}\n" for name, when in deaths))


def remaining(folder: Path) -> list[str]:
    """Return the deaths that nobody has died yet."""
    path = folder / "deaths"
    return path.read_text().splitlines() if path.exists() else []


def mortal(folder: Path) -> None:
    """Let this process die as `sentence` says."""
    from gridfs.synchronous.grid_file import GridIn
    from jobflow import Job

    run, running = Job.run, list[str]()

    def runs(self: Any, *arguments: Any, **options: Any) -> Any:
        _die_at(folder, BEFORE, self.name)
        running.append(self.name)  # label jobs run others within
        try:
            response = run(self, *arguments, **options)
        finally:
            running.pop()
        _die_at(folder, AFTER, self.name)
        return response

    Job.run = runs  # type: ignore[method-assign]
    close = GridIn.close

    def closes(self: Any) -> None:
        self._flush_buffer()
        _die_at(folder, DURING_UPLOAD, running[-1] if running else "")
        close(self)

    GridIn.close = closes  # type: ignore[method-assign]


def _die_at(folder: Path, when: str, name: str) -> None:
    deaths = remaining(folder)
    for line in deaths:
        moment, wanted = line.split(" ", 1)
        if moment == when and name.startswith(wanted):
            (folder / "deaths").write_text("".join(f"{d}\n" for d in deaths if d != line))
            database = folder / DATABASE
            victim = int(database.read_text()) if database.exists() else os.getpid()
            os.kill(victim, signal.SIGKILL)


def rlaunch(folder: Path, launchpad: Path, description: dict[str, Any]) -> None:
    """What a worker's process does: FireWorks' own command, until nothing is ready."""
    import jobflow
    from fireworks.scripts.rlaunch_run import rlaunch as command
    from jobflow import JobStore

    mortal(folder)
    jobflow.SETTINGS.JOB_STORE = JobStore.from_dict_spec(description)
    work = folder / "work"
    work.mkdir(exist_ok=True)
    os.chdir(work)
    command(["-l", str(launchpad), "-s", "rapidfire", "--nlaunches", "0"])


def run_remote(projects: Path, project: str) -> None:
    """What a runner's process does, until no job is left."""
    import jobflow_remote
    from jobflow_remote.config.base import LogLevel
    from jobflow_remote.jobs.runner import Runner

    jobflow_remote.SETTINGS.projects_folder, jobflow_remote.SETTINGS.project = (
        str(projects),
        project,
    )
    runner = Runner(project_name=project, log_level=LogLevel.ERROR)
    try:
        runner.run_all_jobs(max_seconds=300)
    finally:
        runner.cleanup()


def in_a_process(target: Any, *arguments: Any, seconds: float | None = None) -> int:
    """Run a function in a process of its own; return its exit code, -9 if it was killed.

    Parameters
    ----------
    target : callable
    *arguments
    seconds : float, optional
        After which it is killed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    process = context.Process(target=target, args=arguments)
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
    return int(process.exitcode or 0)
