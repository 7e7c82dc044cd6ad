"""A toy campaign: its config, its folder, the command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

TOY_CONFIG: dict[str, Any] = {
    "campaign_id": "toy",
    "elements": ["Al", "Ni"],
    "committee": [{"backend": "toy", "kwargs": {"seed": s}} for s in (1, 2)],
    "propose": {
        "n_atoms": [2, 3],
        "candidates_per_iteration": 20,
        "n_test": 6,
        "n_elements": [2, 2],
    },
    "select": {
        "criterion": {
            "energy": 0.01,
            "formation_energy": None,
            "max_force": None,
            "mean_stress": None,
        }
    },
    "label": {"preset": "toy-surrogate", "options": {"seed": 9}},
    "train": {
        "n_members": 2,
        "settings": {
            "num_channels": 4,
            "correlation": 1,
            "max_ell": 1,
            "num_interactions": 1,
            "r_max": 4.0,
            "max_num_epochs": 2,
            "eval_interval": 1,
        },
    },
    "loop": {"labels_per_iteration": 8, "max_iterations": 1},
}


def changed(**sections: Any) -> dict[str, Any]:
    """Return the config with sections updated, one level deep."""
    config = {**TOY_CONFIG}
    for name, value in sections.items():
        old = config.get(name)
        config[name] = {**old, **value} if isinstance(old, dict) else value
    return config


def write(path: Path, config: dict[str, Any] = TOY_CONFIG) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(config))
    return path


def alpot(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-m", "atomate2_alpot.cli.main"]
    command += map(str, arguments)
    return subprocess.run(command, capture_output=True, text=True, check=False)
