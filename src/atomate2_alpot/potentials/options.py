"""Checking a recipe's options against what its backend reads."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from atomate2_alpot.potentials.base import PotentialError
from atomate2_alpot.schemas import PotentialSpec


def check_options(spec: PotentialSpec, known: Iterable[str]) -> None:
    """Raise ``PotentialError`` for an option the backend does not read, naming the nearest."""
    names = sorted(known)
    for key in spec.kwargs:
        if key not in names:
            near = get_close_matches(key, names, n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise PotentialError(
                f"potential {spec.label}: unknown option {key!r}{hint} (options: {names})"
            )


def positive_integer(spec: PotentialSpec, option: str, default: int) -> int:
    """Return an option that counts something; raise ``PotentialError`` if it cannot."""
    value = spec.kwargs.get(option, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise PotentialError(
            f"potential {spec.label}: option {option!r} is {value!r}; give a whole number above 0"
        )
    return value
