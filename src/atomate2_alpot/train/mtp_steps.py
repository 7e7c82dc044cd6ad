"""Levenberg-Marquardt for moment tensor potentials, in steps that a kill cannot undo.

The energy is linear in the moment coefficients and mildly non-linear in the radial ones; motep's
own optimizer, BFGS, takes several times as many evaluations to the same loss.
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atomate2_alpot.train.errors import TrainingError
from atomate2_alpot.train.mtp_loss import NormalEquations

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]
EASE, RAISE, MOST_DAMPING = 0.2, 4.0, 1e8


@dataclass
class Progress:
    """Where a training run is.

    Parameters
    ----------
    theta : array
        Free parameters.
    damping : float
        Marquardt's λ.
    phase, step : int
        Part of the schedule, and steps done in it.
    small : int
        Steps in a row that lowered the loss by little.
    best : array
        Parameters of the lowest validation loss.
    rows : list of dict
        Validation metrics after each step, from 0: before the first.
    """

    theta: Array
    damping: float
    phase: int = 0
    step: int = 0
    small: int = 0
    best: Array = field(default_factory=lambda: np.zeros(0))
    rows: list[dict[str, float]] = field(default_factory=list)

    def note(self, row: dict[str, float]) -> None:
        """Keep the metrics of the current parameters, and the parameters if they are the best."""
        if not self.rows or row["loss"] < min(r["loss"] for r in self.rows):
            self.best = self.theta
        self.rows.append(row)

    def write(self, path: Path) -> None:
        """Write a checkpoint; a kill leaves the old one or the new one."""
        names = sorted(self.rows[0])
        part = path.with_suffix(".part.npz")
        np.savez(
            part,
            theta=self.theta,
            best=self.best,
            damping=self.damping,
            counts=[self.phase, self.step, self.small],
            names=names,
            rows=[[row[n] for n in names] for row in self.rows],
        )
        part.replace(path)

    @classmethod
    def read(cls, path: Path) -> Progress | None:
        """Read a checkpoint; None if there is none that can be read."""
        try:
            with np.load(path, allow_pickle=False) as found:
                names = [str(n) for n in found["names"]]
                rows = [dict(zip(names, row, strict=True)) for row in found["rows"].tolist()]
                counts = (int(c) for c in found["counts"])
                phase, step, small = counts
                damping = float(found["damping"])
                return cls(found["theta"], damping, phase, step, small, found["best"], rows)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            logger.warning("%s cannot be read (%s); training starts anew", path, error)
            return None


@dataclass(frozen=True)
class Problem:
    """What is minimised in one phase.

    Parameters
    ----------
    loss : callable
        Of parameters; cheap.
    linearise : callable
        Normal equations at parameters.
    most_steps : int
    tolerance : float
        Two steps in a row that lower the loss by less than this part end the phase.
    """

    loss: Callable[[Array], float]
    linearise: Callable[[Array], NormalEquations]
    most_steps: int
    tolerance: float


def descend(problem: Problem, progress: Progress, after_step: Callable[[], None]) -> None:
    """Take the steps that are left of a phase, from where ``progress`` is, which moves along.

    Parameters
    ----------
    problem : Problem
    progress : Progress
    after_step : callable
        Notes metrics and writes a checkpoint.

    Raises
    ------
    TrainingError
        If the loss is not finite.
    """
    while progress.step < problem.most_steps and progress.small < 2:
        normal = problem.linearise(progress.theta)
        if not np.isfinite(normal.loss) or not np.isfinite(normal.gradient).all():
            raise TrainingError(
                f"the loss is {normal.loss} after {progress.step} steps: a label is broken, or "
                "atoms are so near that the radial functions overflow; look for both in the data"
            )
        theta, loss, damping = _improve(problem, normal, progress)
        if theta is None:
            return
        progress.small = progress.small + 1 if loss > (1 - problem.tolerance) * normal.loss else 0
        progress.theta, progress.damping = theta, damping
        progress.step += 1
        after_step()


def _improve(
    problem: Problem, normal: NormalEquations, progress: Progress
) -> tuple[Array | None, float, float]:
    """Return better parameters, their loss, and the damping to go on with; None at the end."""
    damping = progress.damping
    while damping < MOST_DAMPING:
        theta = progress.theta + _step(normal, damping)
        loss = problem.loss(theta)
        if np.isfinite(loss) and loss < normal.loss:
            return theta, loss, max(EASE * damping, 1e-12)
        damping *= RAISE
    return None, normal.loss, damping


def _step(normal: NormalEquations, damping: float) -> Array:
    """Solve (JᵀJ + λ D) δ = −Jᵀr with D = diag(JᵀJ), in units where D is one.

    Parameters that nothing depends on yet (no such pair of elements) stay.
    """
    diagonal = np.diag(normal.hessian)
    free = diagonal > 0
    scale = np.sqrt(diagonal[free])
    matrix = normal.hessian[np.ix_(free, free)] / np.outer(scale, scale)
    matrix += damping * np.eye(len(scale))
    step = np.zeros(len(diagonal))
    step[free] = -np.linalg.lstsq(matrix, normal.gradient[free] / scale, rcond=1e-14)[0] / scale
    return step
