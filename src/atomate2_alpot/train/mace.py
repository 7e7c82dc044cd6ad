"""Training MACE through its own entry point, in a checked subprocess."""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from atomate2_alpot.potentials.mace import write_with_e0s
from atomate2_alpot.schemas import EpochTable, Frames
from atomate2_alpot.settings import SETTINGS
from atomate2_alpot.train.errors import TrainingError
from atomate2_alpot.train.mace_log import epoch_table, last_error, read_results
from atomate2_alpot.train.mace_settings import MaceSettings
from atomate2_alpot.train.process import end_left_over, end_trainer, start_trainer

logger = logging.getLogger(__name__)

POLL_SECONDS: float = 0.5
PROGRESS_STEPS: int = 6
"""Lines of progress that a training run logs."""


@dataclass(frozen=True)
class MaceRun:
    """One training run.

    Parameters
    ----------
    train, valid : Frames
        Labelled. The test set is none of the trainer's business.
    settings : MaceSettings
    e0s : dict of str to float
        eV by symbol, for every element of both sets.
    seed : int
    name : str
        Names files and messages.
    start_from : Path or None
        Model file to fine-tune.
    """

    train: Frames
    valid: Frames
    settings: MaceSettings
    e0s: dict[str, float]
    seed: int
    name: str
    start_from: Path | None = None

    def fingerprint(self) -> str:
        """Return 16 hex digits that differ between runs on other data or with other settings."""
        content = hashlib.sha256()
        for frames in (self.train, self.valid):
            content.update("".join(frames.frame_id).encode())
            content.update(np.ascontiguousarray(frames.energy).tobytes())
        if self.start_from is not None:
            content.update(self.start_from.read_bytes())
        rest = [self.settings.model_dump(), self.e0s, self.seed, self.name]
        content.update(json.dumps(rest, sort_keys=True).encode())
        return content.hexdigest()[:16]


def train_mace(run: MaceRun, folder: Path) -> tuple[Path, EpochTable]:
    """Train one model.

    Parameters
    ----------
    run : MaceRun
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


def _arguments(run: MaceRun, folder: Path) -> list[str]:
    from ase.data import atomic_numbers

    files = {"train": run.train, "valid": run.valid}
    for kind, frames in files.items():
        missing = [e for e in frames.elements if e not in run.e0s]
        if missing:
            raise TrainingError(f"e0s: no value for {missing} of the {kind} set of {run.name}")
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


def _fitting_settings(run: MaceRun) -> MaceSettings:
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
