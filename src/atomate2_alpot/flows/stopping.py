"""When the loop stops, as one pure function."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, field_validator

from atomate2_alpot.schemas import Settings
from atomate2_alpot.units import METRICS

RUNNING = "running"


class LoopSettings(Settings):
    """How long the loop runs and how much it labels."""

    labels_per_iteration: int = Field(100, gt=0, description="Most labels an iteration asks for.")
    max_iterations: int = Field(3, gt=0, description="Iterations to run at most.")
    max_labels: int | None = Field(
        None, gt=0, description="Most labels over all iterations (test set not counted)."
    )
    targets: dict[str, float] = Field(
        default_factory=dict,
        description="Stop when every metric on the fixed test set is at or below its value, for "
        "example {forces_mae: 0.1}; names and units as in units.METRICS.",
    )
    label_crystals: bool = Field(
        True,
        description="Label the ground-state crystal of each element before the loop: they anchor "
        "formation energies and join the training set.",
    )
    label_atoms: bool = Field(
        False,
        description="Label an isolated atom of each element before the loop: their energies are "
        "the E0s that training takes.",
    )

    @field_validator("targets")
    @classmethod
    def _known_metrics(cls, targets: dict[str, float]) -> dict[str, float]:
        for key, value in targets.items():
            if key not in METRICS:
                raise ValueError(f"targets: unknown metric {key!r}; choose from {sorted(METRICS)}")
            if value <= 0:
                raise ValueError(f"targets: {key}={value} must be positive ({METRICS[key].unit})")
        return targets

    def budget(self, n_labels: int) -> int:
        """Return how many labels the next iteration may ask for, 0 when none are left."""
        if self.max_labels is None:
            return self.labels_per_iteration
        return max(0, min(self.labels_per_iteration, self.max_labels - n_labels))


def decide_status(
    settings: LoopSettings, iteration: int, n_labels: int, metrics: Mapping[str, float]
) -> tuple[str, str]:
    """Decide whether a campaign goes on after an iteration.

    Parameters
    ----------
    settings : LoopSettings
    iteration : int
        The iteration that has just ended, from 1.
    n_labels : int
        Labels asked for so far.
    metrics : mapping
        Errors of the committee mean on the fixed test set (units.METRICS).

    Returns
    -------
    status : str
        "running", "target_reached", "label_budget" or "max_iterations".
    message : str
        The reason in words.
    """
    targets = settings.targets
    missing = sorted(set(targets) - set(metrics))
    if targets and not missing and all(metrics[k] <= v for k, v in targets.items()):
        reached = ", ".join(
            f"{k}={metrics[k]:.4g} ≤ {v:g} {METRICS[k].unit}" for k, v in targets.items()
        )
        return "target_reached", reached
    if settings.budget(n_labels) == 0:
        return "label_budget", f"{n_labels} of max_labels={settings.max_labels} labels used"
    if iteration >= settings.max_iterations:
        return "max_iterations", f"max_iterations={settings.max_iterations} reached"
    return RUNNING, f"targets not measured: {missing}" if missing else ""
