"""The page: whole, self-contained, and usable before a campaign has ended."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from fakes_path import small_loop
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from synthetic import METRICS, assessment, campaign, iteration, selection, training

from atomate2_alpot.dataset import LabelStore, sync_labels
from atomate2_alpot.label.reasons import REASONS
from atomate2_alpot.report import ReportData, build_report, gather_report_data
from atomate2_alpot.report.baselines import trivial_errors

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data() -> ReportData:
    jobs = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    labels = MemoryStore(key="frame_id")
    labels.connect()
    run_locally(small_loop(fraction_failing=0.25).make(), store=jobs, log=False)
    sync_labels(jobs, labels, {})
    return gather_report_data(jobs, LabelStore(labels))


def test_page_holds_every_section_and_number(data):
    page = build_report(data)
    for title in (
        "Learning curve",
        "Parity",
        "Disagreement",
        "What was chosen",
        "Elements",
        "Failures",
    ):
        assert title in page
    assert page.count("<svg") >= 5
    for doc in data.iterations:
        assert f"{doc.metrics['energy_mae'] * 1000:.1f}" in page
    assert data.failures
    assert "not converged" in page


def test_surrogate_is_called_one(data):
    page = build_report(data)
    assert "Surrogate labels." in page
    assert data.iterations[0].surrogate in page


def test_page_needs_nothing_but_itself(data):
    page = build_report(data)
    assert "<script" not in page
    links = re.findall(r'(?:src|href)="([^"#]+)"', page)
    assert [link for link in links if link.startswith("http")] == []


def test_page_of_a_campaign_that_has_just_begun_says_so():
    page = build_report(ReportData())
    assert "No iteration has finished yet" in page
    assert "Not available yet" in page


def test_text_from_outside_is_escaped(data):
    evil = {
        "frame_id": "x",
        "reason": "<script>alert(1)</script>",
        "detail": "",
        "formula_pretty": "Al",
    }
    page = build_report(ReportData(iterations=data.iterations, failures=[evil]))
    assert "<script>" not in page


def test_banner_stays_when_the_last_iteration_selected_nothing():
    """Its document has no labels, hence no surrogate of its own; the page still shows one's."""
    nothing = {"labelled": 0, "failed": 0, "selected": 0, "dataset": 0}
    last = iteration(
        3,
        status="nothing_selected",
        functional="none",
        surrogate=None,
        metrics={},
        member_metrics=[],
        spread_correlation={},
        counts={**iteration(2).counts, **nothing},
    )
    page = build_report(campaign(iterations=[iteration(1), iteration(2), last]))
    assert "Surrogate labels." in page
    assert "r2SCAN labels of a surrogate" in page
    assert "none labels" not in page
    assert "energy –, forces 0.50, stress 0.70" in page
    assert "forces 1.04 (3.21)" in page  # std of error / σ, and before calibration


def test_banner_is_there_before_the_first_iteration_has_ended():
    page = build_report(ReportData(surrogate="toy:stand-in", n_labels={"test successful": 4}))
    assert "Surrogate labels." in page
    assert "toy:stand-in" in page
    assert "Surrogate labels." not in build_report(ReportData())


@pytest.mark.parametrize("loop", [{"agree": True}, {"thresholds": 1e6}], ids=str)
def test_a_campaign_that_ends_with_nothing_selected_says_what_its_labels_are(loop):
    """In iteration 2, for the trained members agree; in iteration 1, when only the test set and
    the crystals have labels."""
    thresholds = loop.pop("thresholds", None)
    maker = small_loop(**loop)
    if thresholds:
        criterion = maker.selector.criterion
        update = dict.fromkeys(criterion.thresholds, thresholds)
        maker.selector.criterion = criterion.model_copy(update=update)
    jobs, labels = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()}), MemoryStore()
    labels.connect()
    run_locally(maker.make(), store=jobs, log=False)
    sync_labels(jobs, labels, {})
    found = gather_report_data(jobs, LabelStore(labels))
    assert found.iterations[-1].status == "nothing_selected"
    page = re.sub(r"\s+", " ", build_report(found))
    assert "toy labels of a surrogate," in page
    assert f"come from {maker.labeller.surrogate}, a machine-learned potential" in page
    assert "<strong>Nothing selected.</strong> none of 40 candidates was selected" in page


def test_labels_without_stress_leave_its_panels_empty():
    metrics = {k: v for k, v in METRICS.items() if not k.startswith("stress")}
    data = campaign(
        iterations=[iteration(1, metrics=metrics, member_metrics=[metrics] * 3)],
        assessments=[assessment(1, ("energy", "forces"))],
        trainings=[training(1, with_stress=False)],
    )
    page = build_report(data)
    assert "no labels" in page
    assert "not recorded" in page


@pytest.mark.parametrize(
    "update",
    [
        {"iterations": []},
        {"assessments": [], "baselines": {}},
        {"trainings": []},
        {"selections": [selection(1, n=3000, n_chosen=0)]},
        {"selections": [selection(1, n=0, n_chosen=0)]},
        {"selections": [selection(1, n=1, n_chosen=1)]},
        {"element_counts": {}, "failures": [], "n_labels": {}},
    ],
    ids=str,
)
def test_page_stands_whatever_is_missing(update):
    page = build_report(campaign(**update))
    assert page.rstrip().endswith("</html>")
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.S)


def test_ids_of_the_page_are_its_own():
    """Clip paths and markers of two figures must not answer to one id."""
    page = build_report(campaign())
    repeated = [i for i, n in Counter(re.findall(r'\bid="([^"]+)"', page)).items() if n > 1]
    assert repeated == []
    used = re.findall(r'(?:url\(#|href="#)([^")]+)', page)
    assert set(used) <= set(re.findall(r'\bid="([^"]+)"', page))


def test_page_is_the_same_each_time_and_leaves_the_style_of_plots_alone():
    from matplotlib import rcParams

    before, documents = dict(rcParams), campaign()
    assert build_report(documents) == build_report(documents)
    assert dict(rcParams) == before


def test_size_of_the_page_does_not_grow_with_the_candidates():
    """A hundred times the candidates; a histogram has the same bins, a scatter a cap on points."""
    few, many = (build_report(campaign(selections=[selection(1, n=n)])) for n in (3000, 300_000))
    assert len(many) < 1.2 * len(few)


def test_every_iteration_has_its_parity_and_its_time():
    page = build_report(campaign(3))
    assert page.count("<summary>iteration ") == 2
    assert page.count("<td>120</td>") == 3


def test_config_is_shown_as_it_is_spelt():
    page = build_report(campaign())
    assert "campaign_id: synthetic" in page
    assert "config of the run" not in build_report(campaign(config={}))


def test_map_tells_labelled_from_failed_and_from_waiting():
    waiting = campaign(labelled=set(), failures=[])
    assert "chosen, no label yet (100)" in build_report(waiting)
    done = build_report(campaign(selections=[selection(1)]))
    assert "chosen and labelled (99)" in done
    assert "chosen, label failed (1)" in done


# --- failures ----------------------------------------------------------------------------


def failure(reason: str, detail: str = "", **update) -> dict:
    document = {"frame_id": f"{reason}-{detail}", "reason": reason, "detail": detail}
    return {**document, "formula_pretty": "AlNi", **update}


def failures_table(page: str) -> list[list[str]]:
    """Return the cells of the table, without markup."""
    table = page[page.index('id="failures"') : page.index('id="run"')]
    rows = re.findall(r"<tr>(.*?)</tr>", table, flags=re.S)[1:]
    return [
        [re.sub(r"<.*?>", "", cell).strip() for cell in re.findall(r"<td.*?</td>", row, re.S)]
        for row in rows
    ]


def test_every_reason_is_counted_and_has_an_example():
    reasons = dict.fromkeys([reason for _, reason in REASONS])
    reasons |= dict.fromkeys(["wrong k-points", "beyond limit max_force", "no task document"])
    failures = [failure(r, f"words of {r}") for r in reasons]
    failures += [failure("walltime", "second"), failure("disk full"), failure("disk full", "third")]
    rows = failures_table(build_report(campaign(failures=failures, n_asked=100)))
    assert [row[:2] for row in rows[:2]] == [["disk full", "3"], ["walltime", "2"]]
    assert sorted(r for r, *_ in rows) == sorted(reasons)
    assert {row[3] for row in rows} == {f"words of {r}" for r in reasons}


def test_an_example_has_words_if_any_of_its_reason_has():
    details = ["", "ZHEGV failed", "EDDDAV"]
    rows = failures_table(build_report(campaign(failures=[failure("other", d) for d in details])))
    assert rows == [["other", "3", "AlNi", "ZHEGV failed"]]
    without = [failure("other", formula_pretty=None)]
    assert failures_table(build_report(campaign(failures=without))) == [
        ["other", "1", "other-", "–"]
    ]


def test_the_folder_of_an_example_is_told_and_its_words_kept_short():
    calculation = {"folder": "node7:/scratch/label-12", "engine": "VASP"}
    page = build_report(campaign(failures=[failure("other", "x" * 5000, calculation=calculation)]))
    assert "node7:/scratch/label-12" in page
    assert f"{'x' * 400}…" in page
    assert "x" * 401 not in page


def test_frames_are_counted_and_not_the_steps_that_became_labels(data):
    """Of 30 frames and more, a quarter fails: the share is of what was asked for."""
    n_labels = sum(n for state, n in data.n_labels.items() if "successful" in state)
    assert data.n_asked == n_labels + len(data.failures)
    share = f"{100 * len(data.failures) / data.n_asked:.1f} %"
    assert f"No label for {len(data.failures)} of {data.n_asked} frames ({share})" in build_report(
        data
    )
    record = {"frame_id": "asked", "seconds": 7.0}
    steps = [{"frame_id": str(i), "calculation": record, "iteration": 2} for i in range(3)]
    shared = {"state": "successful", "formula_pretty": "Al", "energy_per_atom": 0, "elements": []}
    found = gather_report_data(EMPTY, Documents([{**s, **shared} for s in steps]))
    assert found.n_asked == 1
    assert found.label_seconds == {2: 7.0}


def test_seconds_of_labels_stand_among_those_of_the_stages():
    page = build_report(campaign(2, label_seconds={0: 44.0, 1: 1234.0}))
    table = page[page.index("Seconds by stage") : page.index("<h3>Settings")]
    assert re.findall(r"<td>(.*?)</td>", table) == ["1", "90", "1234", "120", "2", "90", "–", "120"]
    assert "(before the loop 44)" in table


def test_the_program_that_computed_the_labels_is_named():
    shared = {"state": "successful", "formula_pretty": "Al", "energy_per_atom": 0, "elements": []}
    ways = [("VASP", "6.4.3", "first"), ("VASP", "6.4.3", "first"), ("VASP", "6.4.3", "damped")]
    keys = ("engine", "version", "attempt")
    documents = [
        {**shared, "frame_id": str(i), "calculation": dict(zip(keys, way, strict=True))}
        for i, way in enumerate(ways)
    ]
    documents.append({**shared, "frame_id": "old", "calculation": None})
    found = gather_report_data(EMPTY, Documents(documents))
    assert found.engines == {"VASP 6.4.3": 2, "VASP 6.4.3, retry 'damped'": 1}
    page = build_report(campaign(engines=found.engines))
    assert "VASP 6.4.3 (2), VASP 6.4.3, retry &#39;damped&#39; (1)" in page


class Documents(list):
    """A label source that has these."""

    def documents(self, criteria=None, limit=0):
        return self


EMPTY = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
EMPTY.connect()


# --- what needs no model -----------------------------------------------------------------


def test_baselines_are_those_of_a_direct_calculation():
    """Ideal mixtures of Al at -3 and Ni at -5 eV are fitted exactly; what differs is the error."""
    train = [
        ("Al", -3.0, False),
        ("Ni", -5.0, False),
        ("AlNi", -4.0, False),
        ("Al3Ni", -3.5, False),
    ]
    test = [("AlNi3", -4.5 + 0.2, True), ("Al2Ni2", -4.0 - 0.4, True)]
    table = assessment(1).parity
    errors = trivial_errors(train + test, table)
    assert errors["energy_mae"] == pytest.approx(0.3)
    stress = table.column("reference")[table.column("quantity") == "stress"]
    assert errors["stress_mae"] == pytest.approx(np.abs(stress).mean())
    assert set(errors) == {"energy_mae", "forces_mae", "stress_mae"}


@pytest.mark.parametrize(
    "energies",
    [
        [],
        [("Al", -3.0, False)],
        [("Al", -3.0, False), ("Ni", -5.0, True)],  # an element no training label holds
        [("AlNi", -4.0, False), ("AlNi", -4.1, False), ("Al", -3.0, True)],  # one composition only
    ],
)
def test_no_baseline_is_made_up(energies):
    assert trivial_errors(energies, None) == {}


def test_isolated_atoms_are_no_baseline():
    """E0s near zero among energies of solids: one energy per element is fitted to the solids."""
    shared = {"state": "successful", "elements": ["Al"], "formula_pretty": "Al"}
    lattice = {"matrix": (np.eye(3) * 4).tolist(), "pbc": [True] * 3}
    solid = {**shared, "nsites": 1, "energy_per_atom": -3.0, "structure": {"lattice": lattice}}
    box = {"lattice": {**lattice, "pbc": [False] * 3}}
    documents = [
        {**solid, "frame_id": "a", "stage": "label"},
        {**solid, "frame_id": "b", "stage": "test", "energy_per_atom": -3.1},
        {**solid, "frame_id": "c", "stage": "prepare", "energy_per_atom": -0.2, "structure": box},
    ]
    found = gather_report_data(EMPTY, Documents(documents))
    assert found.baselines == pytest.approx({"energy_mae": 0.1})
    assert found.n_labels == {"label successful": 1, "test successful": 1, "prepare successful": 1}


def test_baseline_and_metric_are_means_over_the_same_components(data):
    """Zero prediction against the committee's own table: both over Voigt's six, not nine."""
    table = data.assessments[-1].parity
    for name in ("forces", "stress"):
        rows = table.column("quantity") == name
        error = table.column("predicted")[rows] - table.column("reference")[rows]
        metric = data.assessments[-1].metrics[f"{name}_mae"]
        assert metric == pytest.approx(np.abs(error).mean(), rel=1e-4)
        expected = np.abs(table.column("reference")[rows]).mean()
        assert data.baselines[f"{name}_mae"] == pytest.approx(expected)


def test_campaigns_that_share_a_database_are_kept_apart():
    jobs = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    labels = MemoryStore(key="frame_id")
    labels.connect()
    for name in ("one", "two"):
        maker = small_loop(max_iterations=1)
        maker.campaign_id = name
        run_locally(maker.make(), store=jobs, log=False)
    sync_labels(jobs, labels, {})
    one, two = (gather_report_data(jobs, LabelStore(labels), name) for name in ("one", "two"))
    assert [d.campaign_id for d in one.iterations + two.iterations] == ["one", "two"]
    assert len(one.selections) == len(one.assessments) == len(one.trainings) == 1
    # the same frames were labelled in both, and each campaign keeps its own documents of them
    assert one.n_labels == two.n_labels
    assert one.labelled == two.labelled
    assert one.n_labels["label successful"] > 0
    both = gather_report_data(jobs, LabelStore(labels))
    assert both.n_labels == {state: 2 * n for state, n in one.n_labels.items()}
    assert len(both.iterations) == 2
