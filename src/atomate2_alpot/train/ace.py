"""Training a linear ACE: equations of the labels, a QR triangle, one regularised solution."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atomate2_alpot.potentials.ace import ACEModel
from atomate2_alpot.schemas import EpochTable, PotentialSpec
from atomate2_alpot.train.ace_design import QUANTITIES, equations
from atomate2_alpot.train.ace_model import build_model, write_model
from atomate2_alpot.train.ace_settings import AceSettings
from atomate2_alpot.train.ace_solve import LeastSquares, Triangle
from atomate2_alpot.train.errors import TrainingError
from atomate2_alpot.train.run import TrainingRun

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]


def fit(run: TrainingRun[AceSettings], folder: Path) -> tuple[Path, EpochTable]:
    """Fit one model, in this process.

    Nothing is taken up from a killed run: the fit starts again, and the same data, settings and
    seed give the same coefficients.

    Parameters
    ----------
    run : TrainingRun
        Its settings are ``AceSettings``.
    folder : Path

    Returns
    -------
    model : Path
        A file of ace-jax (``.npz``: arrays and JSON), also for its own calculator and exporters.
    epochs : EpochTable
        One row per regularisation tried, in that order; the model has the one of least ``loss``,
        the mean weighted square of the residuals on the validation set. With solver ``evidence``
        it is the only row.

    Raises
    ------
    TrainingError
        If labels are broken or missing, or do not determine the coefficients.
    """
    _check_labels(run)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{run.name}.npz"
    try:
        model, prior = build_model(run.settings, sorted(run.e0s), path)
    except ImportError as error:
        raise TrainingError(
            f"train.settings.kind='ace' needs a package that does not load ({error}); install it "
            "with: pip install 'atomate2-alpot[ace]'"
        ) from error
    e0s = _e0s(run, model)
    problem = _assemble(run, model, prior, e0s)
    strengths = _strengths(run, problem)
    solutions = np.stack([_solution(run, problem, x) / prior for x in strengths], axis=1)
    epochs = _validate(run, model, e0s, solutions)
    best = int(np.argmin(epochs.column("loss"))) if len(strengths) > 1 else 0
    logger.info("training %s: regularised by %.3g", run.name, strengths[best])
    write_model(path, solutions[:, best].reshape(model.coefficients.shape), e0s)
    return path, epochs


def starting_point(spec: PotentialSpec) -> tuple[Path, dict[str, float]]:
    """Refuse: a linear fit has one solution, wherever it starts.

    Raises
    ------
    TrainingError
    """
    raise TrainingError(
        f"train.start_from={spec.label!r}: a linear ACE is solved in one step and starts from "
        "nothing; leave it out"
    )


def _check_labels(run: TrainingRun[AceSettings]) -> None:
    """Raise ``TrainingError`` for labels that do not do for these settings."""
    run.check_e0s()
    if not len(run.train):
        raise TrainingError(f"{run.name}: the train set is empty; label frames")
    tried = run.settings.regularisation
    if len(tried) > 1 and run.settings.solver == "ridge" and not len(run.valid):
        raise TrainingError(
            f"train.settings.regularisation={tried}: {run.name} has no validation set to choose "
            "with; enlarge it (fractions), give one value, or choose solver 'evidence'"
        )
    for kind, frames in {"train": run.train, "valid": run.valid}.items():
        if not frames.is_labelled.all():
            raise TrainingError(
                f"frame {frames.frame_id[int(np.argmin(frames.is_labelled))]} of the {kind} set of "
                f"{run.name} has no energy; label it, or take it out"
            )
    if run.settings.forces_weight > 0 and not np.isfinite(run.train.forces).any():
        raise TrainingError(
            f"train.settings.forces_weight={run.settings.forces_weight}: no frame of the train set "
            f"of {run.name} has forces; label forces, or set it to 0 to train on energies only"
        )
    if unseen := sorted(set(run.e0s) - set(run.train.elements)):
        logger.warning(
            "training %s: no frame of its train set holds %s; they get their E0s, and no bonds",
            run.name,
            ", ".join(unseen),
        )


def _e0s(run: TrainingRun[AceSettings], model: ACEModel) -> Array:
    from ase.data import chemical_symbols

    return np.array([run.e0s[chemical_symbols[z]] for z in model.basis.elements])


def _assemble(
    run: TrainingRun[AceSettings], model: ACEModel, prior: Array, e0s: Array
) -> LeastSquares:
    """Reduce the equations of the training set, in coefficients divided by their prior scale."""
    triangle = Triangle(len(prior))
    repeats = _repeats(run)
    name = f"training {run.name}"
    assembled = equations(model.basis, run.train, e0s, run.settings, name)
    for every, repeat in zip(assembled, repeats, strict=True):
        rows = every.take(every.weight * repeat > 0)
        weight = rows.weight * np.sqrt(repeat)
        triangle.add(weight[:, None] * rows.values / prior, weight * rows.target)
    logger.info("%s: %d equations, %d coefficients", name, triangle.n_rows, len(prior))
    if not triangle.n_rows:
        raise TrainingError(f"{run.name}: no label of the train set has a weight above 0")
    problem = triangle.solve()
    if problem.largest == 0:
        raise TrainingError(
            f"train.settings.cutoff={run.settings.cutoff}: no atom of the train set of {run.name} "
            "has a neighbour within it; raise it, or add frames"
        )
    return problem


def _repeats(run: TrainingRun[AceSettings]) -> NDArray[np.int64]:
    """Return how often each training frame counts."""
    n = len(run.train)
    if run.settings.committee != "bootstrap":
        return np.ones(n, dtype=np.int64)
    return np.bincount(np.random.default_rng(run.seed).integers(n, size=n), minlength=n)


def _strengths(run: TrainingRun[AceSettings], problem: LeastSquares) -> Sequence[float]:
    if run.settings.solver == "evidence":
        return [problem.most_probable()]
    if 0 in run.settings.regularisation and problem.rank < len(problem.singular):
        unseen = set(run.e0s) - set(run.train.elements)
        raise TrainingError(
            f"train.settings.regularisation={run.settings.regularisation}: {problem.n_rows} "
            f"equations of {run.name} determine {problem.rank} of {len(problem.singular)} "
            "coefficients"
            + (f" (no frame holds {', '.join(sorted(unseen))})" if unseen else "")
            + "; leave 0 out, lower order or degree, or add frames"
        )
    return [x * problem.largest for x in run.settings.regularisation]


def _solution(run: TrainingRun[AceSettings], problem: LeastSquares, strength: float) -> Array:
    if run.settings.committee == "posterior":
        return problem.draw(strength, np.random.default_rng(run.seed))
    return problem.solution(strength)


def _validate(
    run: TrainingRun[AceSettings], model: ACEModel, e0s: Array, solutions: Array
) -> EpochTable:
    """Return the validation errors of each column of the solutions, shape (Z·D, k)."""
    sums = {name: np.zeros((2, solutions.shape[1])) for name in QUANTITIES}
    counts = dict.fromkeys(QUANTITIES, 0)
    loss, n_rows = np.zeros(solutions.shape[1]), 0
    name = f"validating {run.name}"
    for rows in equations(model.basis, run.valid, e0s, run.settings, name):
        residual = rows.values @ solutions - rows.target[:, None]
        loss += ((rows.weight[:, None] * residual) ** 2).sum(axis=0)
        n_rows += len(residual)
        for place, quantity in enumerate(QUANTITIES):
            own = rows.quantity == place
            error = np.abs(residual[own] * rows.unit[own, None])
            sums[quantity] += [error.sum(axis=0), (error**2).sum(axis=0)]
            counts[quantity] += int(own.sum())
    nothing = [None] * len(loss)
    columns = {"loss": loss / n_rows if n_rows else nothing}
    for quantity, (absolute, square) in sums.items():
        n = counts[quantity]
        columns[f"{quantity}_mae"] = absolute / n if n else nothing
        columns[f"{quantity}_rmse"] = np.sqrt(square / n) if n else nothing
    return EpochTable.from_columns(epoch=range(len(loss)), **columns)
