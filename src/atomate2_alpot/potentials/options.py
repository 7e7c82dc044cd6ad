"""Checking a recipe's options against what its backend reads."""

from __future__ import annotations

from difflib import get_close_matches

from atomate2_alpot.potentials.base import PotentialError
from atomate2_alpot.schemas import PotentialSpec


def check_options(spec: PotentialSpec, known: set[str]) -> None:
    """Raise ``PotentialError`` for an option the backend does not read, naming the nearest."""
    for key in spec.kwargs:
        if key not in known:
            near = get_close_matches(key, known, n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise PotentialError(
                f"potential {spec.label}: unknown option {key!r}{hint} (options: {sorted(known)})"
            )
