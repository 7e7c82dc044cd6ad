"""Training moment tensor potentials, in this process, on motep's compiled engine."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import numpy as np
from motep.potentials.mtp.data import MTPData
from numpy.typing import NDArray

from atomate2_alpot.potentials.mtp import find_model
from atomate2_alpot.potentials.mtp_file import MtpModel, read_model, write_model
from atomate2_alpot.schemas import EpochTable, Frames, PotentialSpec
from atomate2_alpot.train.errors import TrainingError
from atomate2_alpot.train.mtp_loss import (
    LabelledSet,
    NormalEquations,
    has_forces,
    has_stress,
    loss_of,
    normal_equations,
)
from atomate2_alpot.train.mtp_settings import MtpSettings
from atomate2_alpot.train.mtp_start import first_potential
from atomate2_alpot.train.mtp_steps import Problem, Progress, descend
from atomate2_alpot.train.run import TrainingRun
from atomate2_alpot.uncertainty.errors import error_metrics

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.npz"
COLUMNS: tuple[str, ...] = tuple(EpochTable.SCHEMA.names[1:])


def fit(run: TrainingRun[MtpSettings], folder: Path) -> tuple[Path, EpochTable]:
    """Train one model; an epoch is one Levenberg-Marquardt step, 0 the start.

    It runs in this process, so it ends with it; a step that was finished is never done again.

    Parameters
    ----------
    run : TrainingRun
        Its settings are ``MtpSettings``; ``start_from`` is continued from its coefficients.
    folder : Path
        Working folder. A killed run of the same fingerprint is taken up after its last step, and
        ends with the same model as one that was not killed.

    Returns
    -------
    model : Path
        An .mtp file that says its elements and E0s; coefficients of the best validation loss.
    epochs : EpochTable

    Raises
    ------
    TrainingError
        Naming the field, before the first step where possible.
    """
    run.check_e0s()
    for name, frames in {"train": run.train, "valid": run.valid}.items():
        _check_labels(name, frames, run)
    folder.mkdir(parents=True, exist_ok=True)
    train, valid = (LabelledSet.of(f, run.settings.cutoff) for f in (run.train, run.valid))
    data = first_potential(run, min(near.nearest for near in [*train.near, *valid.near]))
    progress = _train(run, data, (train, valid), folder / CHECKPOINT)
    data.parameters = progress.best
    model = folder / f"{run.name}.mtp"
    write_model(model, MtpModel(data, run.e0s))
    columns = {name: [_or_none(r[name]) for r in progress.rows] for name in COLUMNS}
    return model, EpochTable.from_columns(epoch=list(range(len(progress.rows))), **columns)


def starting_point(spec: PotentialSpec) -> tuple[Path, dict[str, float]]:
    """Return the file of a potential, and its own E0s."""
    path = find_model(spec)
    return path, read_model(path).e0s


def _train(
    run: TrainingRun[MtpSettings], data: MTPData, sets: tuple[LabelledSet, LabelledSet], path: Path
) -> Progress:
    """Go through the phases: a random part of the training set, then all of it."""
    (train, valid), settings = sets, run.settings
    saved = Progress.read(path)
    progress = saved or Progress(data.parameters, settings.damping)

    def after_step(part: LabelledSet) -> None:
        progress.note(_validate(data, progress.theta, valid, settings))
        progress.write(path)
        row = progress.rows[-1]
        logger.info(
            "training %s: step %d on %d frames, validation %.1f meV/atom, %.0f meV/Å",
            run.name,
            len(progress.rows) - 1,
            len(part.frames),
            1e3 * row["energy_mae"],
            1e3 * row["forces_mae"],
        )

    if saved is None:
        after_step(train)
    phases = _phases(train, settings, run.seed)
    for phase, (part, most_steps) in enumerate(phases):
        if phase < progress.phase:
            continue
        if phase > progress.phase:
            progress.phase, progress.step, progress.small = phase, 0, 0
            progress.damping = settings.damping
        problem = Problem(
            loss=partial(_loss, data, part, settings),
            linearise=partial(_linearise, data, part, settings),
            most_steps=most_steps,
            tolerance=settings.tolerance,
        )
        descend(problem, progress, partial(after_step, part))
    return progress


def _phases(train: LabelledSet, settings: MtpSettings, seed: int) -> list[tuple[LabelledSet, int]]:
    """Return the parts of the training set, and the most steps on each."""
    n_atoms = train.frames.n_atoms
    everything = (train, settings.max_steps)
    if n_atoms.sum() <= 2 * settings.warm_up_atoms or not settings.warm_up_steps:
        return [everything]
    order = np.random.default_rng(seed).permutation(len(n_atoms))
    enough = int(np.searchsorted(np.cumsum(n_atoms[order]), settings.warm_up_atoms)) + 1
    return [(train.take(np.sort(order[:enough])), settings.warm_up_steps), everything]


def _loss(
    data: MTPData, part: LabelledSet, settings: MtpSettings, theta: NDArray[np.float64]
) -> float:
    data.parameters = theta
    return loss_of(part.frames, part.predict(data), settings)


def _linearise(
    data: MTPData, part: LabelledSet, settings: MtpSettings, theta: NDArray[np.float64]
) -> NormalEquations:
    data.parameters = theta
    return normal_equations(data, part, settings)


def _validate(
    data: MTPData, theta: NDArray[np.float64], valid: LabelledSet, settings: MtpSettings
) -> dict[str, float]:
    """Return the validation metrics, NaN where no frame has the label."""
    data.parameters = theta
    prediction = valid.predict(data)
    metrics = error_metrics(valid.frames, prediction)
    metrics["loss"] = loss_of(valid.frames, prediction, settings)
    return {name: metrics.get(name, float("nan")) for name in COLUMNS}


def _check_labels(name: str, frames: Frames, run: TrainingRun[MtpSettings]) -> None:
    """Raise ``TrainingError`` if a set cannot be learned from as the settings want it."""
    if not len(frames):
        raise TrainingError(f"{name} set of {run.name}: no frame; give its share more of the data")
    if not frames.is_labelled.all():
        bad = int((~frames.is_labelled).sum())
        raise TrainingError(f"{name} set of {run.name}: {bad} frames have no energy; drop them")
    if flat := int((has_stress(frames) & (frames.volume == 0)).sum()):
        raise TrainingError(
            f"{name} set of {run.name}: {flat} frames have a stress but no cell; remove the label"
        )
    n_forces, n_stress = int(has_forces(frames).sum()), int(has_stress(frames).sum())
    weight, total = run.settings.forces_weight, len(frames)
    if weight and not n_forces:
        raise TrainingError(
            f"forces_weight={weight}: no frame of the {name} set of {run.name} has forces; label "
            "them, or set forces_weight to 0"
        )
    for what, count in {"forces": n_forces, "stress": n_stress}.items():
        if getattr(run.settings, f"{what}_weight") and count < total:
            logger.warning(
                "training %s: %d of %d frames of the %s set have no %s; they count without",
                run.name,
                total - count,
                total,
                name,
                what,
            )


def _or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None
