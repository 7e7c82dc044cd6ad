"""`alpot campaign`: the commands, and every mistake named before anything is submitted."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from uuid import uuid4

import pytest
import yaml
from fake_engine import FakeEngine
from pymongo import MongoClient

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))

from toy_run import changed

from atomate2_alpot.campaign.engines import EngineError
from atomate2_alpot.campaign.state import CampaignError
from atomate2_alpot.cli import campaign_run as cli
from atomate2_alpot.cli.errors import RunFailedError
from atomate2_alpot.cli.loading import ConfigError
from atomate2_alpot.dataset.stores import StoreError, mongo_stores

SECRET = "s3cret"


class Desk:
    """A config file on the shared server, and the engine that commands find."""

    def __init__(self, folder: Path, uri: str) -> None:
        self.path, self.uri = folder / "campaign.yaml", f"{uri}&appName={SECRET}"
        self.database = f"test-{uuid4().hex[:8]}"
        self.client = MongoClient(self.uri)
        stores = mongo_stores(self.uri, self.database)
        stores.connect()
        self.engine = FakeEngine(self.client[self.database], stores)
        self.write()

    def write(self, **sections) -> None:
        store = {"kind": "mongo", "database": self.database, "uri": self.uri}
        # a copy over the fields that the test does not change
        config = changed(**{"store": store, "label": {"batch_size": 3}, **sections})
        self.path.write_text(yaml.safe_dump(config))
        self.path.chmod(0o600)


@pytest.fixture
def desk(shared_mongo, tmp_path, monkeypatch):
    made = Desk(tmp_path, shared_mongo.uri)
    monkeypatch.setattr(cli, "make_engine", lambda settings: made.engine)
    return made


@pytest.fixture
def begun(desk):
    cli.start_campaign(desk.path, "fireworks", Path("run"))
    return desk


def said(capsys) -> str:
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_a_campaign_by_its_commands(desk, capsys):
    begun = desk
    cli.start_campaign(begun.path, "fireworks", Path("run"))
    assert "campaign toy on fake" in said(capsys)
    cli.advance_campaign(begun.path, None)
    assert "1 submitted" in said(capsys)
    begun.engine.work()
    cli.collect_campaign(begun.path)
    assert "1 collected" in said(capsys)
    cli.advance_campaign(begun.path, None)
    out = said(capsys)
    assert "toy/000/prepare is done" in out
    assert "running" in out
    cli.show_campaign(begun.path, as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert (shown["iteration"], shown["stage"], shown["status"]) == (0, "label", "running")
    assert shown["workflows"]["submitted"] == shown["n_workflows"] > 0
    cli.pause_campaign(begun.path)
    cli.advance_campaign(begun.path, None)
    cli.show_campaign(begun.path, as_json=False)
    assert "paused" in said(capsys)
    cli.resume_campaign(begun.path)
    for key in begun.engine.waiting():
        begun.engine.set_state(key, "failed")
    with pytest.raises(RunFailedError, match="workflows of toy/000/label failed"):
        cli.advance_campaign(begun.path, None)
    cli.show_campaign(begun.path, as_json=False)
    assert "failed; see the log of fake" in said(capsys)
    cli.retry_campaign(begun.path, failed_labels=False)
    assert f"{shown['n_workflows']} workflows run again" in said(capsys)
    begun.engine.work()
    cli.advance_campaign(begun.path, None)
    assert "toy/000/label is done" in said(capsys)


def test_results_are_found_by_the_folder(begun, capsys, monkeypatch):
    from atomate2_alpot.cli.show import show_labels

    monkeypatch.setenv("ALPOT_MONGO_URI", begun.uri)
    filters = dict.fromkeys(("elements", "chemsys", "state", "functional"), "")
    said(capsys)
    show_labels(Path("run"), "{}", {**filters, "iteration": None, "max_force": None}, 5, "count")
    assert said(capsys) == "0"
    begun.write(campaign_id="other")
    with pytest.raises(ConfigError, match="run is the folder of another campaign"):
        cli.start_campaign(begun.path, "fireworks", Path("run"))


def test_no_password_is_written(begun):
    cli.advance_campaign(begun.path, None)
    database = begun.client[begun.database]
    for name in database.list_collection_names():
        assert SECRET not in str(list(database[name].find())), name


def test_one_campaign_of_a_name(begun):
    with pytest.raises(CampaignError, match="campaign 'toy' exists in this database"):
        cli.start_campaign(begun.path, "fireworks", Path("run"))


def test_a_store_of_files_is_refused(desk):
    desk.write(store={"kind": "embedded"})
    with pytest.raises(ConfigError, match="store.kind: embedded.*MongoDB.*alpot run"):
        cli.start_campaign(desk.path, "fireworks", Path("run"))
    with pytest.raises(ConfigError, match="store.kind"):
        cli.show_campaign(desk.path, as_json=False)


def test_an_engine_must_be_named(desk):
    with pytest.raises(ConfigError, match="engine.name is not set"):
        cli.start_campaign(desk.path, "", Path("run"))


def test_an_unknown_engine_is_refused(desk, monkeypatch):
    from atomate2_alpot.campaign.engines.registry import make_engine

    monkeypatch.setattr(cli, "make_engine", make_engine)
    with pytest.raises(EngineError, match="'airflow'; choose from"):
        cli.start_campaign(desk.path, "airflow", Path("run"))


def test_a_wrong_name_lists_those_there_are(begun):
    begun.write(campaign_id="tyo")
    with pytest.raises(CampaignError, match=r"no campaign 'tyo'.*\['toy'\]"):
        cli.advance_campaign(begun.path, None)


def test_a_server_that_is_not_there_is_named_without_its_uri(desk):
    dead = {"kind": "mongo", "uri": f"mongodb://me:{SECRET}@127.0.0.1:9/", "database": "gone"}
    desk.write(store=dead)
    with pytest.raises(StoreError, match="MongoDB:gone does not answer") as caught:
        cli.advance_campaign(desk.path, None)
    assert SECRET not in str(caught.value)


def test_another_config_is_refused_key_by_key(begun, capsys):
    begun.write(label={"options": {"seed": 10}, "batch_size": 3}, elements=["Al", "Cu"])
    with pytest.raises(ConfigError) as caught:
        cli.advance_campaign(begun.path, None)
    assert "label.options.seed: 9 → 10: labels of two methods would be mixed" in str(caught.value)
    assert "elements" in str(caught.value)
    assert begun.engine.all_keys() == []


def test_what_may_change_is_told_and_kept(begun, capsys):
    begun.write(campaign={"max_in_flight": 7, "lease": 5})
    cli.advance_campaign(begun.path, None)
    out = said(capsys)
    assert "campaign.max_in_flight: 100 → 7" in out
    kept = begun.client[begun.database].campaigns.find_one()["config"]
    assert kept["campaign"]["max_in_flight"] == 7
    cli.advance_campaign(begun.path, None)
    assert "setting changed" not in said(capsys)


@pytest.mark.parametrize(
    ("stage", "planned", "section", "words"),
    [
        ("screen", True, {"select": {"chunk_size": 7}}, "a selection with it has begun"),
        ("label", False, {"campaign": {"batch_size": 7}}, "wait until it is planned"),
    ],
)
def test_what_a_stage_is_cut_by_changes_between_stages(begun, stage, planned, section, words):
    database = begun.client[begun.database]
    where = {"iteration": 1, "stage": stage, "planned": planned}
    database.campaigns.update_one({}, {"$set": where})
    database.batches.insert_one({"_id": "x", "stage_id": f"toy/001/{stage}", "batch": 0})
    begun.write(**section)
    with pytest.raises(ConfigError, match=words):
        cli.advance_campaign(begun.path, None)


def test_a_campaign_stays_on_its_engine(begun):
    begun.write(engine={"name": "jobflow-remote"})
    with pytest.raises(ConfigError, match="engine.name.*the workflows are on fake"):
        cli.advance_campaign(begun.path, None)


def test_watching_survives_a_server_that_goes_away(begun, monkeypatch, capsys):
    from pymongo.errors import AutoReconnect

    passes = []

    def flaky(campaign, console):
        passes.append(1)
        if len(passes) == 1:
            raise AutoReconnect("gone")
        campaign.state.pause()

    monkeypatch.setattr(cli, "_pass", flaky)
    cli.advance_campaign(begun.path, 0.0)
    assert len(passes) == 2
    assert "the database is away (AutoReconnect); trying again" in said(capsys)
    with pytest.raises(CampaignError, match="is paused, not running"):
        cli.pause_campaign(begun.path)


@pytest.mark.parametrize(
    "section", [{"batch_size": 0}, {"lease": -1}, {"min_finished_fraction": 1.5}, {"patience": 3}]
)
def test_a_policy_that_makes_no_sense_is_refused(desk, section):
    desk.write(campaign=section)
    with pytest.raises(ConfigError, match=f"campaign.{next(iter(section))}"):
        cli.start_campaign(desk.path, "fireworks", Path("run"))


def test_the_page_shows_a_config_and_commands_that_exist():
    from atomate2_alpot.campaign.advance import STAGES
    from atomate2_alpot.cli.campaign import app
    from atomate2_alpot.cli.config import RunConfig

    page = (Path(__file__).parents[2] / "docs" / "campaigns.md").read_text()
    config = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", page, flags=re.S)[0])
    assert RunConfig.model_validate(config).campaign.max_in_flight == 200
    commands = {command.callback.__name__ for command in app.registered_commands}
    shown = set(re.findall(r"alpot campaign (\w+)", page))
    assert {"init", "advance", "status", "pause", "resume", "retry"} <= shown <= commands
    table = page[page.index("## The stages") : page.index("## What may fail")]
    assert [name for name in STAGES if name != "record" and f"`{name}`" not in table] == []
