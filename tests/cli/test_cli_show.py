"""Looking at a run: what is printed, refused and written."""

from __future__ import annotations

import pytest
from toy_run import alpot, write

from atomate2_alpot.cli import doctor, show
from atomate2_alpot.cli.config import RunConfig
from atomate2_alpot.cli.loading import ConfigError, read_config
from atomate2_alpot.dataset.outputs import stored_report
from atomate2_alpot.schemas import IterationDoc

BRACKETS = "cannot read [/scratch/x] [bold]"
FILTERS = {
    **dict.fromkeys(("elements", "chemsys", "functional", "state"), ""),
    **dict.fromkeys(("iteration", "max_force")),
}


@pytest.fixture
def run_dir(tmp_path):
    """A folder with a run that has one failed label, and nothing else."""
    folder = tmp_path / "run"
    write(folder / "config.yaml")
    _, stores = show.open_run(folder)
    stores.labels.update(
        [
            {
                "frame_id": "f1",
                "functional": "toy",
                "state": "failed",
                "max_force": 2.0,
                "reason": "walltime",
                "formula_pretty": "[/scratch]",
                "elements": ["Al", "Ni"],
                "campaign_id": "toy",
                "stage": "label",
            }
        ],
        key=["frame_id", "functional"],
    )
    stores.close()
    return folder


def iteration_document(message: str) -> IterationDoc:
    names = ("verdicts", "failures", "thresholds", "metrics", "seeds", "versions", "timings")
    empty = {name: {} for name in (*names, "spread_quantiles", "spread_correlation")}
    return IterationDoc(
        campaign_id="[/x]",
        iteration=1,
        status="running",
        message=message,
        functional="toy",
        elements=[],
        counts=dict.fromkeys(show.table_counts(), 0),
        member_metrics=[],
        committee=[],
        trained=[],
        **empty,
    )


def test_brackets_in_documents_are_printed_as_they_are(run_dir, capsys):
    show.print_iterations(show.make_console(), [iteration_document(BRACKETS)])
    show.show_labels(run_dir, "{}", FILTERS, 20, "table")
    printed = capsys.readouterr().out
    assert BRACKETS in printed
    assert "campaign [/x]" in printed
    assert "[/scratch]" in printed


def test_brackets_in_findings_are_printed_as_they_are(tmp_path, monkeypatch, capsys):
    finding = doctor.Finding("model toy[seed=1]", "fail", BRACKETS)
    monkeypatch.setattr(doctor, "check_machine", lambda _: [finding])
    assert doctor.diagnose(None, tmp_path) == 1
    printed = capsys.readouterr().out
    assert BRACKETS in printed
    assert "model toy[seed=1]" in printed


@pytest.mark.parametrize(
    ("change", "count"),
    [
        ({"elements": "Al, Ni "}, 1),
        ({"elements": "Al,Cu"}, 0),
        ({"chemsys": "Al - Ni"}, 0),
        ({"state": "failed"}, 1),
        ({"functional": "toy", "max_force": 2.0}, 1),
        ({"functional": "PBE"}, 0),
        ({"max_force": 1.9}, 0),
        ({"state": "successful"}, 0),
    ],
)
def test_filters_may_hold_spaces(run_dir, capsys, change, count):
    show.show_labels(run_dir, "{}", FILTERS | change, 20, "count")
    assert capsys.readouterr().out.strip() == str(count)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"elements": "Al,Xx"}, r"--elements: \['Xx'\] are not elements"),
        ({"chemsys": "al-Ni"}, r"--chemsys: \['al'\] are not elements"),
        ({"state": "broken"}, r"--state: 'broken' is no state; choose from .*failed"),
    ],
)
def test_a_filter_that_no_label_can_meet_is_an_error(run_dir, change, message):
    with pytest.raises(ConfigError, match=message):
        show.show_labels(run_dir, "{}", FILTERS | change, 20, "count")


@pytest.mark.parametrize(
    "criteria",
    ['{"state": "failed"}', '{"$or": [{"state": {"$in": ["failed"]}}, {"iteration": 1}]}'],
)
def test_failed_labels_cannot_be_exported_and_the_message_says_where_they_are(run_dir, criteria):
    with pytest.raises(ConfigError, match="alpot query --state failed"):
        show.export_labels(run_dir, run_dir / "x.xyz", None, criteria, with_test=False)


def test_export_of_successful_labels_may_say_so(run_dir):
    with pytest.raises(ValueError, match="no labelled frame matches"):
        show.export_labels(
            run_dir, run_dir / "x.xyz", None, '{"state": "successful"}', with_test=False
        )


def test_report_makes_its_folder_and_gets_the_config(run_dir, tmp_path, monkeypatch):
    given, gather = [], show.gather_report_data

    def remember(jobs, labels, campaign_id, config):
        given.append((campaign_id, config["loop"]["labels_per_iteration"]))
        return gather(jobs, labels, campaign_id, config)

    monkeypatch.setattr(show, "gather_report_data", remember)
    path = show.write_report(run_dir, tmp_path / "new" / "dir" / "x.html")
    assert path.read_text().startswith("<!DOCTYPE html>")
    assert given == [("toy", 8)]


def test_the_report_that_was_made_last_is_in_the_store_once(run_dir, tmp_path):
    _, stores = show.open_run(run_dir)
    show.write_report(run_dir, tmp_path / "first.html")
    n_blobs = stores.jobs.additional_stores["data"].count()
    made = show.write_report(run_dir, tmp_path / "made.html")
    assert stores.jobs.additional_stores["data"].count() == n_blobs
    stored = show.write_report(run_dir, tmp_path / "stored.html", stored=True)
    assert stored.read_bytes() == made.read_bytes()


def test_a_report_that_nobody_made_is_not_there(run_dir):
    _, stores = show.open_run(run_dir)
    with pytest.raises(ValueError, match="no report of campaign 'another' is stored; `alpot rep"):
        stored_report(stores.jobs, "another")


@pytest.mark.slow
def test_debug_works_behind_any_command(tmp_path):
    done = alpot("status", "--run-dir", tmp_path, "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert "holds no run" in done.stderr
    assert "Traceback" not in alpot("status", "--run-dir", tmp_path).stderr


def test_the_packaged_config_is_a_run_config(run_dir):
    assert isinstance(read_config(run_dir / "config.yaml"), RunConfig)
