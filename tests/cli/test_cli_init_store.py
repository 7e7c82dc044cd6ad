"""`alpot init-store`."""

from __future__ import annotations

from uuid import uuid4

import yaml
from toy_run import TOY_CONFIG

from atomate2_alpot.cli.init_store import init_store
from atomate2_alpot.dataset import INDEXES


def test_init_store_says_what_it_made(shared_mongo, tmp_path, capsys):
    database = f"db-{uuid4().hex[:12]}"
    path = tmp_path / "c.yaml"
    store = {"kind": "mongo", "uri": shared_mongo.uri, "database": database}
    path.write_text(yaml.safe_dump({**TOY_CONFIG, "store": store}))
    assert init_store(path, tmp_path / "run") == 0
    first = capsys.readouterr().out
    n_indexes = len([i for i in INDEXES if i.collection != "blobs"])  # those are of S3
    assert first.count("made") == n_indexes
    assert init_store(path, tmp_path / "run") == 0
    assert capsys.readouterr().out.count(" there ") >= n_indexes
    with shared_mongo.client() as client:
        names = [i["name"] for i in client[database].labels.list_indexes()]
    assert "frame_id_1_functional_1_campaign_id_1" in names
    assert "127.0.0.1" not in first


def test_init_store_of_files_has_nothing_to_make(tmp_path, capsys):
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(TOY_CONFIG))
    assert init_store(path, tmp_path / "run") == 0
    assert "nothing to index" in capsys.readouterr().out
