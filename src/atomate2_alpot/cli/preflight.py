"""What can be known to be wrong before the first job, in seconds and without loading a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ase.data import chemical_symbols
from pydantic import BaseModel

from atomate2_alpot.campaign.journal import Journal
from atomate2_alpot.cli.build import build_maker, mongo_uri
from atomate2_alpot.cli.config import RunConfig
from atomate2_alpot.cli.loading import ConfigError
from atomate2_alpot.label import LabelMaker
from atomate2_alpot.potentials.base import BACKENDS, PACKAGES, PotentialError
from atomate2_alpot.potentials.options import check_options
from atomate2_alpot.schemas import PotentialSpec
from atomate2_alpot.train.ace_settings import AceSettings
from atomate2_alpot.train.errors import TrainingError

ELEMENTS: dict[str, range] = {"chgnet": range(1, 95)}
"""Atomic numbers that every model of a backend knows."""

IMPORTS: dict[str, str] = {"chgnet": "chgnet", "mace": "mace", "matgl": "matgl", "mtp": "motep"}
"""Backend -> the package it imports."""

TRAINER_IMPORTS: dict[str, str] = {"ace": "ace_jax", "mace": "mace", "mtp": "motep"}
"""Kind of trainer -> the package it imports."""


def require_preflight(config: RunConfig, run_dir: Path, with_labeller: bool = True) -> None:
    """Raise ``ConfigError`` with everything that is wrong with a config on this machine."""
    problems = preflight(config, run_dir, with_labeller)
    if problems:
        raise ConfigError(
            "the config cannot be run here:\n" + "\n".join(f"  {p}" for p in problems)
        )


def preflight(config: RunConfig, run_dir: Path, with_labeller: bool = True) -> list[str]:
    """Return what is wrong with a config on this machine, one line each.

    Parameters
    ----------
    config : RunConfig
        Valid by itself.
    run_dir : Path
        Of the run; candidates are not looked at again once it has begun.
    with_labeller : bool
        Whether the labeller is asked for what it needs on this machine.
    """
    problems: list[str] = []
    for check in (_store, _trainer, _specs):
        problems += check(config)
    try:
        maker = build_maker(config)
        maker.make()
        if with_labeller and isinstance(maker.labeller, LabelMaker):
            problems += _labeller(maker.labeller, config.elements)
        if not problems and not Journal.is_in(run_dir / "journal"):
            maker.proposer.space()  # type: ignore[union-attr]
    except ValueError as error:
        problems.append(str(error))
    return problems


def check_spec(spec: PotentialSpec, elements: list[str]) -> Iterator[str]:
    """Yield what is wrong with the recipe of a potential, without loading it."""
    if spec.backend not in BACKENDS:
        near = get_close_matches(spec.backend, BACKENDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose from {sorted(BACKENDS)}"
        yield f"unknown backend {spec.backend!r}; {hint}"
        return
    if not _installed(IMPORTS.get(spec.backend)):
        yield f"backend {spec.backend!r} is not installed: {_remedy(spec.backend)}"
        return
    try:
        options = getattr(import_module(BACKENDS[spec.backend]), "OPTIONS", None)
        if options is not None:  # the options of `ase` are those of the calculator
            check_options(spec, options)
    except PotentialError as error:
        yield str(error)
    if spec.artifact is None and spec.backend in NAMES:
        yield from NAMES[spec.backend](spec.name)
        yield from _untrusted(spec)
    known = ELEMENTS.get(spec.backend)
    unknown = [e for e in elements if known and chemical_symbols.index(e) not in known]
    if unknown:
        yield f"{spec.label} does not know {unknown}; take them out, or another model"


def _store(config: RunConfig) -> Iterator[str]:
    try:
        if config.store.kind == "mongo":
            mongo_uri(config)
    except ConfigError as error:
        yield str(error)


def _trainer(config: RunConfig) -> Iterator[str]:
    kind = config.train.settings.kind
    if not _installed(TRAINER_IMPORTS.get(kind)):
        yield f"train.settings.kind: {kind!r} is not installed: {_remedy(kind)}"
    elif isinstance(config.train.settings, AceSettings):
        from atomate2_alpot.train.ace_model import check_basis

        try:
            check_basis(config.train.settings, config.elements)
        except TrainingError as error:
            yield str(error)


def _installed(package: str | None) -> bool:
    return package is None or find_spec(package) is not None


def _remedy(backend: str) -> str:
    return f"pip install {PACKAGES.get(backend, backend)}"


def _labeller(labeller: LabelMaker, elements: list[str]) -> Iterator[str]:
    try:
        labeller.check(elements)
    except ValueError as error:
        yield f"label: {error}"


def _specs(config: RunConfig) -> Iterator[str]:
    """Look at every potential that a config names."""
    named: list[tuple[str, PotentialSpec | None]] = [
        (f"committee.{i}", spec) for i, spec in enumerate(config.committee)
    ]
    start = config.train.start_from
    named.append(("train.start_from", start if isinstance(start, PotentialSpec) else None))
    named += _inside("select", config.select)
    for key, spec in named:
        if spec is not None:
            yield from (f"{key}: {words}" for words in check_spec(spec, config.elements))


def _inside(key: str, value: Any) -> Iterator[tuple[str, PotentialSpec]]:
    """Yield every potential that settings name, with its key."""
    if isinstance(value, PotentialSpec):
        yield key, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _inside(f"{key}.{name}", getattr(value, name))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _inside(f"{key}.{i}", item)


def _chgnet_name(name: str | None) -> Iterator[str]:
    from atomate2_alpot.potentials.chgnet import MODELS

    if name is not None and name not in MODELS:
        yield f"chgnet model {name!r}: the wheel ships {MODELS}"


def _mace_name(name: str | None) -> Iterator[str]:
    if name is None:
        return
    from atomate2_alpot.potentials.mace import model_candidates

    looked_for = model_candidates(name)
    if any(path.is_file() for path in looked_for):
        return
    if "/" in name or name.endswith((".model", ".pt")):
        yield f"mace model {name!r}: no such file (looked for {[str(p) for p in looked_for]})"
        return
    from mace.calculators.foundations_models import mace_mp_names

    names = [n for n in mace_mp_names if n]
    if name not in names:
        near = get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"names: {names}"
        yield f"mace model {name!r}: no such file and no foundation model of that name; {hint}"


def _untrusted(spec: PotentialSpec) -> Iterator[str]:
    """Say whether a recipe names a file whose loading could run code, and nobody trusts."""
    from atomate2_alpot.potentials.mace import model_candidates
    from atomate2_alpot.potentials.trust import require_trust

    path = next((p for p in model_candidates(spec.name or "") if p.is_file()), None)
    try:
        if spec.backend == "mace" and path is not None:
            require_trust(spec, path)
    except PotentialError as error:
        yield str(error)


def _matgl_name(name: str | None) -> Iterator[str]:
    from atomate2_alpot.potentials.matgl import FILES

    if not name:
        yield "backend 'matgl': give `name`, a model folder or a name on matgl's hub"
        return
    folder = Path(name).expanduser()
    lacking = [file for file in FILES if not (folder / file).is_file()]
    if lacking and (folder.is_dir() or name.startswith((".", "/", "~")) or name.count("/") > 1):
        yield f"matgl model {name!r}: the folder lacks {lacking}"


def _ase_name(name: str | None) -> Iterator[str]:
    if not name:
        yield "backend 'ase': give `name`, for example 'ase.calculators.emt:EMT' or 'SevenNet'"
    elif ":" in name:
        module, _, attribute = name.partition(":")
        try:
            getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            yield f"ase calculator {name!r}: {error}"
    else:
        from atomate2.forcefields.utils import MLFF

        known = [m.value for m in MLFF]
        if name not in known:
            yield f"ase calculator {name!r}: an import path, or one of atomate2's {known}"


def _file_name(backend: str, name: str | None) -> Iterator[str]:
    find_model = import_module(BACKENDS[backend]).find_model
    try:
        find_model(PotentialSpec(backend=backend, name=name))
    except PotentialError as error:
        yield str(error)


NAMES: dict[str, Callable[[str | None], Iterator[str]]] = {
    "ace": partial(_file_name, "ace"),
    "ase": _ase_name,
    "chgnet": _chgnet_name,
    "mace": _mace_name,
    "matgl": _matgl_name,
    "mtp": partial(_file_name, "mtp"),
}
"""Backend -> what says whether it has a model of a name."""
