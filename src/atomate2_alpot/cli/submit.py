"""`alpot submit`: the loop as one workflow of FireWorks or jobflow-remote."""

from __future__ import annotations

import dataclasses
import re
import stat
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

import yaml
from jobflow import Flow
from rich.console import Console

from atomate2_alpot.campaign.engines import ENGINES, Engine, EngineSettings, make_engine
from atomate2_alpot.campaign.engines.stores import check_same_place
from atomate2_alpot.cli.build import build_maker, build_stores
from atomate2_alpot.cli.config import RunConfig
from atomate2_alpot.cli.loading import ConfigError, read_config, readable_secrets
from atomate2_alpot.cli.preflight import require_preflight
from atomate2_alpot.cli.resume import CONFIG_COPY, changes_between
from atomate2_alpot.cli.run import with_known_atoms
from atomate2_alpot.cli.show import make_console
from atomate2_alpot.dataset import Stores
from atomate2_alpot.schemas.files import write_atomic

CREDENTIALS = re.compile(
    r"mongodb(\+srv)?://[^@\s/]+@|^[\s'\"]*password['\"]?\s*:\s*(?!null|~|''|\"\"|,)\S",
    re.MULTILINE,
)


def submit_campaign(config_path: Path, run_dir: Path, engine_name: str, worker: str) -> None:
    """Add the loop of a config to an engine, once; its workers run it.

    Parameters
    ----------
    config_path : Path
    run_dir : Path
        Gets a copy of the config, for `alpot status`, `query`, `report`.
    engine_name, worker : str
        Go before the config's; empty = the config's.

    Raises
    ------
    ConfigError
        If the config is wrong, or is not the one that the campaign was submitted with.
    EngineError
        If the engine or its stores cannot be used as they are configured.
    """
    console = make_console()
    config = with_engine(read_config(config_path), engine_name, worker)
    if config.store.kind != "mongo":
        raise ConfigError(
            f"store.kind: {config.store.kind!r} is files that workers cannot reach; give "
            "store: {kind: mongo} for an engine, or run the config here with `alpot run`"
        )
    require_preflight(config, run_dir, with_labeller=False)
    engine = make_engine(config.engine)
    engine.check()
    engine.check_routing(config.routing)
    for words in secrets_in_sight(config_path, engine):
        console.print(f"warning: {words}", style="yellow", markup=False, soft_wrap=True)
    stores = build_stores(config, run_dir)
    stores.connect()
    check_same_place(engine.job_store(), stores.jobs, f"store of {engine.name}'s workers")
    key = loop_key(config)
    state = engine.states([key]).get(key)
    _check_copy(config, run_dir, submitted=state is not None)
    identity = engine.submit(_loop_flow(config, stores), key)
    run_dir.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(config.without_secrets(), sort_keys=False, allow_unicode=True)
    write_atomic(run_dir / CONFIG_COPY, text.encode())
    new = "submitted" if state is None else f"there already, {state.value}"
    words = f"campaign {config.campaign_id} is workflow {identity} on {engine.name} ({new})"
    console.print(words, markup=False, soft_wrap=True)
    _print_what_next(console, config, identity, run_dir)


def with_engine(config: RunConfig, name: str, worker: str) -> RunConfig:
    """Return a config whose engine is decided: by the command, the config, or its routes.

    Raises
    ------
    ConfigError
        If none says which, or the command names an unknown one.
    """
    if name and name not in ENGINES:
        near = get_close_matches(name, ENGINES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose from {sorted(ENGINES)}"
        raise ConfigError(f"--engine: {name!r} is unknown; {hint}")
    chosen = name or config.engine.name or config.routing.told_engine()
    if chosen is None:
        raise ConfigError(
            f"no engine is named: give --engine, or engine.name in the config; {sorted(ENGINES)}"
        )
    updates = {"name": chosen, **({"worker": worker} if worker else {})}
    return config.model_copy(update={"engine": config.engine.model_copy(update=updates)})


def loop_key(config: RunConfig) -> str:
    """Return the key of the workflow that is a whole campaign."""
    return f"{config.campaign_id}/loop"


def secrets_in_sight(config_path: Path, engine: Engine) -> Iterator[str]:
    """Yield a warning for each file with credentials that others can read."""
    if readable_secrets(config_path):
        yield (
            f"{config_path} holds a URI and others can read it: chmod 600, or put the URI into "
            "ALPOT_MONGO_URI"
        )
    for path in engine.files():
        in_sight = path.is_file() and path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)
        if in_sight and CREDENTIALS.search(path.read_text()):
            yield f"{path} holds a password and others can read it: chmod 600"


def _loop_flow(config: RunConfig, stores: Stores) -> Flow:
    maker = with_known_atoms(build_maker(config), stores)
    flow = dataclasses.replace(maker, name=f"{maker.name} {config.campaign_id}").make()
    flow.metadata = {"campaign_id": config.campaign_id, "stage": "loop"}
    return flow


def _check_copy(config: RunConfig, run_dir: Path, submitted: bool) -> None:
    """Refuse a folder of another campaign, and a config that differs from what is submitted."""
    path = run_dir / CONFIG_COPY
    if not path.exists():
        return
    earlier = read_config(path)
    if earlier.campaign_id != config.campaign_id:
        raise ConfigError(
            f"{run_dir} is the folder of campaign {earlier.campaign_id}; give a new --run-dir"
        )
    changes = changes_between(earlier.without_secrets(), config.without_secrets())
    if submitted and changes:
        raise ConfigError(
            f"campaign {config.campaign_id} was submitted with another config, and its jobs keep "
            "it:\n" + "\n".join(f"  {c}" for c in changes) + "\nSet these keys back, or give a new "
            "campaign_id and --run-dir"
        )


def _print_what_next(console: Console, config: RunConfig, identity: str, run_dir: Path) -> None:
    lines = NEXT[str(config.engine.name)](config.engine, identity)
    for words in (*lines, f"results:   alpot status --run-dir {run_dir} (query, export, report)"):
        console.print(words, markup=False, soft_wrap=True)
    if config.store.uri is not None:
        words = "           with the URI in ALPOT_MONGO_URI: it is not copied to the run folder"
        console.print(words, markup=False, soft_wrap=True)


def _on_fireworks(engine: EngineSettings, identity: str) -> tuple[str, ...]:
    pad = f"-l {engine.launchpad} " if engine.launchpad else ""
    return (
        f"look at:   lpad {pad}get_wflows -i {identity} -d more",
        f"run jobs:  rlaunch {pad}rapidfire (in this shell), qlaunch {pad}rapidfire (on a queue)",
    )


def _on_jobflow_remote(engine: EngineSettings, identity: str) -> tuple[str, ...]:
    project = f"-p {engine.project} " if engine.project else ""
    return (
        f"look at:   jf {project}flow info {identity}",
        f"run jobs:  jf {project}runner start",
    )


NEXT = {"fireworks": _on_fireworks, "jobflow-remote": _on_jobflow_remote}
"""Engine -> what says how to look at a workflow and how its jobs are run."""
