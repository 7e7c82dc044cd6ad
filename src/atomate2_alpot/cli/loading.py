"""Reading config files: every mistake is named with its line, field, value and remedy."""

from __future__ import annotations

import re
import stat
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from atomate2_alpot.cli.config import RunConfig
from atomate2_alpot.cli.paths import with_absolute_paths

UNIT_PATTERN = re.compile(r"^\s*[-+\d.eE]+\s*(m?eV\S*|GPa|kBar|Å|A)\s*$")


class ConfigError(ValueError):
    """A config file that cannot be used; one line per mistake."""


class _UniqueKeys(yaml.SafeLoader):
    """A loader that refuses a key given twice, where YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(self.construct_object(key_node, deep=True))
            if key in seen:
                line = key_node.start_mark.line + 1
                raise ConfigError(f"line {line}: key {key!r} is given twice; keep one")
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_config(path: str | Path) -> RunConfig:
    """Read and validate a config file; relative paths in it are relative to its own folder.

    Raises
    ------
    ConfigError
        Naming every mistake.
    """
    path = Path(path)
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError(
            f"config {path}: {error.strerror}; give the path of a YAML file"
        ) from error
    try:
        data = yaml.load(text, Loader=_UniqueKeys)
    except yaml.YAMLError as error:
        raise ConfigError(f"config {path} is not YAML: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"config {path}, {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"config {path}: expected keys and values; see `alpot config`")
    try:
        return with_absolute_paths(RunConfig.model_validate(data), path.resolve().parent)
    except ValidationError as error:
        lines = "\n".join(f"  {_explain(e)}" for e in error.errors())
        raise ConfigError(f"config {path}:\n{lines}") from None


def readable_secrets(path: str | Path) -> bool:
    """Tell whether a config file holds a URI and others may read it."""
    path = Path(path)
    config = read_config(path)
    return config.store.uri is not None and bool(
        path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)
    )


def _explain(error: ErrorDetails) -> str:
    where = ".".join(_walk(error["loc"])[0])
    if error["type"] == "extra_forbidden":
        known = sorted(_walk(error["loc"][:-1])[1].model_fields)
        near = get_close_matches(str(error["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {known}"
        return f"{where}: unknown key; {hint}"
    value = error["input"]
    if isinstance(value, str) and UNIT_PATTERN.match(value):
        return (
            f"{where}: {value!r} carries a unit; give a plain number in our units "
            "(eV, Å, eV/atom, eV/Å, eV/Å³; see `alpot config`)"
        )
    if error["type"] == "missing":
        return f"{where}: required; see `alpot config` for an example"
    shown = "" if isinstance(value, dict | list) else f" (given: {value!r})"
    return f"{where}: {error['msg']}{shown}" if where else error["msg"]


def _walk(location: tuple[int | str, ...]) -> tuple[list[str], type[BaseModel]]:
    """Return the keys of a location, without tags of unions, and the section they lead into."""
    keys: list[str] = []
    model: type[BaseModel] = RunConfig
    options: list[type[BaseModel]] = []
    for part in location:
        tagged = [m for m in options if m.model_fields["kind"].default == part]
        if tagged:
            model, options = tagged[0], []
            continue
        keys.append(str(part))
        if (field := model.model_fields.get(str(part))) is not None:
            found = _models(field.annotation)
            options = [m for m in found if "kind" in m.model_fields]
            model = found[0] if found else model
    return keys, model


def _models(annotation: Any) -> list[type[BaseModel]]:
    from typing import get_args

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for a in get_args(annotation) for m in _models(a)]
