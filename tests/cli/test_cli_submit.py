"""`alpot submit`: once, to the right place, and every mistake caught before anything is added."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
import yaml
from toy_run import changed, write

from atomate2_alpot.campaign.engines import EngineError, WorkflowState
from atomate2_alpot.cli.build import build_stores
from atomate2_alpot.cli.loading import ConfigError, read_config
from atomate2_alpot.cli.show import show_labels, show_status, write_report
from atomate2_alpot.cli.submit import secrets_in_sight, submit_campaign
from atomate2_alpot.dataset.stores import StoreError
from engine_worlds import TOKEN, WORKER, WORLDS, job_store, run_everything

FILTERS = {
    "elements": "",
    "chemsys": "",
    "functional": "",
    "max_force": None,
    "iteration": None,
    "state": "",
}
KEY_OF_LOOP = "toy/loop"


@pytest.fixture(params=sorted(WORLDS))
def world(request, shared_mongo, tmp_path, monkeypatch):
    made = WORLDS[request.param](shared_mongo, f"t{uuid4().hex[:8]}", tmp_path, monkeypatch)
    monkeypatch.setenv("ALPOT_MONGO_URI", made.uri)
    return made


def config_of(world, engine=None, **sections) -> Path:
    own = {"launchpad": str(world.settings.launchpad)} if world.settings.launchpad else {}
    store = {"kind": "mongo", "database": world.database}
    config = changed(store=store, engine={**own, **(engine or {})}, **sections)
    return write(world.folder / "config.yaml", config)


def submit(world, path, run_dir="run", **options):
    arguments = {"engine_name": world.settings.name, "worker": "", **options}
    submit_campaign(path, world.folder / run_dir, **arguments)


def n_workflows(world) -> int:
    suffix, name = {"fireworks": ("fw", "workflows"), "jobflow-remote": ("jf", "flows")}[
        world.settings.name
    ]
    with world.server.client() as client:
        return client[f"{world.database}_{suffix}"][name].count_documents({})


def refused(world, path, match, kind=(ConfigError, EngineError), **options):
    with pytest.raises(kind, match=match) as error:
        submit(world, path, **options)
    assert TOKEN not in str(error.value)
    assert n_workflows(world) == 0
    assert not (world.folder / "run").exists()


def test_a_campaign_is_submitted_once_and_says_what_next(world, capsys):
    path = config_of(world)
    submit(world, path)
    first = capsys.readouterr().out
    assert "(submitted)" in first
    command = {"fireworks": "lpad -l", "jobflow-remote": "jf flow info"}[world.settings.name]
    assert command in first
    submit(world, path)
    assert "(there already, waiting)" in capsys.readouterr().out
    assert n_workflows(world) == 1
    kept = (world.folder / "run" / "config.yaml").read_text()
    assert TOKEN not in kept + first
    assert yaml.safe_load(kept)["engine"]["name"] == world.settings.name


def test_a_submitted_campaign_keeps_its_config(world):
    submit(world, config_of(world))
    with pytest.raises(ConfigError, match=r"submitted with another config.*\n.*max_iterations"):
        submit(world, config_of(world, loop={"max_iterations": 5}))
    with pytest.raises(ConfigError, match="folder of campaign toy"):
        submit(world, config_of(world, campaign_id="other"))
    assert n_workflows(world) == 1


def test_an_unknown_engine_or_none_is_refused(world):
    path = config_of(world)
    refused(
        world,
        path,
        r"--engine: 'firework' is unknown; did you mean 'fireworks'",
        engine_name="firework",
    )
    refused(world, path, "no engine is named: give --engine", engine_name="")
    with pytest.raises(ConfigError, match="engine.name"):
        read_config(config_of(world, engine={"name": "slurm"}))


def test_files_as_store_are_refused(world):
    path = config_of(world)
    config = yaml.safe_load(path.read_text()) | {"store": {"kind": "embedded"}}
    refused(world, write(path, config), "files that workers cannot reach")


def test_routes_of_another_engine_or_to_nowhere_are_refused(world):
    if world.settings.name == "fireworks":
        path = config_of(world, routing={"label": {"worker": "w"}})
        refused(world, path, "routing is that of jobflow-remote, and the engine is fireworks")
        refused(world, config_of(world), "engine.worker: 'w' is for jobflow-remote", worker="w")
        return
    path = config_of(world, routing={"label": {"category": "c"}})
    refused(world, path, "routing is that of fireworks, and the engine is jobflow-remote")
    for routing, name in (({"worker": "w"}, "worker"), ({"exec_config": "w"}, "exec_config")):
        path = config_of(world, routing={"label": routing})
        refused(world, path, f"routing.label.{name}: project '.*' has no 'w'")
    refused(
        world, config_of(world), rf"engine.worker: .* has no 'w'; it has \['{WORKER}'\]", worker="w"
    )


def test_missing_engine_files_are_named(world, monkeypatch):
    if world.settings.name == "fireworks":
        path = config_of(world, engine={"launchpad": "nowhere.yaml"})
        refused(world, path, r"engine.launchpad: no file .*nowhere.yaml; `lpad init`")
        monkeypatch.setattr("fireworks.fw_config.LAUNCHPAD_LOC", None)
        refused(world, config_of(world, engine={"launchpad": None}), "no LaunchPad file was found")
        (world.folder / "broken.yaml").write_text("host: [")
        path = config_of(world, engine={"launchpad": "broken.yaml"})
        refused(world, path, "broken.yaml cannot be used")
        return
    path = config_of(world, engine={"project": "alpo"})
    refused(world, path, r"engine.project: .*alpo.*projects: \['alpot-test'\]")


def test_a_queue_that_is_not_set_up_or_does_not_answer_is_named(world, monkeypatch):
    suffix = {"fireworks": "fw", "jobflow-remote": "jf"}[world.settings.name]
    with world.server.client() as client:
        client.drop_database(f"{world.database}_{suffix}")
    path = config_of(world)
    with pytest.raises(EngineError, match=r"is not set up: run `(lpad|jf)"):
        submit(world, path)
    for module in (world.settings.name.replace("-", "_"), "stores"):
        monkeypatch.setattr(f"atomate2_alpot.campaign.engines.{module}.TIMEOUT", 0.3)
    files = [world.folder / "my_launchpad.yaml", *world.folder.glob("projects/*.yaml")]
    for file in (f for f in files if f.exists()):
        file.write_text(file.read_text().replace(f":{world.server.port}/", ":9/"))
    with pytest.raises(EngineError, match="does not answer") as error:
        submit(world, path)
    assert TOKEN not in str(error.value)


def test_a_store_that_does_not_answer_is_named_without_its_uri(world, monkeypatch):
    monkeypatch.setattr("atomate2_alpot.dataset.stores.TIMEOUT_MS", 300)
    monkeypatch.setenv("ALPOT_MONGO_URI", world.uri.replace(f":{world.server.port}/", ":9/"))
    refused(world, config_of(world), "store MongoDB:.* does not answer", kind=StoreError)


def test_a_store_without_blobs_is_caught_before_anything_is_added(world, monkeypatch):
    import jobflow
    from jobflow import JobStore

    description = job_store(world.uri, world.database)
    del description["additional_stores"]
    if world.settings.name == "fireworks":
        monkeypatch.setattr(jobflow.SETTINGS, "JOB_STORE", JobStore.from_dict_spec(description))
    else:
        file = next(world.folder.glob("projects/*.yaml"))
        file.write_text(
            yaml.safe_dump(yaml.safe_load(file.read_text()) | {"jobstore": description})
        )
    refused(world, config_of(world), "has no additional store 'data'")


def test_results_must_be_read_where_workers_write(world):
    path = config_of(world)
    config = yaml.safe_load(path.read_text())
    config["store"]["database"] = f"{world.database}x"
    refused(world, write(path, config), r"workers would write documents to .*\.outputs")


def test_files_with_passwords_that_others_can_read_give_a_warning(world, tmp_path):
    path = config_of(world)
    assert list(secrets_in_sight(path, world.engine)) == []
    for file in world.engine.files():
        file.write_text(file.read_text() + "\npassword: hunter2\n")
        file.chmod(0o644)
    warnings = list(secrets_in_sight(path, world.engine))
    assert len(warnings) == len(world.engine.files())
    assert all("chmod 600" in w and "hunter2" not in w for w in warnings)
    for file in world.engine.files():
        file.chmod(0o600)
    assert list(secrets_in_sight(path, world.engine)) == []


@pytest.mark.slow
@pytest.mark.parametrize("world", ["fireworks"], indirect=True)
def test_status_query_and_report_work_on_what_an_engine_ran(world, capsys):
    """With the real trainer, on FireWorks."""
    submit(world, config_of(world))
    run_everything(world)
    assert world.engine.states([KEY_OF_LOOP]) == {KEY_OF_LOOP: WorkflowState.COMPLETED}
    run_dir = world.folder / "run"
    capsys.readouterr()
    show_status(run_dir)
    assert "max iterations" in capsys.readouterr().out
    report = write_report(run_dir, None)
    assert "Surrogate labels." in report.read_text()
    stored = write_report(run_dir, world.folder / "stored.html", stored=True)
    assert stored.read_bytes() == report.read_bytes()
    config = read_config(run_dir / "config.yaml")
    stores = build_stores(config, run_dir)
    stores.connect()
    n_labels = stores.labels.count({"stage": "label", "state": "successful"})
    assert 0 < n_labels <= 8
    show_labels(run_dir, '{"stage": "label"}', FILTERS, 20, "count")
    assert int(capsys.readouterr().out) == n_labels
