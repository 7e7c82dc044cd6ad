"""How many labels may fail before an iteration stops."""

from __future__ import annotations

from collections.abc import Mapping


class LabelFractionError(RuntimeError):
    """Too few labels succeeded; the survivors are in the store."""


def check_label_fraction(
    n_labelled: int, n_requested: int, minimum: float, failures: Mapping[str, int]
) -> None:
    """Raise if fewer than ``minimum`` of the requested labels succeeded.

    Parameters
    ----------
    n_labelled, n_requested : int
        Labels that succeeded, and labels asked for.
    minimum : float
        ``min_label_fraction`` of the labeller, 0 to 1.
    failures : mapping of str to int
        Failed labels by reason, for the message.

    Raises
    ------
    LabelFractionError
        Naming the fraction, the policy and the reasons.
    """
    if n_requested == 0:
        raise LabelFractionError("no frame was asked for: the selection is empty")
    fraction = n_labelled / n_requested
    if n_labelled and fraction >= minimum:
        return
    reasons = "; ".join(f"{count} × {reason}" for reason, count in sorted(failures.items()))
    raise LabelFractionError(
        f"{n_labelled} of {n_requested} labels succeeded ({fraction:.0%}), the policy asks for "
        f"min_label_fraction={minimum:g}. Failures: {reasons or 'none recorded'}. The labels that "
        "succeeded are kept in the store. Mend the cause and rerun, or lower min_label_fraction"
    )
