"""Continuing a run: which settings may change, which may not and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from jobflow import Job

from atomate2_alpot.campaign import History, reopen_loop
from atomate2_alpot.campaign.history import outcome_state
from atomate2_alpot.cli.config import RunConfig
from atomate2_alpot.cli.loading import ConfigError, read_config
from atomate2_alpot.dataset import Stores
from atomate2_alpot.flows import ActiveLearningMaker
from atomate2_alpot.label import LabelMaker
from atomate2_alpot.label.limits import LabelLimits
from atomate2_alpot.schemas.files import write_atomic

CONFIG_COPY = "config.yaml"

CHANGEABLE: tuple[str, ...] = (
    "campaign",
    "engine",
    "label.batch_size",
    "label.gather_size",
    "label.limits",
    "label.min_label_fraction",
    "label.retries",
    "loop.labels_per_iteration",
    "loop.max_iterations",
    "loop.max_labels",
    "loop.targets",
    "routing",
    "select",
    "train.e0s",
    "train.fractions",
    "train.settings",
    "train.start_from",
)
"""Settings that may change once there are labels: no finished work depends on them."""

GROWING = "propose.candidates_per_iteration"
"""May grow only: ranges that were screened would else be screened again."""

FIXED: dict[str, str] = {
    "campaign_id": "the documents in the store carry it",
    "elements": "the candidates and the test set are made of them",
    "seed": "the candidates and the test set are drawn with it",
    "committee": "it chose what has been labelled",
    "propose": "the candidates and the test set are made with it",
    "label": "labels of two methods would be mixed",
    "train.n_members": "each member keeps its own split of the dataset",
    "loop.label_atoms": "isolated atoms are labelled at the start of a campaign only",
    "loop.label_crystals": "crystals are labelled at the start of a campaign only",
    "store": "the labels are there",
}
"""Prefix of a key -> why it cannot change once there are labels."""


@dataclasses.dataclass(frozen=True)
class Change:
    """One key of the config that is not what it was."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {_shown(self.old)} → {_shown(self.new)}"

    @property
    def objection(self) -> str | None:
        """Why it cannot change once there are labels; None if it can."""
        if any(self.key == k or self.key.startswith(f"{k}.") for k in CHANGEABLE):
            return None
        if self.key == GROWING:
            what = "candidates screened before would be screened again; it may grow only"
            return None if self.new > self.old else what
        fits = [why for prefix, why in FIXED.items() if f"{self.key}.".startswith(f"{prefix}.")]
        return fits[0] if fits else "finished work may depend on it"


@dataclasses.dataclass(frozen=True)
class Resumption:
    """What happens under the run's lock before jobs run; `note` is told what is to be known."""

    config: RunConfig
    run_dir: Path
    stores: Stores
    note: Callable[[str], object]

    def begin(self) -> None:
        """Keep the config beside a run that begins."""
        self.run_dir.mkdir(parents=True, exist_ok=True)
        content = yaml.safe_dump(
            self.config.without_secrets(), sort_keys=False, allow_unicode=True
        ).encode()
        write_atomic(self.run_dir / CONFIG_COPY, content)

    def resume(self, history: History) -> None:
        """Accept a changed config, or refuse it; make failed work ready to run again.

        Raises
        ------
        ConfigError
            Naming every key that cannot change, and why.
        """
        path = self.run_dir / CONFIG_COPY
        earlier = read_config(path) if path.exists() else self.config
        changes = changes_between(earlier.without_secrets(), self.config.without_secrets())
        if changes and not self._has_labels(history, earlier.campaign_id):
            self.note(f"no label yet, so the run starts afresh with {_list(changes)}")
            history.restart()
            return
        refused = [f"  {c}: {c.objection}" for c in changes if c.objection]
        if refused:
            raise ConfigError(
                f"{self.run_dir} holds labels made with another config. These keys cannot change "
                "in it:\n" + "\n".join(refused) + "\nGive a new --run-dir, or set them back"
            )
        if changes:
            self.note(f"settings changed, from now on {_list(changes)}")
        reopen_loop(history, [c.key for c in changes])
        if changes:
            self.begin()

    def forget(self, uuids: list[str]) -> None:
        """Remove the label documents of gathers that will run again."""
        gathered = {"gather_uuid": {"$in": uuids}}
        if self.stores.labels.count(gathered):  # montydb cannot delete from an empty collection
            self.stores.labels.remove_docs(gathered)

    def _has_labels(self, history: History, campaign_id: str) -> bool:
        if any(outcome_state(path) == "successful" for path in history.outcomes()):
            return True
        wanted = {"state": "successful", "campaign_id": campaign_id}
        return self.stores.labels.count(wanted) > 0


def changes_between(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Return the keys, dotted, whose values differ."""
    before, after = dict(_flat(old)), dict(_flat(new))
    keys = [*after, *(k for k in before if k not in after)]
    return [Change(k, before.get(k), after.get(k)) for k in keys if before.get(k) != after.get(k)]


def renewer(maker: ActiveLearningMaker) -> Callable[[Job], None]:
    """Return what puts the Makers of today's config into a job that was made earlier."""
    labeller: Any = maker.labeller
    current: dict[type, Any] = {
        ActiveLearningMaker: dataclasses.replace(maker, committee=None),
        LabelMaker: labeller,
        LabelLimits: labeller.limits,
    }

    def today(argument: Any) -> Any:
        if maker.loop.label_atoms and isinstance(argument, LabelMaker):
            from atomate2_alpot.label.isolated import IsolatedAtomMaker, atom_labeller

            if isinstance(argument.maker, IsolatedAtomMaker):
                return atom_labeller(labeller)
        return current.get(type(argument), argument)

    def renew(job: Job) -> None:
        job.function_args = tuple(today(a) for a in job.function_args)

    return renew


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            found += _flat(inner, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", inner))
    return found


def _list(changes: list[Change]) -> str:
    return "; ".join(str(c) for c in changes)


def _shown(value: Any) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
