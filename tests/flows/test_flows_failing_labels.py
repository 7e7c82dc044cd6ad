"""Labels that fail by the dozen, and a process that is killed while it labels."""

from __future__ import annotations

import dataclasses
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from fakes import small_loop
from logged_labels import LOG
from logged_labels import main as run_here

from atomate2_alpot.campaign import run_embedded
from atomate2_alpot.dataset import LabelStore, embedded_stores, sync_labels
from atomate2_alpot.label import presets
from atomate2_alpot.schemas import PotentialSpec
from atomate2_alpot.select import QueryByCommittee
from atomate2_alpot.testing import fault_of, vasp_stand_in

REASONS = {
    "not_converging": "not converged",
    "dies": "no output",
    "truncated": "broken output",
    "wrong_kpoints": "wrong k-points",
    "explodes": "beyond limit max_force",
}


def vasp_loop(run_vasp, n_labels: int):
    """A loop of one iteration whose labels are VASP's, but for VASP."""
    loop = small_loop(labels_per_iteration=n_labels, max_iterations=1)
    labeller = presets.static("PBE", run_vasp=run_vasp, potcar_spec=True)
    labeller.batch_size = 10
    return dataclasses.replace(
        loop,
        proposer=dataclasses.replace(
            loop.proposer,
            elements=["Al", "Ni", "O", "Ti"],
            n_atoms=(2, 6),
            candidates_per_iteration=4 * n_labels,
        ),
        # no forces beyond the filter's limits but those of a fault
        selector=dataclasses.replace(
            loop.selector, criterion=QueryByCommittee(formation_energy=1.0)
        ),
        labeller=labeller,
    )


def run_campaign(tmp_path, n_labels: int, fraction: float):
    """Run a campaign in which this fraction of labels fails, five kinds in equal parts."""
    logging.getLogger("custodian").setLevel(logging.CRITICAL)
    faults = {kind: fraction / len(REASONS) for kind in REASONS}
    (tmp_path / "bin").mkdir()
    stores = embedded_stores(tmp_path / "run")
    # far below zero: custodian takes a positive energy for an error
    model = PotentialSpec(backend="toy", kwargs={"seed": 1, "atom_energy": -10.0})
    with vasp_stand_in(tmp_path / "bin", faults=faults, models={"PBE": model}) as run_vasp:
        maker = vasp_loop(run_vasp, n_labels)
        summary = run_embedded(maker.make, tmp_path / "run", stores.jobs)
    stores.connect()
    sync_labels(stores.jobs, stores.labels)
    return faults, summary, stores, LabelStore(stores.labels)


def check_labels(stores, labels: LabelStore, faults, n_labels: int) -> None:
    """Each frame that was selected is there once: labelled, or failed with its own reason."""
    found = list(labels.documents({"stage": "label"}))
    assert len(found) == n_labels == len({d["frame_id"] for d in found})
    (row,) = stores.jobs.query({"name": "select"}, load=True)
    from monty.json import MontyDecoder

    selected = MontyDecoder().process_decoded(row["output"]).frames
    assert {d["frame_id"] for d in found} == set(selected.frame_id)
    structures = dict(zip(selected.frame_id, selected.to_structures(), strict=True))
    for document in found:
        cell = structures[document["frame_id"]]
        species = [site.specie.symbol for site in cell]
        fault = fault_of(species, cell.lattice.matrix, faults)
        assert document["state"] == ("failed" if fault else "successful")
        if fault:
            assert document["reason"] == REASONS[fault]
            assert document["detail"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_hundred_labels_of_which_eighteen_per_cent_fail_in_five_ways(tmp_path):
    faults, summary, stores, labels = run_campaign(tmp_path, 200, 0.18)
    assert summary.completed, summary.failed
    check_labels(stores, labels, faults, 200)
    (record,) = stores.jobs.query({"name": "record iteration"})
    counts, failures = record["output"]["counts"], record["output"]["failures"]
    assert counts["labelled"] + counts["failed"] == 200
    assert sum(failures.values()) == counts["failed"]
    assert set(failures) == set(REASONS.values())
    successful = list(labels.documents({"stage": "label", "state": "successful"}))
    assert len(successful) == counts["labelled"]


@pytest.mark.slow
def test_at_sixty_per_cent_the_policy_stops_the_campaign_which_keeps_what_it_has(tmp_path):
    _, summary, stores, labels = run_campaign(tmp_path, 20, 0.6)
    assert not summary.completed
    (error,) = set(summary.errors.values())
    assert "min_label_fraction=0.5" in error
    successful = list(labels.documents({"state": "successful"}))
    failed = list(labels.documents({"state": "failed"}))
    assert successful
    assert failed
    assert len(successful) < len(failed)
    assert stores.jobs.query_one({"name": "record iteration"}) is None


@pytest.mark.slow
def test_killed_five_times_while_labelling_no_frame_is_lost_or_labelled_twice(tmp_path):
    random.seed(7)
    log = tmp_path / LOG
    command = "import sys, logged_labels; logged_labels.main(sys.argv[1])"
    for kill in range(5):
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", command, str(tmp_path)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
            stderr=subprocess.DEVNULL,
        )
        # the test set of 8 comes first; then some more labels, and some time into the next
        enough = 10 + 9 * kill + random.randrange(4)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if log.exists() and len(log.read_text().split()) >= enough:
                break
            time.sleep(0.01)
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(random.random() * 0.1)
        process.send_signal(signal.SIGKILL)
        process.wait()
    run_here(str(tmp_path))
    stores = embedded_stores(tmp_path)
    stores.connect()
    sync_labels(stores.jobs, stores.labels)
    found = list(LabelStore(stores.labels).documents({"stage": "label"}))
    assert len(found) == 60 == len({d["frame_id"] for d in found})
    assert {d["reason"] for d in found} == {None}
    counts = Counter(log.read_text().split())
    # a kill may fall between the end of a calculation and its record, once each
    assert sum(counts.values()) - len(counts) <= 5
