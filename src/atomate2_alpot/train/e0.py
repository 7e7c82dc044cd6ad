"""Atomic energies E0: what a potential's energies are measured from."""

from __future__ import annotations

from atomate2_alpot.potentials.references import references_by_least_squares
from atomate2_alpot.schemas import Frames


def fit_e0s(frames: Frames) -> dict[str, float]:
    """Fit E0s to labelled frames by minimum-norm least squares on energies per atom.

    Parameters
    ----------
    frames : Frames
        Labelled.

    Returns
    -------
    dict of str to float
        eV by symbol.
    """
    return references_by_least_squares(frames, frames.energy)


def resolve_e0s(frames: Frames, given: dict[str, float] | None) -> tuple[dict[str, float], str]:
    """Return the E0s to train with, and where they are from.

    Given values win; else elements that occur as isolated atoms (one non-periodic frame of one
    atom) take its energy; else all are fitted. The three are never mixed: E0s of different
    origin differ by eV.

    Parameters
    ----------
    frames : Frames
        Labelled training frames.
    given : dict or None
        eV by symbol.

    Returns
    -------
    e0s : dict of str to float
    source : str
        "given", "isolated_atoms" or "least_squares".

    Raises
    ------
    ValueError
        If given values lack an element of the frames, naming it.
    """
    if given is not None:
        missing = [e for e in frames.elements if e not in given]
        if missing:
            raise ValueError(f"e0s: no value for {missing}; give one for every element")
        return {e: given[e] for e in frames.elements}, "given"
    lonely = frames.is_isolated_atom.nonzero()[0]
    isolated = {frames[int(s)].elements[0]: float(frames.energy[s]) for s in lonely}
    if isolated and set(isolated) == set(frames.elements):
        return isolated, "isolated_atoms"
    return fit_e0s(frames), "least_squares"
