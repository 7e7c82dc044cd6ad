"""The page: whole, self-contained, and usable before a campaign has ended."""

from __future__ import annotations

import re

import pytest
from fakes_path import small_loop
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from atomate2_alpot.dataset import LabelStore, sync_labels
from atomate2_alpot.report import ReportData, build_report, gather_report_data


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
    assert "no task document" in page


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
