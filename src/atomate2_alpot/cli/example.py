"""An example config with every default, its unit and meaning, made from the models."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from atomate2_alpot.cli.config import RunConfig
from atomate2_alpot.label.presets import PRESETS
from atomate2_alpot.select import (
    AllPhysical,
    CalibratedQuery,
    ExtrapolationGrade,
    SequentialSampler,
)

REQUIRED: dict[str, Any] = {
    "elements": ["Al", "Ni", "O"],
    "committee": [
        {"backend": "chgnet", "name": "0.3.0"},
        {"backend": "chgnet", "name": "0.2.0"},
    ],
    "label": {"preset": next(iter(PRESETS))},
}
"""Values that have no default."""


def example_config() -> str:
    """Return an annotated YAML config that is valid as it stands."""
    example = RunConfig.model_validate(REQUIRED)
    lines = ["# Config of `alpot run`. Units: eV, Å, eV/Å, eV/Å³ (tension positive)."]
    return "\n".join(lines + _section(example, 0))


def example_selectors() -> str:
    """Return every default of the criteria and samplers that are not those of the example."""
    kinds: list[tuple[str, BaseModel]] = [
        ("criterion", CalibratedQuery()),
        ("criterion", ExtrapolationGrade()),
        ("criterion", AllPhysical()),
        ("sampler", SequentialSampler()),
    ]
    lines = [line for name, kind in kinds for line in (f"{name}:", *_section(kind, 1), "")]
    return "\n".join(lines).rstrip()


def _section(model: BaseModel, depth: int) -> list[str]:
    lines = []
    indent = "  " * depth
    fields = type(model).model_fields
    for name in sorted(fields, key=lambda n: n != "kind"):
        field, value = fields[name], getattr(model, name)
        if field.description:
            lines.append(f"{indent}# {field.description}{_bounds(field)}")
        if isinstance(value, BaseModel):
            lines += [f"{indent}{name}:", *_section(value, depth + 1)]
        else:
            lines.append(f"{indent}{name}: {_inline(value)}")
    return lines


def _bounds(field: FieldInfo) -> str:
    words = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    found = [
        f"{sign} {getattr(m, key)}"
        for m in field.metadata
        for key, sign in words.items()
        if getattr(m, key, None) is not None
    ]
    return f" [{', '.join(found)}]" if found else ""


def _inline(value: Any) -> str:
    if isinstance(value, list):
        value = [
            v.model_dump(mode="json", exclude_defaults=True) if isinstance(v, BaseModel) else v
            for v in value
        ]
    if isinstance(value, tuple):
        value = list(value)
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("...\n").strip()
