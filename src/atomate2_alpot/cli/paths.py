"""Paths in a config: relative to the config file, absolute from then on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from atomate2_alpot.cli.config import RunConfig
from atomate2_alpot.schemas import PotentialSpec
from atomate2_alpot.structures.makers import AFLOW

NAMES_NO_FILE: frozenset[str] = frozenset({"ase", "chgnet", "toy"})
"""Backends whose `name` is never a file."""


def with_absolute_paths(config: RunConfig, folder: Path) -> RunConfig:
    """Return a config whose paths do not depend on where a job runs.

    Parameters
    ----------
    config : RunConfig
    folder : Path
        Of the config file, absolute.
    """
    start = config.train.start_from
    prototypes = config.propose.prototypes
    if prototypes != AFLOW:
        prototypes = str(folder / Path(prototypes).expanduser())
    if isinstance(start, PotentialSpec):
        start = _spec(start, folder)
    engine = config.engine
    if engine.launchpad is not None:
        path = folder / engine.launchpad.expanduser()
        engine = engine.model_copy(update={"launchpad": path})
    updates: dict[str, Any] = {
        "engine": engine,
        "committee": [_spec(s, folder) for s in config.committee],
        "propose": config.propose.model_copy(update={"prototypes": prototypes}),
        "select": _inside(config.select, folder),
        "label": config.label.model_copy(update={"options": _values(config.label.options, folder)}),
        "train": config.train.model_copy(update={"start_from": start}),
    }
    return config.model_copy(update=updates)


def _spec(spec: PotentialSpec, folder: Path) -> PotentialSpec:
    name = spec.name
    if name is not None and spec.backend not in NAMES_NO_FILE:
        path = folder / Path(name).expanduser()
        found = path.is_file() or (spec.backend == "matgl" and path.is_dir())
        name = str(path) if found else name
    return spec.model_copy(update={"name": name, "kwargs": _values(spec.kwargs, folder)})


def _inside(value: Any, folder: Path) -> Any:
    """Return settings with every recipe of a potential in them made absolute."""
    if isinstance(value, PotentialSpec):
        return _spec(value, folder)
    if isinstance(value, list):
        return [_inside(v, folder) for v in value]
    if not isinstance(value, BaseModel):
        return value
    names = type(value).model_fields
    return value.model_copy(update={n: _inside(getattr(value, n), folder) for n in names})


def _values(value: Any, folder: Path) -> Any:
    """Return options of somebody else's class with the files among them made absolute."""
    if isinstance(value, dict):
        return {key: _values(v, folder) for key, v in value.items()}
    if isinstance(value, list):
        return [_values(v, folder) for v in value]
    looks_like_one = isinstance(value, str) and ("/" in value or Path(value).suffix)
    path = folder / Path(value).expanduser() if looks_like_one else None
    return str(path) if path is not None and path.is_file() else value
