"""Changing the config of a run: what is accepted, what is refused and why."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest
import yaml
from jobflow import Flow, job
from toy_run import changed, write

from atomate2_alpot.campaign import Hooks, run_embedded
from atomate2_alpot.cli.build import build_stores
from atomate2_alpot.cli.loading import ConfigError, read_config
from atomate2_alpot.cli.resume import CONFIG_COPY, Resumption, changes_between


@job
def nothing():
    return None


def flow() -> Flow:
    return Flow([nothing()])


@pytest.fixture
def attempt(tmp_path):
    """Make an attempt at a run of one job with a config; return what was noted and the summary."""
    folder = tmp_path / "run"

    def run(config):
        notes: list[str] = []
        read = read_config(write(tmp_path / "c.yaml", config))
        stores = build_stores(read, folder)
        stores.connect()
        resumption = Resumption(read, folder, stores, notes.append)

        def make_flow():
            resumption.begin()
            return flow()

        hooks = Hooks(on_resume=resumption.resume, on_forget=resumption.forget)
        summary = run_embedded(make_flow, folder, stores.jobs, hooks=hooks)
        stores.close()
        return notes, summary

    run.folder = folder
    return run


def pretend_label(folder, state="successful"):
    record = folder / "jobs" / "label-x" / "uuid-000" / "outcome.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"document": {"state": state}}))


def kept(folder):
    return yaml.safe_load((folder / CONFIG_COPY).read_text())


def test_any_config_is_accepted_and_the_run_starts_afresh_until_there_is_a_label(attempt):
    attempt(changed())
    pretend_label(attempt.folder, "failed")
    notes, summary = attempt(changed(elements=["Al", "Cu"], label={"options": {"seed": 3}}))
    assert (summary.n_run, summary.n_reused) == (1, 0)
    assert "starts afresh with elements: ['Al', 'Ni'] → ['Al', 'Cu']" in notes[0]
    assert kept(attempt.folder)["elements"] == ["Al", "Cu"]


def test_settings_no_label_depends_on_may_change(attempt):
    attempt(changed())
    pretend_label(attempt.folder)
    later = changed(
        label={"min_label_fraction": 0.1, "limits": {"max_force": 9.0}},
        loop={"max_iterations": 5, "targets": {"forces_mae": 0.1}},
        select={"sampler": {"kind": "random"}},
        train={"settings": {"lr": 0.5}},
        propose={"candidates_per_iteration": 30},
    )
    notes, summary = attempt(later)
    assert summary.n_run == 0
    assert "loop.max_iterations: 1 → 5" in notes[0]
    assert kept(attempt.folder)["loop"]["max_iterations"] == 5
    assert attempt(later)[0] == []


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"elements": ["Al", "Cu"]}, "elements: .* the candidates and the test set are made of"),
        ({"seed": 4}, "seed: 0 → 4: the candidates and the test set are drawn with it"),
        ({"label": {"options": {"seed": 3}}}, "label.options.seed: 9 → 3: labels of two methods"),
        ({"propose": {"n_test": 7}}, "propose.n_test: 6 → 7: the candidates and the test set"),
        ({"propose": {"candidates_per_iteration": 5}}, "it may grow only"),
        ({"train": {"n_members": 3}}, "each member keeps its own split"),
        ({"loop": {"label_crystals": False}}, "crystals are labelled at the start"),
        ({"campaign_id": "other"}, "the documents in the store carry it"),
    ],
)
def test_settings_that_labels_depend_on_are_refused_with_the_reason(attempt, sections, message):
    attempt(changed())
    pretend_label(attempt.folder)
    before = kept(attempt.folder)
    with pytest.raises(ConfigError, match=message):
        attempt(changed(**{"loop": {"max_iterations": 4}, **sections}))
    assert kept(attempt.folder) == before


def test_changes_are_named_by_dotted_keys():
    old, new = {"a": {"b": 1, "c": None}, "d": [1]}, {"a": {"b": 2, "c": {"e": 1}}, "d": [1]}
    assert [c.key for c in changes_between(old, new)] == ["a.b", "a.c.e"]


@pytest.mark.slow
def test_sigterm_ends_the_command_as_ctrl_c_does(tmp_path):
    config, folder = write(tmp_path / "toy.yaml"), tmp_path / "run"
    command = [sys.executable, "-W", "ignore", "-m", "atomate2_alpot.cli.main", "run", str(config)]
    process = subprocess.Popen(
        [*command, "--run-dir", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    # not earlier: an interrupt while torch is being imported aborts the process in its C++ code
    while not list(folder.glob("journal/start-loop*.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "run the same command again to continue" in errors
