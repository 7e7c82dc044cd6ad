"""What MACE writes while it trains, read back."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from atomate2_alpot.schemas import EpochTable

COLUMNS: dict[str, str] = {
    "loss": "loss",
    "rmse_e_per_atom": "energy_rmse",
    "mae_e_per_atom": "energy_mae",
    "rmse_f": "forces_rmse",
    "mae_f": "forces_mae",
    "rmse_stress": "stress_rmse",
    "mae_stress": "stress_mae",
}
"""MACE's names -> ours; both in eV, Å."""


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Return the records of MACE's results file, whatever seed is in its name.

    A line that is being written is left out.
    """
    files = sorted((folder / "results").glob("*_train.txt"))
    records = []
    for line in files[-1].read_text().splitlines() if files else []:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def epoch_table(records: list[dict[str, Any]]) -> EpochTable:
    """Return the validation metrics by epoch; a restart overwrites the epochs it repeats."""
    by_epoch = {
        int(r["epoch"]): r for r in records if r.get("mode") == "eval" and r["epoch"] is not None
    }
    epochs = sorted(by_epoch)
    columns = {
        ours: [_number(by_epoch[e].get(theirs)) for e in epochs] for theirs, ours in COLUMNS.items()
    }
    return EpochTable.from_columns(epoch=epochs, **columns)


def last_error(log: Path) -> str:
    """Return the line of a log that says what went wrong."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    for line in reversed(lines):
        if re.match(r"^([A-Za-z_.]*(Error|Exception|Interrupt)\b|.*error: )", line):
            return line
    return lines[-1] if lines else "it wrote nothing"


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
