"""`alpot run` looks into the store for isolated atoms before it computes any."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
from toy_run import changed, write

from atomate2_alpot.cli import run as cli_run
from atomate2_alpot.cli.run import run_campaign
from atomate2_alpot.dataset import embedded_stores
from atomate2_alpot.label.isolated import isolated_atoms

sys.path.insert(0, str(Path(__file__).parents[1] / "flows"))

from fakes import FakeTrainer

pytestmark = pytest.mark.slow

ATOMS = {"prototype": "isolated atom", "state": "successful"}


@pytest.fixture
def run_in_one_store(tmp_path, monkeypatch):
    """Return a function that runs a campaign of the command in a store they share."""
    build_maker = cli_run.build_maker
    monkeypatch.setattr(
        cli_run,
        "build_maker",
        lambda config: dataclasses.replace(build_maker(config), trainer=FakeTrainer()),
    )
    monkeypatch.setattr(cli_run, "build_stores", lambda *_: embedded_stores(tmp_path / "shared"))

    def run(campaign_id: str, **sections):
        config = changed(campaign_id=campaign_id, loop={"label_atoms": True}, **sections)
        run_campaign(write(tmp_path / f"{campaign_id}.yaml", config), tmp_path / campaign_id)
        stores = embedded_stores(tmp_path / "shared")
        stores.connect()
        return stores

    return run


def label_jobs(stores, campaign_id: str) -> int:
    """Jobs of a campaign that computed an isolated atom."""
    ids = set(isolated_atoms(["Al", "Ni", "Cu"]).frame_id)
    found = stores.jobs.query({"metadata.campaign_id": campaign_id}, ["metadata"])
    return sum(bool(ids & set(d["metadata"].get("frame_ids", []))) for d in found)


def test_the_second_campaign_of_a_store_computes_no_atom(run_in_one_store):
    stores = run_in_one_store("first")
    assert label_jobs(stores, "first") == 2
    stores = run_in_one_store("second", seed=1)
    assert label_jobs(stores, "second") == 0
    for campaign in ("first", "second"):
        assert stores.labels.count({**ATOMS, "campaign_id": campaign}) == 2
    stores = run_in_one_store("third", elements=["Al", "Cu"])
    assert label_jobs(stores, "third") == 1
    assert stores.labels.count({**ATOMS, "campaign_id": "third"}) == 2


def test_another_functional_has_atoms_of_its_own(run_in_one_store):
    run_in_one_store("first")
    other = {"preset": "toy-surrogate", "options": {"seed": 8}}  # another model, another scale
    stores = run_in_one_store("second", label=other)
    assert label_jobs(stores, "second") == 2
