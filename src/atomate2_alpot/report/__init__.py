"""Stage 8, show: one self-contained page."""

from __future__ import annotations

from atomate2_alpot.report.gather import ReportData, gather_report_data
from atomate2_alpot.report.page import build_report

__all__ = ["ReportData", "build_report", "gather_report_data"]
