"""No password and no URI in anything that a run writes, says or stores."""

from __future__ import annotations

import logging
import os
import traceback
from uuid import uuid4

import bson
import pytest
from toy_run import alpot, changed, write

from atomate2_alpot.campaign.journal import Entry
from atomate2_alpot.cli.errors import explain
from atomate2_alpot.dataset import StoreError, mongo_stores
from atomate2_alpot.redact import RedactingFormatter, keep_secret, redact

pytestmark = pytest.mark.slow

PASSWORD = "hunter2:and-more"
QUOTED = "hunter2%3Aand-more"


class LeakError(RuntimeError):
    """An error of somebody who shows all he has."""


@pytest.mark.parametrize(
    "text",
    [
        f"cannot reach mongodb://me:{QUOTED}@host:27017/?x=1",
        f"cannot reach mongodb+srv://me:{QUOTED}@host",
        f"Authentication failed for {PASSWORD}",
        f"invalid literal: '{QUOTED}'",
        f"https://me:{PASSWORD}@proxy.example",
    ],
)
def test_secrets_are_hidden_wherever_they_stand(text):
    keep_secret(f"mongodb://me:{QUOTED}@host:27017/?x=1")
    assert "hunter2" not in redact(text)
    assert "***" in redact(text)
    assert "hunter2" not in explain(LeakError(text))[0]
    try:
        raise LeakError(text)
    except LeakError as error:
        entry = Entry.of_error(type("Job", (), {"name": "x"}), error, 0.0)
        record = logging.LogRecord("x", 40, "p", 1, "said %s", (text,), (LeakError, error, None))
    assert "hunter2" not in entry.error + entry.reason
    assert "LeakError" in entry.error
    assert "hunter2" not in RedactingFormatter("%(message)s").format(record)


@pytest.mark.parametrize(
    "text", ["nothing to hide", "https://host/path?mail=a@b", "mongodb://host:27017/db"]
)
def test_what_is_no_secret_is_left_as_it_is(text):
    keep_secret("mongodb://host:27017/db")
    assert redact(text) == text


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://me:hunter2@127.0.0.1:1/",
        "mongodb://me:hunter2@127.0.0.1:notaport/",
        "mongodb://me:hunter2/more@127.0.0.1/",
        "mongodb://me:hunter2@more@127.0.0.1/",
        "mongodb+srv://me:hunter2@127.0.0.1/",
        "mongodb://me:hunter2@127.0.0.1/?authMechanism=hunter2",
        "nonsense://me:hunter2@127.0.0.1/",
    ],
)
def test_a_uri_that_does_not_work_is_not_in_the_error(uri, monkeypatch):
    monkeypatch.setattr("atomate2_alpot.dataset.stores.TIMEOUT_MS", 300)
    with pytest.raises(StoreError, match="MongoDB:db does not answer") as caught:
        mongo_stores(uri, "db").connect()
    shown = "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in shown
    assert "127.0.0.1" not in str(caught.value)


@pytest.mark.parametrize("command", ["run", "init-store", "doctor"])
def test_commands_without_their_store_do_not_show_its_uri(command, tmp_path):
    store = {"kind": "mongo", "uri": f"mongodb://me:{QUOTED}@127.0.0.1:1"}
    path = write(tmp_path / "c.yaml", changed(store=store))
    path.chmod(0o644)
    done = alpot(command, path, "--run-dir", tmp_path / "run", "--debug")
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0
    assert "does not answer" in said
    assert "chmod 600" in said
    assert "hunter2" not in said
    assert "127.0.0.1" not in said
    left = [p for p in (tmp_path / "run").rglob("*") if p.is_file()]
    assert not any("hunter2" in p.read_text(errors="replace") for p in left)


def test_a_run_leaves_no_secret_in_files_output_or_database(shared_mongo, tmp_path, monkeypatch):
    database = f"db-{uuid4().hex[:12]}"
    with shared_mongo.client() as client:
        client.admin.command("createUser", "me", pwd=PASSWORD, roles=["root"])
    uri = f"mongodb://me:{QUOTED}@127.0.0.1:{shared_mongo.port}/?authSource=admin"
    config = changed(store={"kind": "mongo", "database": database})
    path = write(tmp_path / "c.yaml", config)
    monkeypatch.setitem(os.environ, "ALPOT_MONGO_URI", uri)
    done = alpot("run", path, "--run-dir", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    said = [done.stdout, done.stderr]
    for command in ("status", "query", "report"):
        done = alpot(command, "--run-dir", tmp_path / "run")
        assert done.returncode == 0, done.stderr
        said += [done.stdout, done.stderr]
    files = [p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()]
    names = {p.name for p in (tmp_path / "run").rglob("*")}
    assert {"config.yaml", "journal", "run.log", "report.html"} <= names
    with shared_mongo.client() as client:
        stored = [
            bson.encode(document)
            for name in client[database].list_collection_names()
            for document in client[database][name].find()
        ]
    assert len(stored) > 10
    everything = [*files, *stored, *(s.encode() for s in said)]
    for secret in (PASSWORD, QUOTED, f"127.0.0.1:{shared_mongo.port}"):
        assert not [e for e in everything if secret.encode() in e]
