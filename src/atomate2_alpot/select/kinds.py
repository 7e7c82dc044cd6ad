"""Sections of a config whose ``kind`` tells their class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any


def by_kind(registry: Mapping[str, type], default: str) -> Callable[[Any], Any]:
    """Return a validator that fills in a section's kind, and names the nearest to a wrong one.

    Parameters
    ----------
    registry : mapping of str to type
        Looked at when a section is validated.
    default : str
        Kind of a section that gives none.
    """

    def check(section: Any) -> Any:
        if not isinstance(section, dict):
            return section
        kind = section.get("kind", default)
        if kind not in registry:
            near = get_close_matches(str(kind), registry, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(f"kind {kind!r}: {hint}choose from {sorted(registry)}")
        return {**section, "kind": kind}

    return check
