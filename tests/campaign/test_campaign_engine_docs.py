"""The configs and one-liners of "From laptop to cluster" are what the engines read."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import uuid4

import pytest
import yaml
from engine_jobs import labels
from jobflow import JobStore

from atomate2_alpot.campaign.engines import WorkflowState
from atomate2_alpot.cli.config import RunConfig
from atomate2_alpot.cli.example import REQUIRED
from engine_worlds import PROJECT, WORKER, WORLDS, fireworks_world

PAGE = (Path(__file__).parents[2] / "docs" / "engines.md").read_text()
FILES: dict[str, str] = dict(re.findall(r"```yaml\n# ([^\n]*)\n(.*?)```", PAGE, re.DOTALL))
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def load(title: str) -> dict:
    return yaml.safe_load(FILES[title])


def our_config(title: str) -> RunConfig:
    return RunConfig.model_validate({**REQUIRED, **load(title)})


def places(store: JobStore) -> list[tuple[str, str]]:
    every = (store.docs_store, store.additional_stores["data"])
    return [(s.database, s.collection_name) for s in every]


def test_fireworks_reads_its_files():
    from fireworks import FWorker, LaunchPad, fw_config
    from fireworks.user_objects.queue_adapters.common_adapter import CommonAdapter

    assert set(load("FW_config.yaml")) <= set(vars(fw_config))
    pad = LaunchPad.from_dict({**load("my_launchpad.yaml"), "strm_lvl": "ERROR"})
    assert (pad.name, pad.authsource) == ("fireworks", "alpot")
    workers = [t for t in FILES if t.startswith("my_fworker")]
    categories = {FWorker.from_dict(load(t)).category for t in workers}
    sent = our_config("config.yaml: FireWorks").routing.routes().values()
    assert {route.category for route in sent} | {"__none__"} == categories
    adapter = CommonAdapter.from_dict(load("my_qadapter.yaml"))
    script = adapter.get_script_str("/here")
    for line in ("--nodes=1", "--ntasks-per-node=64", "--time=24:00:00", "--partition=normal"):
        assert f"#SBATCH {line}" in script
    assert "my_fworker_vasp.yaml" in script


def test_jobflow_remote_reads_its_project():
    from jobflow_remote.config.base import Project
    from qtoolkit.io.slurm import SlurmIO

    project = Project.model_validate(load("~/.jfremote/alpot.yaml"))
    config = our_config("config.yaml: jobflow-remote")
    assert config.engine.project == project.name
    assert config.engine.worker in project.workers
    for route in config.routing.routes().values():
        assert route.worker in project.workers
        assert route.exec_config in {None, *project.exec_config}
    script = SlurmIO().get_submission_script(["jf"], project.workers["vasp"].resources)
    for line in ("--partition=normal", "--ntasks-per-node=64", "--time=24:00:00"):
        assert f"#SBATCH {line}" in script
    assert "--gres=gpu:1" in SlurmIO().get_submission_script(
        ["jf"], project.workers["gpu"].resources
    )


def test_workers_of_both_engines_write_where_the_config_reads():
    from jobflow_remote.config.base import Project

    from atomate2_alpot.dataset.stores import mongo_stores

    theirs = [
        JobStore.from_dict_spec(load("jobflow.yaml")["JOB_STORE"]),
        Project.model_validate(load("~/.jfremote/alpot.yaml")).get_jobstore(),
    ]
    for title in ("config.yaml: FireWorks", "config.yaml: jobflow-remote"):
        ours = mongo_stores("mongodb://mongo.example.org", our_config(title).store.database)
        assert [places(t) for t in theirs] == [places(ours.jobs)] * 2
    for store in theirs:
        assert store.additional_stores["data"].key == "blob_uuid"


def test_the_python_of_the_page_submits(shared_mongo, tmp_path, monkeypatch):
    world = fireworks_world(shared_mongo, f"t{uuid4().hex[:8]}", tmp_path, monkeypatch)
    monkeypatch.setattr("fireworks.fw_config.LAUNCHPAD_LOC", str(world.settings.launchpad))
    exec(PYTHON[0], {"flow": labels(tmp_path)})
    key = "my-campaign/loop"
    assert world.engine.states([key]) == {key: WorkflowState.WAITING}


@pytest.mark.parametrize("engine", sorted(WORLDS))
def test_the_one_liners_submit(engine, shared_mongo, tmp_path, monkeypatch):
    from fireworks import LaunchPad
    from jobflow.managers.fireworks import flow_to_workflow
    from jobflow_remote import submit_flow

    world = WORLDS[engine](shared_mongo, f"t{uuid4().hex[:8]}", tmp_path, monkeypatch)
    monkeypatch.setattr("fireworks.core.launchpad.LAUNCHPAD_LOC", str(world.settings.launchpad))
    names = {"LaunchPad": LaunchPad, "flow_to_workflow": flow_to_workflow}
    names |= {"submit_flow": submit_flow, "flow": labels(tmp_path)}
    line = next(row for row in PYTHON[1].splitlines() if row.endswith(f"# {TITLES[engine]}"))
    exec(line.replace('"alpot"', repr(PROJECT)).replace('"small"', repr(WORKER)), names)
    with world.server.client() as client:
        suffix, collection = {"fireworks": ("fw", "fireworks"), "jobflow-remote": ("jf", "jobs")}[
            engine
        ]
        assert client[f"{world.database}_{suffix}"][collection].count_documents({}) == 3


TITLES = {"fireworks": "FireWorks", "jobflow-remote": "jobflow-remote"}
