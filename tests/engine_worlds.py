"""FireWorks and jobflow-remote set up on a Mongo server, as users' config files set them up."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jobflow import JobStore

from atomate2_alpot.campaign.engines import Engine, EngineSettings, make_engine
from mongo_server import MongoServer

PROJECT = "alpot-test"
WORKER = "here"
TOKEN = "s3cret-of-the-test"
"""In the URI of every store and queue, as a password would be."""


@dataclass
class World:
    """An engine with its files and databases."""

    engine: Engine
    settings: EngineSettings
    server: MongoServer
    database: str
    folder: Path

    @property
    def uri(self) -> str:
        return with_token(self.server.uri)

    def another(self) -> Engine:
        """Return an engine as another process would have it."""
        return make_engine(self.settings)


def with_token(uri: str) -> str:
    """Return a URI that is recognised where it does not belong."""
    return f"{uri}&appName={TOKEN}"


def job_store(uri: str, database: str) -> dict[str, Any]:
    """Return a job store as ``jobflow.yaml`` describes it, where `mongo_stores` reads."""
    place = {"uri": uri, "database": database}
    blobs = {"type": "GridFSURIStore", "collection_name": "blobs", "key": "blob_uuid", **place}
    return {
        "docs_store": {"type": "MongoURIStore", "collection_name": "outputs", **place},
        "additional_stores": {"data": blobs},
    }


def fireworks_world(server: MongoServer, database: str, folder: Path, monkeypatch: Any) -> World:
    """Set up a LaunchPad, and jobflow's settings as ``JOBFLOW_CONFIG_FILE`` would."""
    import jobflow
    from fireworks import LaunchPad

    pad = folder / "my_launchpad.yaml"
    uri = with_token(server.uri)
    description = {"host": uri, "name": f"{database}_fw", "uri_mode": True}
    pad.write_text(yaml.safe_dump(description))
    config = folder / "jobflow.yaml"
    config.write_text(yaml.safe_dump({"JOB_STORE": job_store(uri, database)}))
    monkeypatch.setenv("JOBFLOW_CONFIG_FILE", str(config))
    store = JobStore.from_dict_spec(job_store(uri, database))
    monkeypatch.setattr(jobflow.SETTINGS, "JOB_STORE", store)
    monkeypatch.setattr(jobflow.SETTINGS, "CONFIG_FILE", str(config))
    LaunchPad(strm_lvl="ERROR", **description).reset("", require_password=False)
    settings = EngineSettings(name="fireworks", launchpad=pad)
    return World(make_engine(settings), settings, server, database, folder)


def remote_world(
    server: MongoServer,
    database: str,
    folder: Path,
    monkeypatch: Any,
    execution_cmd: str | None = None,
) -> World:
    """Set up a project with a local shell worker, which runs jobs as `jf` does or by a command."""
    import jobflow_remote
    from jobflow_remote.config.manager import ConfigManager

    uri = with_token(server.uri)
    queue = {"uri": uri, "database": f"{database}_jf", "collection_name": "jobs"}
    here, tests = Path(__file__).parent, os.environ.get("PYTHONPATH", "")
    paths = [here, here / "flows", here / "campaign", *([tests] if tests else [])]
    programs = f"{Path(sys.executable).parent}:$PATH"  # `jf`, though nobody activated anything
    worker = {
        "type": "local",
        "scheduler_type": "shell",
        "work_dir": str(folder / "work"),
        "pre_run": f"export OMP_NUM_THREADS=1 PATH={programs} "
        f"PYTHONPATH={os.pathsep.join(map(str, paths))}",
        "timeout_execute": 60,
        "execution_cmd": execution_cmd,
    }
    delays = ("checkout", "check_run_status", "advance_status")
    project = {
        "name": PROJECT,
        "workers": {WORKER: worker},
        "queue": {"store": {"type": "MongoURIStore", **queue}},
        "jobstore": job_store(uri, database),
        "log_level": "warn",
        "runner": {f"delay_{what}": 0.2 for what in delays},
    }
    (folder / "projects").mkdir()
    (folder / "projects" / f"{PROJECT}.yaml").write_text(yaml.safe_dump(project))
    monkeypatch.setenv("JFREMOTE_PROJECTS_FOLDER", str(folder / "projects"))
    monkeypatch.setenv("JFREMOTE_PROJECT", PROJECT)
    monkeypatch.setattr(jobflow_remote.SETTINGS, "projects_folder", str(folder / "projects"))
    monkeypatch.setattr(jobflow_remote.SETTINGS, "project", PROJECT)
    ConfigManager().get_project().get_job_controller().reset()
    settings = EngineSettings(name="jobflow-remote", project=PROJECT, worker=WORKER)
    return World(make_engine(settings), settings, server, database, folder)


@contextmanager
def loggers_as_they_were() -> Iterator[None]:
    """Undo what jobflow-remote's runner does to all loggers of its process: it disables them."""
    loggers = [v for v in logging.root.manager.loggerDict.values() if isinstance(v, logging.Logger)]
    disabled = {logger: logger.disabled for logger in (logging.root, *loggers)}
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        yield
    finally:
        for logger, was in disabled.items():
            logger.disabled = was
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)


WORLDS = {"fireworks": fireworks_world, "jobflow-remote": remote_world}


def run_everything(world: World, seconds: float = 500, categories: tuple[str, ...] = ()) -> None:
    """Let the engine's own workers or runner work until nothing is left to run.

    Parameters
    ----------
    world : World
    seconds : float
        Limit on the time of the runner.
    categories : tuple of str
        Of FireWorks' workers, one each; none = one worker that takes every job.
    """
    if world.settings.name == "fireworks":
        from fireworks import FWorker, LaunchPad
        from fireworks.core.rocket_launcher import rapidfire

        pad = LaunchPad.from_file(str(world.settings.launchpad))
        workers = [FWorker(c, category=c) for c in categories] or [FWorker()]
        while any(pad.run_exists(w) for w in workers):
            for worker in workers:
                rapidfire(pad, worker, m_dir=str(world.folder), strm_lvl="CRITICAL", nlaunches=0)
        return
    from jobflow_remote.config.base import LogLevel
    from jobflow_remote.jobs.runner import Runner

    with loggers_as_they_were():
        runner = Runner(project_name=PROJECT, log_level=LogLevel.ERROR)
        try:
            runner.run_all_jobs(max_seconds=seconds)
        finally:
            runner.cleanup()
