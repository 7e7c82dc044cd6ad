"""Numbers that are not a number survive JSON, which has null for them."""

from __future__ import annotations

import math

from atomate2_alpot.schemas import AssessmentDoc, IterationDoc
from atomate2_alpot.schemas.base import Document, Number


def number_fields(kind: type[Document]) -> list[str]:
    """Return the fields that are dictionaries of plain floats."""
    return [n for n, f in kind.model_fields.items() if "dict[str, float]" in str(f.annotation)]


def test_nan_comes_back_from_json():
    class Measured(Document):
        value: dict[str, dict[str, Number]]

    text = Measured(value={"energy": {"max": float("nan"), "min": 1.0}}).model_dump_json()
    assert "null" in text
    values = Measured.model_validate_json(text).value["energy"]
    assert math.isnan(values["max"])
    assert values["min"] == 1.0


def test_metrics_of_too_few_points_come_back():
    for kind in (AssessmentDoc, IterationDoc):
        assert number_fields(kind) == []
