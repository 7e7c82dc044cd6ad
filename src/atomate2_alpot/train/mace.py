"""Training MACE through its own entry point, in a checked subprocess."""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from atomate2_alpot.potentials.mace import find_model, model_e0s, write_with_e0s
from atomate2_alpot.schemas import EpochTable, PotentialSpec
from atomate2_alpot.settings import SETTINGS
from atomate2_alpot.train.errors import TrainingError
from atomate2_alpot.train.mace_log import epoch_table, last_error, read_results
from atomate2_alpot.train.mace_settings import MaceSettings
from atomate2_alpot.train.process import end_left_over, end_trainer, start_trainer
from atomate2_alpot.train.run import TrainingRun

logger = logging.getLogger(__name__)

POLL_SECONDS: float = 0.5
PROGRESS_STEPS: int = 6
"""Lines of progress that a training run logs."""


def fit(run: TrainingRun[MaceSettings], folder: Path) -> tuple[Path, EpochTable]:
    """Train one model.

    Parameters
    ----------
    run : TrainingRun
        Its settings are ``MaceSettings``; ``start_from`` is fine-tuned.
    folder : Path
        Working folder; if an earlier attempt was killed in it, its last checkpoint is taken up
        (and its trainer ended, should it still run).

    Returns
    -------
    model : Path
        The model file, weights of the best validation, on the CPU.
    epochs : EpochTable

    Raises
    ------
    TrainingError
        With MACE's own last error, if it fails, diverges, or leaves no model.
    """
    folder = folder.resolve()  # MACE runs in it
    folder.mkdir(parents=True, exist_ok=True)
    arguments = _arguments(run, folder)
    end_left_over(folder)
    log = folder / f"{run.name}.log"
    with log.open("a") as stream:
        process = start_trainer("mace.cli.run_train", arguments, folder, stream)
        try:
            for line in _follow(process, folder, run.settings.max_num_epochs):
                logger.info("training %s: %s", run.name, line)
        finally:
            end_trainer(process, folder)
    epochs = epoch_table(read_results(folder))
    model = folder / f"{run.name}.model"
    if process.returncode != 0 or not model.exists():
        raise TrainingError(
            f"MACE training of {run.name} failed (exit code {process.returncode}): "
            f"{last_error(log)}. Full log: {log}"
        )
    if len(epochs) and not np.isfinite(epochs.column("loss")[-1]):
        raise TrainingError(
            f"MACE training of {run.name} diverged: the validation loss is NaN. Lower lr, or look "
            f"for broken labels. Full log: {log}"
        )
    return model, epochs


def starting_point(spec: PotentialSpec) -> tuple[Path, dict[str, float]]:
    """Return the file of a MACE model, and its own E0s.

    Fine-tuning keeps all elements of the model, and MACE would zero the E0s of those that the
    training set lacks.
    """
    model = find_model(spec)
    return model, model_e0s(model)


def _arguments(run: TrainingRun[MaceSettings], folder: Path) -> list[str]:
    from ase.data import atomic_numbers

    run.check_e0s()
    for kind, frames in {"train": run.train, "valid": run.valid}.items():
        frames.to_extxyz(folder / f"{kind}.xyz")
    e0s = {atomic_numbers[e]: v for e, v in run.e0s.items()}
    arguments = [
        f"--name={run.name}",
        f"--train_file={folder / 'train.xyz'}",
        f"--valid_file={folder / 'valid.xyz'}",
        f"--E0s={e0s}",
        f"--seed={run.seed}",
        f"--work_dir={folder}",
        f"--device={_device()}",
        "--energy_key=REF_energy",
        "--forces_key=REF_forces",
        "--stress_key=REF_stress",
        "--compute_stress=True",
        "--error_table=PerAtomMAEstressvirials",
        "--restart_latest",
        "--save_cpu",
        *_fitting_settings(run).arguments(),
    ]
    if run.start_from is not None:
        # MACE 0.3 lets the start model's own E0s win over --E0s, in silence
        start = write_with_e0s(run.start_from, run.e0s, folder / "start.model")
        # without foundation_model_elements the model forgets elements that this set lacks
        arguments += [
            f"--foundation_model={start}",
            "--multiheads_finetuning=False",
            "--foundation_model_elements=True",
        ]
    return arguments


def _fitting_settings(run: TrainingRun[MaceSettings]) -> MaceSettings:
    """Return the settings with no larger batches than there are training frames.

    MACE drops the last, incomplete batch of an epoch, and fails when that was the only one.
    """
    n_train, asked = len(run.train), run.settings.batch_size
    if n_train >= asked:
        return run.settings
    logger.warning(
        "training %s: batch_size=%d is more than its %d training frames; training with %d",
        run.name,
        asked,
        n_train,
        n_train,
    )
    return run.settings.model_copy(update={"batch_size": n_train})


def _device() -> str:
    if SETTINGS.DEVICE != "auto":
        return SETTINGS.DEVICE.split(":")[0]
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _follow(process: subprocess.Popen[bytes], folder: Path, epochs: int) -> Iterator[str]:
    """Yield lines of progress while MACE runs, from the results it writes."""
    step = max(1, epochs // PROGRESS_STEPS)
    shown = 0
    while process.poll() is None:
        time.sleep(POLL_SECONDS)
        rows = [r for r in read_results(folder) if r["mode"] == "eval" and r["epoch"] is not None]
        if rows and rows[-1]["epoch"] >= shown + step:
            last = rows[-1]
            shown = last["epoch"]
            yield (
                f"epoch {shown}/{epochs}, validation {1e3 * last['mae_e_per_atom']:.0f} meV/atom, "
                f"{1e3 * last['mae_f']:.0f} meV/Å"
            )
