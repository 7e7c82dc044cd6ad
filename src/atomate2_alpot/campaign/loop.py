"""Which finished steps of an active-learning loop changed settings make void."""

from __future__ import annotations

from collections.abc import Iterable

from atomate2_alpot.campaign.history import History, Node, retry_failed

START, SELECTED, LABELLED, DECIDE = "start loop", "check selection", "check labels", "decide"
"""Names of the jobs that extend the loop (`flows.loop`): each makes the next stage."""

RECORD, COLLECT = "record iteration", "collect committee"

SELECTING: tuple[str, ...] = (
    "select.",
    "propose.candidates_per_iteration",
    "loop.labels_per_iteration",
    "loop.max_labels",
)
"""Settings that the selection of an iteration is made with."""


def reopen_loop(history: History, changed: Iterable[str]) -> None:
    """Forget what must be done again so that changed settings take effect; never a label.

    A stage whose settings changed while it was running is made anew: a selection that has not
    reached its labels, a training whose committee is not complete. A campaign that has ended is
    taken up again when what ended it changed. All else takes effect in the next stage: the jobs
    that extend the loop run with the settings of the day.

    Parameters
    ----------
    history : History
    changed : iterable of str
        Keys of the config, dotted.
    """
    keys = tuple(changed)
    void = _void(history.nodes(), keys)
    if void:
        history.forget(void)
    label = {k for k in keys if k.startswith("label.")}
    # a lower bar is tried on the labels there are, before any that failed is computed again
    if label != {"label.min_label_fraction"}:
        retry_failed(history, regather=any(k.startswith("label.limits") for k in label))


def _void(nodes: list[Node], changed: tuple[str, ...]) -> list[Node]:
    """Return the jobs to run again, besides those that failed."""
    done = [n for n in nodes if n.job.name in (START, SELECTED, LABELLED, DECIDE) and n.done]
    if not done:
        return []
    last = done[-1]
    selecting = any(k.startswith(SELECTING) for k in changed)
    if last.job.name in (START, DECIDE) and last.entry is not None and last.entry.new_flows:
        return [last] if selecting else []
    if last.job.name == DECIDE and last.made_by is not None:  # the campaign has ended
        if last.made_by.job.name == SELECTED:  # for nothing was selected
            return [n for n in (last.made_by.made_by,) if n is not None and selecting]
        last = last.made_by
    if last.job.name != LABELLED:
        return []
    stage = [n for n in nodes if n.made_by is last and n.done]
    trained = any(n.job.name == COLLECT for n in stage)
    if not trained and any(k.startswith("train.") for k in changed):
        return [last]
    judged = [n for n in stage if n.job.name == RECORD]
    return judged if any(k.startswith("loop.") for k in changed) else []
